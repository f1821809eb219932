//! The hand-shakes of deadlines in every interleaving: a worker that parks a connection with a
//! nearer deadline than the accept loop knows of, and an accept loop that arms the slot and goes to
//! sleep meanwhile. It must not sleep past the deadline.

use crate::alarm::Alarm;
use crate::check;
use crate::due::{Due, Nap};
use loom::sync::Mutex;
use loom::thread;
use std::sync::Arc;

/// The moment of the accept loop's look, at which the slot was armed; the deadline it finds; and
/// the one that the worker sets.
const NOW: u64 = 10;
const FAR: u64 = 30;
const NEAR: u64 = 20;

/// Which half of a hand-shake is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Nothing,
    /// The worker looks at what is armed before it sets its deadline.
    WorkersOrder,
    /// The accept loop does not look at its mail once more.
    LookAtTheMail,
}

/// A slot, the accept loop's nap, its mail and its alarm.
struct Slot {
    due: Due,
    nap: Nap,
    mail: Mutex<bool>,
    alarm: Alarm,
}

impl Slot {
    /// What a worker does when it parks the connection.
    fn park(&self, missing: Missing) {
        let is_news = if missing == Missing::WorkersOrder {
            let is_news = self.due.is_news(NEAR);
            self.due.set(NEAR);
            is_news
        } else {
            self.due.set(NEAR);
            self.due.is_news(NEAR)
        };
        if is_news {
            *self.mail.lock().unwrap() = true;
            if self.nap.outlasts(NEAR) {
                self.alarm.ring();
            }
        }
    }

    /// What the accept loop does from the moment at which it has popped the slot's entry until it
    /// sleeps no longer than it may.
    fn watch(&self, missing: Missing) {
        let deadline = self.due.deadline();
        let mut armed = self.due.arm(deadline, NOW);
        loop {
            let has_mail = || missing != Missing::LookAtTheMail && *self.mail.lock().unwrap();
            if !self.nap.begin(Some(armed), has_mail) && armed > NEAR {
                // Only the alarm ends this sleep in time.
                self.alarm.wait();
            }
            if armed <= NEAR {
                return;
            }
            self.nap.end();
            if std::mem::take(&mut *self.mail.lock().unwrap()) {
                armed = self.due.told();
            }
        }
    }
}

fn a_nearer_deadline_comes(missing: Missing) {
    check(3, move || {
        let slot = Arc::new(Slot {
            due: Due::new(),
            nap: Nap::new(),
            mail: Mutex::new(false),
            alarm: Alarm::new(),
        });
        slot.due.arm(NOW, 0);
        slot.due.set(FAR);
        let worker = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.park(missing))
        };
        slot.watch(missing);
        worker.join().unwrap();
    });
}

#[test]
fn the_accept_loop_never_sleeps_past_a_deadline() {
    a_nearer_deadline_comes(Missing::Nothing);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_worker_that_looks_first_and_sets_later_is_not_heard() {
    a_nearer_deadline_comes(Missing::WorkersOrder);
}

#[test]
#[should_panic(expected = "deadlock")]
fn an_accept_loop_that_does_not_look_again_sleeps_past_its_mail() {
    a_nearer_deadline_comes(Missing::LookAtTheMail);
}
