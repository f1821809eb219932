//! A worker: takes the next connection, serves it a turn, hands it on; for ever.
//!
//! Runs on a thread of the pool. Owns its buffers and its block of counters, and, between `take`
//! and hand-back, one connection.

use super::clock::{Moment, nanos};
use super::close::Reason;
use super::connection::Connection;
use super::engine::Engine;
use super::schedule::{Events, Job, Next, Signal};
use super::turn::{Budget, Outcome, Scratch, Turn};
use crate::metrics::Block;
use std::time::Duration;

/// A worker that always finds the queue full looks into the poller after so many turns ...
const SWEEP_TURNS: u32 = 64;
/// ... or so much time, so that one flooding client does not keep the others from being seen.
const SWEEP_TIME: Duration = Duration::from_millis(1);

/// One worker thread's own things.
pub(super) struct Worker<'a> {
    engine: &'a Engine,
    block: &'a Block,
    scratch: Scratch,
    signals: Vec<Signal>,
    /// The slot of the connection it serves, for whoever cleans up if a turn panics.
    holding: Option<u32>,
    turns_since_poll: u32,
    polled_at: Moment,
}

impl<'a> Worker<'a> {
    pub(super) fn new(engine: &'a Engine, block: &'a Block) -> Self {
        Self {
            engine,
            block,
            scratch: Scratch::default(),
            signals: Vec::with_capacity(16),
            holding: None,
            turns_since_poll: 0,
            polled_at: 0,
        }
    }

    /// Works until the pool has too many workers or is over.
    pub(super) fn run(&mut self) {
        let engine = self.engine;
        while !engine.crew.retires() {
            match engine.schedule.next(engine, &mut self.signals) {
                Next::Popped(job) => {
                    self.turns_since_poll += 1;
                    let now = self.serve(job);
                    if self.turns_since_poll >= SWEEP_TURNS
                        || now.saturating_sub(self.polled_at) >= nanos(SWEEP_TIME)
                    {
                        engine.schedule.sweep(engine, &mut self.signals);
                        self.polled(now);
                    }
                }
                Next::Polled(Some(job)) => {
                    let now = self.serve(job);
                    self.polled(now);
                }
                Next::Polled(None) => self.calm(),
            }
        }
        // It may have consumed a wake that was meant for work in the queue.
        engine.schedule.announce(engine);
    }

    /// After a turn that panicked, which is a bug of ours: the connection ends, the worker goes
    /// on with new buffers.
    pub(super) fn recover(&mut self) {
        self.scratch = Scratch::default();
        if let Some(slot) = self.holding.take() {
            self.engine.close(slot, Reason::Handler, self.block);
        }
    }

    fn polled(&mut self, now: Moment) {
        self.turns_since_poll = 0;
        self.polled_at = now;
    }

    /// The poller had nothing to serve. If it is the stop signal that keeps it from blocking, and
    /// the pool is as small as it shall be, the signal has done its work.
    fn calm(&self) {
        if self.signals.contains(&Signal::Stop) {
            self.engine.crew.settle(&self.engine.poller);
        }
    }

    /// Serves a connection until it is handed on. Returns the time at which it was.
    fn serve(&mut self, (token, mut events): Job) -> Moment {
        let engine = self.engine;
        let slot = engine.table.slot(token.slot);
        let mut now = engine.clock.now();
        let mut budget = Budget::new(now);
        self.holding = Some(token.slot);
        loop {
            let stopping = engine.stopping();
            let (outcome, deadline) = {
                let mut guard = slot.connection();
                let Some(connection) = guard.as_mut() else {
                    unreachable!("a connection that is served stands in its slot");
                };
                connection.hung_up |= events.meets(Events::END.and(Events::GONE));
                let served = (token, &mut **connection);
                let outcome = Turn::serve(
                    engine,
                    self.block,
                    served,
                    &mut self.scratch,
                    &mut budget,
                    &mut now,
                    stopping,
                );
                self.settle(outcome, connection, now)
            };
            match outcome {
                Outcome::Park(wants) => {
                    slot.set_deadline(deadline);
                    match slot.cell.park(wants) {
                        Err(more) => events = more,
                        Ok(()) => {
                            if deadline < slot.armed() {
                                slot.set_armed(deadline);
                                engine.inbox.arm(token.slot, deadline);
                            }
                            break;
                        }
                    }
                }
                Outcome::Requeue => {
                    slot.cell.requeue();
                    engine.schedule.submit(engine, token);
                    break;
                }
                Outcome::Close(reason) => {
                    engine.close(token.slot, reason, self.block);
                    break;
                }
            }
        }
        self.holding = None;
        now
    }

    /// Finds the deadline of a connection that is about to be parked; one that has passed closes
    /// it instead.
    fn settle(
        &self,
        outcome: Outcome,
        connection: &mut Connection,
        now: Moment,
    ) -> (Outcome, Moment) {
        let Outcome::Park(_) = outcome else {
            return (outcome, 0);
        };
        let (deadline, reason) = self.engine.deadline(connection, now);
        if deadline <= now { (Outcome::Close(reason), 0) } else { (outcome, deadline) }
    }
}
