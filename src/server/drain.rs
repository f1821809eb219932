//! The drain: every message that had arrived is answered once, then everything ends.
//!
//! Driven by the accept loop. Idle connections are handed to workers too, which read what had
//! arrived, answer it, and close: one way for all.

use super::clock::{Moment, nanos};
use super::close::Reason;
use super::crew::worker_name;
use super::engine::Engine;
use super::options::Options;
use super::pool::Pool;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Workers that have nothing to do are home in no time; those in a call are not waited for
/// longer than this after the drain's own deadline.
const GRACE: Duration = Duration::from_millis(100);

/// A drain under way, then its outcome.
#[derive(Debug)]
pub(super) struct Drain {
    deadline: Moment,
    /// Connections cut off with replies owed.
    pub(super) cut: usize,
    /// Workers left behind in a call.
    pub(super) stuck: usize,
}

impl Drain {
    pub(super) fn begin(engine: &Engine, options: &Options) -> Self {
        engine.gate.open.store(false, Ordering::SeqCst);
        engine.begin_drain();
        let deadline = engine.clock.now().saturating_add(nanos(options.drain_timeout));
        log::debug!("draining: {} connections are open", engine.table.open());
        Self { deadline, cut: 0, stuck: 0 }
    }

    pub(super) fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Has every connection served once more: it answers what had arrived, and closes.
    pub(super) fn call_all(&self, engine: &Engine) {
        for (number, _) in engine.table.touched() {
            engine.schedule.call(engine, number);
        }
    }

    /// Whether everything is closed, or the time is up.
    pub(super) fn is_over(&self, engine: &Engine, none_lingers: bool) -> bool {
        let all_closed = engine.all_closed() && none_lingers && !engine.inbox.has_mail();
        all_closed || engine.clock.now() >= self.deadline
    }

    /// Closes what is still open. Connections that a worker or the queue has are left to the end
    /// of the process.
    pub(super) fn cut(&mut self, engine: &Engine, options: &Options) {
        self.cut = engine.table.open();
        for (number, slot) in engine.table.touched() {
            if slot.cell.claim().is_some() {
                engine.close(number, Reason::Drain, options, &engine.gate.block);
            }
        }
    }

    /// Ends the pool.
    pub(super) fn finish(&mut self, pool: Pool, engine: &Engine) {
        let left = Duration::from_nanos(self.deadline.saturating_sub(engine.clock.now()));
        // A worker that is not stuck needs no time, so a clean drain does not wait here.
        self.stuck = pool.finish(engine, Instant::now() + left.max(GRACE));
        let now = engine.clock.now();
        engine.crew.each(|place, block| {
            if let Some(turn) = block.turn_now(now) {
                log::error!(
                    worker = worker_name(place), id = turn.connection, duration:? = turn.running;
                    "a worker is left behind in its call"
                );
            }
        });
    }
}
