//! Deadlines: which parked connections to look at, and when.
//!
//! Owned by the accept loop. Every open connection has at most one entry here, and setting a
//! deadline costs a worker nothing while it only moves away: a slot's deadline is in the table,
//! and what is *armed* here may be earlier. When that comes, the slot's own deadline says whether
//! to close or to arm anew. Only a deadline nearer than what is armed is sent, through the inbox;
//! so a slot is in the inbox once for each time it was armed, and no connection that talks all
//! day fills anything.

use super::clock::{Moment, NEVER};
use std::collections::BTreeSet;

/// The armed slots by time.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    by_time: BTreeSet<(Moment, u32)>,
    /// What is armed for a slot, by its number: to find its entry.
    armed: Vec<Moment>,
}

impl Deadlines {
    /// Arms a slot, instead of what was armed for it before.
    pub(super) fn arm(&mut self, slot: u32, moment: Moment) {
        let index = slot as usize;
        if self.armed.len() <= index {
            self.armed.resize(index + 1, NEVER);
        }
        self.by_time.remove(&(self.armed[index], slot));
        self.armed[index] = moment;
        if moment != NEVER {
            self.by_time.insert((moment, slot));
        }
    }

    /// The first moment anything is armed for.
    pub(super) fn due(&self) -> Option<Moment> {
        self.by_time.first().map(|(moment, _)| *moment)
    }

    /// A slot whose moment has come; it is no longer armed.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<u32> {
        let (moment, slot) = self.by_time.first().copied()?;
        if moment > now {
            return None;
        }
        self.by_time.pop_first();
        self.armed[slot as usize] = NEVER;
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::{Deadlines, NEVER};

    #[test]
    fn a_slot_has_one_entry_however_often_it_is_armed() {
        let mut deadlines = Deadlines::default();
        for moment in [50, 20, 90, 30] {
            deadlines.arm(7, moment);
        }
        deadlines.arm(2, 40);
        deadlines.arm(3, 10);
        deadlines.arm(3, NEVER);
        assert_eq!(deadlines.due(), Some(30));
        assert_eq!(deadlines.pop_due(29), None);
        assert_eq!(deadlines.pop_due(45), Some(7));
        assert_eq!(deadlines.pop_due(45), Some(2));
        assert_eq!((deadlines.pop_due(NEVER), deadlines.due()), (None, None));
    }
}
