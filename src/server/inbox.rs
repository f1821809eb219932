//! The accept loop's inbox: what other threads leave for it, and when that ends its sleep.
//!
//! Written by workers and handles, emptied by the accept loop. Bounded: a slot's number is in it
//! at most a few times (see `deadlines`), lingering sockets up to their budget.

use super::clock::Moment;
use super::due::Nap;
use super::linger::{Lingering, most_lingering};
use super::poller::{Alarm, LoopPoller};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What waits for the accept loop.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Slots whose deadline is earlier than what is armed for them.
    pub(super) slots: Vec<u32>,
    /// Closed connections.
    pub(super) lingering: VecDeque<Lingering>,
}

/// The inbox with its alarm.
#[derive(Debug)]
pub(super) struct Inbox {
    alarm: Alarm,
    mail: Mutex<Mail>,
    most_lingering: usize,
    nap: Nap,
    /// No worker was idle, and the accept loop polls in their stead.
    ticking: AtomicBool,
    /// The watchdog rests until the next turn begins.
    awaits_turn: AtomicBool,
    /// Questions for a sign of life, ...
    asked: AtomicU64,
    /// ... and those of them that the accept loop has seen.
    answered: AtomicU64,
}

impl Inbox {
    pub(super) fn new(max_connections: usize) -> io::Result<Self> {
        Ok(Self {
            alarm: Alarm::new()?,
            mail: Mutex::default(),
            most_lingering: most_lingering(max_connections),
            nap: Nap::new(),
            // A worker that has never been idle says nothing when it takes its first job.
            ticking: AtomicBool::new(true),
            awaits_turn: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        })
    }

    /// The accept loop's poller, which the alarm ends the wait of.
    pub(super) fn poller(&self) -> io::Result<LoopPoller> {
        LoopPoller::new(&self.alarm)
    }

    /// Ends the accept loop's wait.
    pub(super) fn ring(&self) {
        self.alarm.ring();
    }

    /// Asks the accept loop for a sign of life; returns the question's number.
    pub(super) fn ask(&self) -> u64 {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.ring();
        number
    }

    /// The number of the last question that the accept loop has answered.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Leaves a slot whose deadline has come nearer. Rings only if the loop would sleep too long.
    pub(super) fn arm(&self, slot: u32, deadline: Moment) {
        self.mail().slots.push(slot);
        if self.nap.outlasts(deadline) {
            self.ring();
        }
    }

    /// Leaves a closed connection to linger. Over the budget the oldest comes back, to be cut
    /// and counted by the caller.
    #[must_use]
    pub(super) fn linger(&self, lingering: Lingering) -> Option<Lingering> {
        let (first, cut) = {
            let mut mail = self.mail();
            let cut = if mail.lingering.len() >= self.most_lingering {
                mail.lingering.pop_front()
            } else {
                None
            };
            mail.lingering.push_back(lingering);
            (mail.lingering.len() == 1, cut)
        };
        if first {
            self.ring();
        }
        cut
    }

    /// Says that no worker is idle any more. Rings unless the loop knows.
    pub(super) fn saturated(&self) {
        if !self.ticking.load(Ordering::SeqCst) && !self.ticking.swap(true, Ordering::SeqCst) {
            self.ring();
        }
    }

    pub(super) fn ticking(&self) -> bool {
        self.ticking.load(Ordering::SeqCst)
    }

    /// The accept loop stops or goes on polling for the workers.
    pub(super) fn set_ticking(&self, ticking: bool) {
        self.ticking.store(ticking, Ordering::SeqCst);
    }

    /// A worker begins a turn. Rings if the watchdog rests.
    #[inline]
    pub(super) fn turn_begins(&self) {
        let awaits = &self.awaits_turn;
        if awaits.load(Ordering::Relaxed) && awaits.swap(false, Ordering::Relaxed) {
            self.ring();
        }
    }

    pub(super) fn awaits_turn(&self) -> bool {
        self.awaits_turn.load(Ordering::Relaxed)
    }

    /// The watchdog rests until a turn begins, or does not any more.
    pub(super) fn await_turn(&self, awaits: bool) {
        self.awaits_turn.store(awaits, Ordering::Relaxed);
    }

    /// Announces the accept loop's sleep. Says whether there is mail, so that it must not sleep.
    pub(super) fn sleep(&self, until: Option<Moment>) -> bool {
        self.nap.begin(until, || self.has_mail())
    }

    /// Whether anything waits for the accept loop.
    pub(super) fn has_mail(&self) -> bool {
        let mail = self.mail();
        !mail.slots.is_empty() || !mail.lingering.is_empty()
    }

    /// The accept loop is awake and takes its mail.
    pub(super) fn take(&self) -> Mail {
        self.nap.end();
        self.answered.store(self.asked.load(Ordering::SeqCst), Ordering::SeqCst);
        std::mem::take(&mut *self.mail())
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        // Pushes do not panic half-way.
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Inbox;
    use crate::server::close::Reason;
    use crate::server::linger::{Lingering, most_lingering};
    use std::os::unix::net::UnixStream;

    /// More than the accept loop will keep: the oldest gives way, and is counted by who comes.
    #[test]
    fn over_the_budget_the_oldest_socket_comes_back() {
        let inbox = Inbox::new(1).unwrap();
        let lingering = |reason| Lingering::new(UnixStream::pair().unwrap().0.into(), Some(reason));
        let most = most_lingering(1);
        assert!(inbox.linger(lingering(Reason::Exit)).is_none());
        for _ in 1..most {
            assert!(inbox.linger(lingering(Reason::Idle)).is_none());
        }
        let cut = inbox.linger(lingering(Reason::Drain)).unwrap();
        assert_eq!(cut.reason, Some(Reason::Exit));
        assert_eq!(inbox.take().lingering.len(), most);
        assert!(!inbox.has_mail());
    }
}
