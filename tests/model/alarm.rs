//! The accept loop's alarm, as far as the hand-shakes need it.

use loom::sync::{Condvar, Mutex};

/// Stays rung until it is heard.
pub struct Alarm {
    rung: Mutex<bool>,
    rings: Condvar,
}

impl Alarm {
    pub fn new() -> Self {
        Self { rung: Mutex::new(false), rings: Condvar::new() }
    }

    pub fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.rings.notify_one();
    }

    /// Sleeps until it is rung, also if that was before; loom reports a sleep for ever.
    pub fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.rings.wait(rung).unwrap();
        }
        *rung = false;
    }
}
