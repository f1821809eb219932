//! The listening sockets as the accept loop has them: watched, or not for a while, and why.
//!
//! Accepting pauses when the machine is out of something, for a growing time; and, if clients
//! shall wait rather than be refused, while every place is taken. Knows no client.

use super::clock::{Moment, nanos};
use super::close::{AcceptError, PauseCause};
use super::gate::Gate;
use super::listener::{Accepted, Listener};
use super::options::Options;
use super::poller::LoopPoller;
use rustix::io::Errno;
use std::io;
use std::time::Duration;

/// How long accepting pauses when the machine has no descriptors left: at first, and at most.
/// Who comes when there are some again is accepted well within a second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));

/// Pauses come close together while the want lasts; a line in the log this often is enough.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// The listeners of one server.
#[derive(Debug)]
pub(super) struct Doors {
    listeners: Vec<Listener>,
    /// They are in the poller, and the time of not accepting stands still.
    open: bool,
    /// The machine was out of something lately.
    pause: Option<Pause>,
    /// Every place is taken.
    full: bool,
    /// When accepting was last complained about.
    complained_at: Option<Moment>,
    /// The listener to begin with when a place has become free, so that each has its turn.
    first: usize,
}

/// Accepting is paused.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Moment,
    length: Duration,
    /// After `until` the listeners are watched again, but the next pause is longer unless a
    /// client came meanwhile.
    holds: bool,
}

impl Doors {
    /// Watches `listeners`, whose numbers are their keys.
    pub(super) fn new(listeners: Vec<Listener>, poller: &LoopPoller) -> io::Result<Self> {
        let mut doors = Self {
            listeners,
            open: false,
            pause: None,
            full: false,
            complained_at: None,
            first: 0,
        };
        doors.watch(poller)?;
        doors.open = true;
        Ok(doors)
    }

    /// Sets what accepted sockets inherit from these.
    pub(super) fn tune(&self, options: &Options) {
        for listener in &self.listeners {
            if let Err(error) = listener.tune(options) {
                log::warn!("the options of {} could not be set: {error}", listener.local_addr());
            }
        }
    }

    /// Whether nothing stands against accepting.
    pub(super) fn let_in(&self) -> bool {
        !self.full && self.due().is_none()
    }

    /// Whether clients wait because every place is taken.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Moment> {
        self.pause.filter(|pause| pause.holds).map(|pause| pause.until)
    }

    /// The listeners' numbers, beginning with another one each time.
    pub(super) fn rotation(&mut self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.first, self.listeners.len());
        self.first = (first + 1) % count.max(1);
        (first..count).chain(0..first)
    }

    /// Takes the next client of a listener. What failed is counted, and shuts the doors if the
    /// next one would fail too.
    pub(super) fn accept(
        &mut self,
        number: usize,
        now: Moment,
        poller: &LoopPoller,
        gate: &Gate,
    ) -> Accepted {
        let accepted = self.listeners[number].accept();
        match &accepted {
            Accepted::Client(..) => {
                self.pause = None;
                gate.accepted[number].add(1);
            }
            Accepted::Nobody => {}
            Accepted::Lost(errno) => {
                let code = count_error(*errno, gate);
                log::debug!(code; "a client was lost in accept: {errno}");
            }
            Accepted::Exhausted(errno) => {
                count_error(*errno, gate);
                self.hold(*errno, now, poller, gate);
            }
        }
        accepted
    }

    /// Stops accepting for a while: the machine is out of something.
    fn hold(&mut self, errno: Errno, now: Moment, poller: &LoopPoller, gate: &Gate) {
        let length = self.pause.map_or(PAUSE.0, |last| (last.length * 2).min(PAUSE.1));
        let fd = matches!(errno, Errno::MFILE | Errno::NFILE);
        let cause = if fd { PauseCause::Fd } else { PauseCause::Pressure };
        if self.complained_at.is_none_or(|at| now - at >= nanos(COMPLAIN_EVERY)) {
            self.complained_at = Some(now);
            log::error!(cause = cause.label(); "accepting pauses for {length:?}: {errno}");
        }
        gate.pauses[cause as usize].add(1);
        self.pause = Some(Pause { until: now + nanos(length), length, holds: true });
        self.shut(now, poller, gate);
    }

    /// Stops accepting until a place is free.
    pub(super) fn fill(&mut self, now: Moment, poller: &LoopPoller, gate: &Gate) {
        // A place that was free for a moment has not ended the pause.
        if self.open {
            gate.pauses[PauseCause::Limit as usize].add(1);
        }
        self.full = true;
        self.shut(now, poller, gate);
    }

    /// A place is free.
    pub(super) fn unfill(&mut self) {
        self.full = false;
    }

    fn shut(&mut self, now: Moment, poller: &LoopPoller, gate: &Gate) {
        if !self.open {
            return;
        }
        self.open = false;
        gate.paused.start(now);
        self.unwatch(poller);
    }

    fn unwatch(&self, poller: &LoopPoller) {
        for listener in &self.listeners {
            if let Err(error) = poller.deregister(listener) {
                log::debug!("a listener was not in the poller: {error}");
            }
        }
    }

    /// Accepts again if nothing stands against it.
    pub(super) fn reopen(&mut self, now: Moment, poller: &LoopPoller, gate: &Gate) {
        if self.open || self.full {
            return;
        }
        if let Some(pause) = &mut self.pause {
            if pause.holds && pause.until > now {
                return;
            }
            pause.holds = false;
        }
        match self.watch(poller) {
            Ok(()) => {
                self.open = true;
                gate.paused.stop(now);
            }
            Err(error) => {
                log::error!("a listener could not be watched: {error}");
                self.pause =
                    Some(Pause { until: now + nanos(PAUSE.1), length: PAUSE.1, holds: true });
            }
        }
    }

    fn watch(&self, poller: &LoopPoller) -> io::Result<()> {
        for (number, listener) in self.listeners.iter().enumerate() {
            if let Err(error) = poller.register(listener, number as u64) {
                // All or none, so that the next try finds none.
                for watched in &self.listeners[..number] {
                    poller.deregister(watched).ok();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Nothing stands against accepting any more; for the last clients before the end.
    pub(super) fn release(&mut self, now: Moment, gate: &Gate) {
        (self.pause, self.full) = (None, false);
        if !self.open {
            self.open = true;
            gate.paused.stop(now);
        }
    }

    /// The numbers of the listeners whose waiting clients would be lost with them. An inherited
    /// one stays open elsewhere, and its queue is for whoever serves it next.
    pub(super) fn own(&self) -> impl Iterator<Item = usize> + use<> {
        let listeners = self.listeners.iter().enumerate();
        let own = listeners.filter(|(_, listener)| !listener.is_inherited());
        own.map(|(number, _)| number).collect::<Vec<_>>().into_iter()
    }

    /// Closes the listeners.
    pub(super) fn close(&mut self, now: Moment, poller: &LoopPoller, gate: &Gate) {
        // What stays open elsewhere stays in an epoll that nobody took it out of.
        self.unwatch(poller);
        self.listeners.clear();
        self.release(now, gate);
    }
}

fn count_error(errno: Errno, gate: &Gate) -> &'static str {
    let error = match errno {
        Errno::MFILE => AcceptError::Emfile,
        Errno::NFILE => AcceptError::Enfile,
        Errno::NOBUFS => AcceptError::Enobufs,
        Errno::NOMEM => AcceptError::Enomem,
        Errno::CONNABORTED => AcceptError::Econnaborted,
        _ => AcceptError::Other,
    };
    gate.accept_errors[error as usize].add(1);
    error.label()
}
