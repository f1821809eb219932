//! A worker: takes the next connection, serves it a turn, hands it on; for ever.
//!
//! Runs on a thread of the pool. Owns its buffers and its block of counters, and, between `take`
//! and hand-back, one connection.

use super::clock::{Moment, Watch, nanos};
use super::close::Reason;
use super::connection::Connection;
use super::engine::Engine;
use super::live::Seen;
use super::options::Options;
use super::schedule::{Events, Job, Next, Signal, Token};
use super::table::Slot;
use super::turn::{Budget, Outcome, Scratch, Turn};
use crate::metrics::Block;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A worker that always finds work in the queue looks into the poller after so many turns ...
const SWEEP_TURNS: u32 = 64;
/// ... or so much time, so that one flooding client does not keep the others from being seen.
const SWEEP_TIME: Duration = Duration::from_millis(1);

/// One worker thread's own things.
pub(super) struct Worker<'a> {
    engine: &'a Engine,
    block: &'a Block,
    options: Seen<Options>,
    scratch: Scratch,
    signals: Vec<Signal>,
    /// The slot of the connection it serves, for whoever cleans up if a turn panics.
    holding: Option<u32>,
    /// Its last reading is the end of the last turn, or of the last wait.
    watch: Watch,
    turns_since_poll: u32,
    polled_at: Moment,
}

impl<'a> Worker<'a> {
    pub(super) fn new(engine: &'a Engine, block: &'a Block) -> Self {
        Self {
            engine,
            block,
            options: engine.options.seen(),
            scratch: Scratch::default(),
            signals: Vec::with_capacity(16),
            holding: None,
            watch: Watch::new(engine.clock),
            turns_since_poll: 0,
            polled_at: 0,
        }
    }

    /// Works until the pool has too many workers or is over.
    pub(super) fn run(&mut self) {
        let (engine, block) = (self.engine, self.block);
        block.busy.start(self.watch.set());
        while !engine.crew.retires() {
            let watch = &mut self.watch;
            let next = engine.schedule.next(engine, &mut self.signals, |signals| {
                block.busy.stop(watch.now());
                engine.poller.poll(true, signals);
                block.busy.start(watch.set());
            });
            match next {
                Next::Popped(job) => {
                    self.serve(job);
                    self.turns_since_poll += 1;
                    if self.turns_since_poll >= SWEEP_TURNS
                        || self.watch.now().saturating_sub(self.polled_at) >= nanos(SWEEP_TIME)
                    {
                        engine.schedule.sweep(engine, &mut self.signals);
                        self.watch.set();
                        self.polled();
                    }
                }
                Next::Polled(Some(job)) => {
                    self.polled();
                    self.serve(job);
                }
                Next::Polled(None) => self.calm(),
            }
        }
        block.busy.stop(engine.clock.now());
        // It may have consumed a wake that was meant for work in the queue.
        engine.schedule.announce(engine);
    }

    /// After a turn that panicked, which is a bug of ours: the connection ends, the worker goes
    /// on with new buffers.
    pub(super) fn recover(&mut self) {
        self.scratch = Scratch::default();
        self.block.restarts.add(1);
        self.block.busy.stop(self.engine.clock.now());
        self.block.turn_since.store(0, Ordering::Relaxed);
        if let Some(slot) = self.holding.take() {
            self.engine.close(slot, Reason::Handler, &self.options, self.block);
        }
    }

    fn polled(&mut self) {
        self.turns_since_poll = 0;
        self.polled_at = self.watch.now();
    }

    /// The poller had nothing to serve. If it is the stop signal that keeps it from blocking, and
    /// the pool is as small as it shall be, the signal has done its work.
    fn calm(&self) {
        if self.signals.contains(&Signal::Stop) {
            self.engine.crew.settle(&self.engine.poller);
        }
    }

    /// Serves a connection until it is handed on.
    fn serve(&mut self, job: Job<Moment>) {
        let Job { token, mut events, queued } = job;
        let engine = self.engine;
        let slot = engine.table.slot(token.slot);
        let mut late = self.begin_turn(queued);
        let mut budget = Budget::new(self.watch.now());
        self.holding = Some(token.slot);
        loop {
            // Refused once, it is only to be rid of.
            let late = std::mem::take(&mut late);
            let (outcome, deadline) = self.serve_once(slot, (token, events), &mut budget, late);
            match outcome {
                Outcome::Park(wants) => {
                    slot.due.set(deadline);
                    match slot.cell.park(wants) {
                        Err(more) => {
                            events = more;
                            // What called it may be a reload.
                            self.options.refresh(&engine.options);
                        }
                        Ok(()) => {
                            self.block.parks.add(1);
                            if slot.due.is_news(deadline) {
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
                    // From here on the slot may be another tenant's.
                    self.holding = None;
                    engine.close(token.slot, reason, &self.options, self.block);
                    break;
                }
            }
        }
        self.holding = None;
        self.block.turn_since.store(0, Ordering::Relaxed);
    }

    /// Reads, serves and writes until nothing is left to do or the budget is spent. Says what to do
    /// with the connection, and its deadline if it is to be parked.
    #[inline]
    fn serve_once(
        &mut self,
        slot: &Slot,
        (token, events): (Token, Events),
        budget: &mut Budget,
        late: bool,
    ) -> (Outcome, Moment) {
        let mut guard = slot.connection();
        let Some(connection) = guard.as_mut() else {
            unreachable!("a connection that is served stands in its slot");
        };
        let began = self.watch.now();
        connection.stops_short |= events.meets(Events::END.and(Events::GONE).and(Events::URGENT));
        self.block.serving.store(connection.id, Ordering::Relaxed);
        let mut turn = Turn::new(
            (self.engine, self.block, &self.options),
            (token, &mut **connection),
            &mut self.scratch.output,
            budget,
            &mut self.watch,
        );
        let outcome = if late && turn.asks_for_work() {
            turn.shed()
        } else {
            turn.serve(&mut self.scratch.input)
        };
        self.settle(outcome, connection, began)
    }

    /// Counts the turn. Says whether its connection has waited too long to be served.
    fn begin_turn(&mut self, queued: Option<Moment>) -> bool {
        let engine = self.engine;
        // A reload takes effect from here.
        self.options.refresh(&engine.options);
        // Past the queue is a turn without a wait.
        let now = self.watch.now();
        let wait = queued.map_or(0, |queued| now.saturating_sub(queued));
        self.block.queue_wait.observe(wait);
        self.block.turns.add(1);
        self.block.turn_since.store(now.max(1), Ordering::Relaxed);
        engine.inbox.turn_begins();
        self.options
            .max_queue_wait
            .is_some_and(|longest| engine.shedder.sheds(wait, longest, now, || engine.mean_call()))
    }

    /// Finds the deadline of a connection that is about to be parked. One that had passed when the
    /// turn `began` closes it instead. One that has passed since, as when the worker had no core
    /// for a while, does not: more may have come after the read, and the accept loop asks the
    /// socket.
    fn settle(
        &self,
        outcome: Outcome,
        connection: &mut Connection,
        began: Moment,
    ) -> (Outcome, Moment) {
        let Outcome::Park(_) = outcome else {
            return (outcome, 0);
        };
        connection.rests(self.watch.now());
        let deadline = connection.deadline(&self.options);
        if deadline <= began {
            return (Outcome::Close(connection.overdue(&self.options, began)), 0);
        }
        (outcome, deadline)
    }
}
