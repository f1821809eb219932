//! The watchdog: notices workers that do not come back from a call.
//!
//! Part of the accept loop's turn. It looks when the oldest turn under way could be overdue, so
//! once in `stuck_after` while the server works; when nothing is served it rests, and the next
//! turn to begin rings for it. Reports, and ends nothing: a thread cannot be ended from outside.

use super::clock::{Moment, NEVER, nanos};
use super::crew::worker_name;
use super::engine::Engine;
use crate::metrics::Block;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What the accept loop remembers of the workers.
#[derive(Debug)]
pub(super) struct Watchdog {
    due: Moment,
    /// Turns begun up to the last look.
    turns: u64,
    /// The overdue workers that were reported, by place: when their turn began.
    reported: HashMap<usize, Moment>,
    all_reported: bool,
}

impl Watchdog {
    pub(super) fn new() -> Self {
        Self { due: NEVER, turns: 0, reported: HashMap::new(), all_reported: false }
    }

    pub(super) fn due(&self) -> Option<Moment> {
        (self.due != NEVER).then_some(self.due)
    }

    /// Looks at every worker if it is time. Says whether all of them are stuck, for the first
    /// time since one was not.
    pub(super) fn look(&mut self, engine: &Engine, stuck_after: Duration, now: Moment) -> bool {
        let patience = nanos(stuck_after);
        let rests = engine.inbox.awaits_turn();
        let latest = now.saturating_add(patience);
        // The rest may have ended, and a reload may have made the patience shorter.
        if self.due != NEVER || !rests {
            self.due = self.due.min(latest);
        }
        if self.due > now {
            return false;
        }
        let (mut turns, mut stuck, mut busy, mut again) = (0, 0, false, false);
        let mut next = latest;
        engine.crew.each(|place, block| {
            turns += block.turns.get();
            let since = block.turn_since.load(Ordering::Relaxed);
            if since != 0 {
                busy = true;
                let due = since.saturating_add(patience);
                if due > now {
                    next = next.min(due);
                } else {
                    stuck += 1;
                    again |= self.report(place, block, since, now);
                }
            }
            self.welcome_back(place, since);
        });
        if busy || turns != self.turns {
            engine.inbox.await_turn(false);
            self.due = next;
        } else if !rests {
            // A turn that has just begun may not have seen this: one more look, when it has long
            // been done or has become visible.
            engine.inbox.await_turn(true);
            self.due = next;
        } else {
            self.due = NEVER;
        }
        self.turns = turns;
        engine.crew.set_stuck(stuck, &engine.poller);
        let all = stuck > 0 && stuck >= engine.crew.alive();
        // Between two looks one may have come back, and have got stuck anew.
        let first = all && (again || !self.all_reported);
        self.all_reported = all;
        if first {
            log::error!(workers = stuck; "every worker is stuck: nothing is served");
        }
        first
    }

    /// Says in the log that a worker is overdue, once a turn. Says whether this is the first time.
    fn report(&mut self, place: usize, block: &Block, since: Moment, now: Moment) -> bool {
        if self.reported.insert(place, since) == Some(since) {
            return false;
        }
        log::error!(
            worker = worker_name(place), id = block.serving.load(Ordering::Relaxed),
            duration:? = Duration::from_nanos(now - since);
            "a worker has not come back from its call"
        );
        true
    }

    /// A worker that was reported and is in another turn, or none, is well.
    fn welcome_back(&mut self, place: usize, since: Moment) {
        if self.reported.get(&place).is_some_and(|reported| *reported != since) {
            self.reported.remove(&place);
            log::info!(worker = worker_name(place); "the worker has come back from its call");
        }
    }
}
