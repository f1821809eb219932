//! Deadlines: which parked connections to look at, and when; and the closing of who is overdue.
//!
//! Owned by the accept loop. Every open connection has at most one entry here, and setting a
//! deadline costs a worker nothing while it only moves away: a slot's deadline is in the table
//! (`due`), and what is *armed* here may be earlier. When that comes, the slot's own deadline says
//! whether to close or to arm anew. Only a deadline nearer than what is armed is sent, through the
//! inbox; so a slot is in the inbox once for each time it was armed, and no connection that talks
//! all day fills anything.

use super::clock::{Moment, NEVER, nanos};
use super::engine::Engine;
use super::options::Options;
use super::schedule::{Token, Wants};
use std::collections::BTreeSet;
use std::time::Duration;

/// A connection that is served at the moment its deadline is looked at is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Looks before the accept loop sees to something else.
const LOOKS_A_TURN: u32 = 1024;

/// The accept loop's list of whom to look at.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    list: List,
}

impl Deadlines {
    /// The first moment anybody is to be looked at.
    pub(super) fn due(&self) -> Option<Moment> {
        self.list.by_time.first().map(|(moment, _)| *moment)
    }

    /// The slot was told of in the mail.
    pub(super) fn told(&mut self, engine: &Engine, slot: u32) {
        self.list.put(slot, engine.table.slot(slot).due.told());
    }

    /// Looks at the slot's deadline at `moment`, or earlier if it comes nearer.
    pub(super) fn arm(&mut self, engine: &Engine, slot: u32, moment: Moment, now: Moment) {
        self.list.put(slot, engine.table.slot(slot).due.arm(moment, now));
    }

    /// Closes parked connections that have waited too long. When many are due at once, the rest
    /// stays due.
    pub(super) fn expire(&mut self, engine: &Engine, options: &Options, now: Moment) {
        for _ in 0..LOOKS_A_TURN {
            let Some(slot) = self.list.pop_due(now) else {
                return;
            };
            let deadline = engine.table.slot(slot).due.deadline();
            if deadline > now {
                self.arm(engine, slot, deadline, now);
                continue;
            }
            if !close_if_overdue(engine, slot, options, now) {
                self.arm(engine, slot, now + nanos(LOOK_AGAIN), now);
            }
        }
    }

    /// Finds every connection's deadline anew if the options that it depends on were replaced.
    pub(super) fn retune(&mut self, engine: &Engine, old: &Options, new: &Options, now: Moment) {
        let times = |options: &Options| {
            let Options { idle_timeout, message_timeout, write_timeout, max_age, .. } = *options;
            (idle_timeout, message_timeout, write_timeout, max_age)
        };
        if times(old) != times(new) {
            for (slot, _) in engine.table.touched() {
                self.renew(engine, slot, new, now);
            }
        }
    }

    /// Finds the deadline of a parked connection by the new options; one that is served finds its
    /// own when it parks.
    fn renew(&mut self, engine: &Engine, number: u32, new: &Options, now: Moment) {
        let slot = engine.table.slot(number);
        let Some((generation, wants)) = slot.cell.claim() else {
            // Its worker may have the old options: it is to look again before it parks.
            engine.schedule.call(engine, number);
            return;
        };
        if let Some(connection) = slot.connection().as_ref() {
            let deadline = connection.deadline(new);
            slot.due.set(deadline);
            self.arm(engine, number, deadline, now);
        }
        engine.schedule.give_back(engine, Token { slot: number, generation }, wants);
    }
}

/// Closes a connection if it is parked, past its deadline, and nothing has come for it. No: it has
/// to be looked at again.
fn close_if_overdue(engine: &Engine, number: u32, options: &Options, now: Moment) -> bool {
    let slot = engine.table.slot(number);
    let Some((generation, wants)) = slot.cell.claim() else {
        return false;
    };
    let token = Token { slot: number, generation };
    // The deadline is as of the hand-back, and stands until the next.
    let overdue = slot.due.deadline() <= now;
    let connection = slot.connection();
    let Some(waited) = connection.as_ref().filter(|_| overdue) else {
        drop(connection);
        engine.schedule.give_back(engine, token, wants);
        return false;
    };
    // What has come in time is served, even if the worker that the poller has told of it has not
    // said so yet: after the process was stopped for a while, for one. And a socket may take bytes
    // though no event says so, which none does before a third of its buffer is free: a worker
    // tries, and closes the connection if it takes none.
    if wants == Wants::Room || waited.is_readable() {
        drop(connection);
        slot.cell.requeue();
        engine.schedule.submit(engine, token);
        return false;
    }
    let reason = waited.overdue(options, now);
    drop(connection);
    engine.close(number, reason, options, &engine.gate.block);
    true
}

/// The armed slots by time.
#[derive(Debug, Default)]
struct List {
    by_time: BTreeSet<(Moment, u32)>,
    /// What is armed for a slot, by its number: to find its entry.
    armed: Vec<Moment>,
}

impl List {
    /// Arms a slot, instead of what was armed for it before.
    fn put(&mut self, slot: u32, moment: Moment) {
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

    /// A slot whose moment has come; it is no longer armed.
    fn pop_due(&mut self, now: Moment) -> Option<u32> {
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
    use super::{List, NEVER};

    #[test]
    fn a_slot_has_one_entry_however_often_it_is_armed() {
        let mut list = List::default();
        for moment in [50, 20, 90, 30] {
            list.put(7, moment);
        }
        list.put(2, 40);
        list.put(3, 10);
        list.put(3, NEVER);
        assert_eq!(list.by_time.len(), 2);
        assert_eq!(list.pop_due(29), None);
        assert_eq!(list.pop_due(45), Some(7));
        assert_eq!(list.pop_due(45), Some(2));
        assert_eq!(list.pop_due(NEVER), None);
    }
}
