//! A server as other threads see it: stop, resize, observe.

use super::address::Address;
use super::close::{AcceptError, MessageError, PauseCause, Reason, Rejection};
use super::engine::Engine;
use super::listener::Listener;
use super::options::MAX_WORKERS;
use crate::metrics::{Block, Counter, ListenerStats, Snapshot, listen_backlog};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Stops, resizes and observes a running [`Server`](super::Server). Cheap to clone; none of its
/// calls blocks.
#[derive(Clone)]
pub struct Handle {
    engine: Arc<Engine>,
    asked: Arc<[String]>,
    bound: Arc<[Address]>,
}

impl Handle {
    pub(super) fn new(engine: Arc<Engine>, listeners: &[Listener]) -> Self {
        Self {
            engine,
            asked: listeners.iter().map(|listener| listener.asked().to_string()).collect(),
            bound: listeners.iter().map(|listener| listener.local_addr().clone()).collect(),
        }
    }

    /// Begins the drain: no more clients are accepted, everything that has arrived is answered
    /// once, then `run` returns, after `drain_timeout` at the latest. May be called again.
    pub fn stop(&self) {
        self.engine.stop();
    }

    /// Whether the server accepts clients: it runs, and no drain has begun.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.engine.gate.open.load(Ordering::SeqCst)
    }

    /// Whether [`stop`](Self::stop) has been called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.engine.stopping()
    }

    /// The addresses listened on, in the order in which they were given, with the ports that the
    /// kernel chose.
    #[must_use]
    pub fn local_addrs(&self) -> &[Address] {
        &self.bound
    }

    /// Changes the number of workers. Threads are started at once; those too many leave when
    /// they have finished what they hold, and one that is blocked in a call when that returns.
    ///
    /// # Errors
    ///
    /// `workers` is 0 or above [`MAX_WORKERS`].
    pub fn resize(&self, workers: usize) -> Result<(), super::Error> {
        if !(1..=MAX_WORKERS).contains(&workers) {
            return Err(super::Error::Invalid(format!(
                "a pool cannot have {workers} workers; allowed are 1 to {MAX_WORKERS}"
            )));
        }
        if !self.engine.stopping() {
            self.engine.crew.want(workers, &self.engine.poller);
            self.engine.inbox.ring();
        }
        Ok(())
    }

    /// Reads every counter and level. Takes time in proportion to the open connections, a few
    /// nanoseconds each, and delays no worker.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        let engine = &*self.engine;
        let census = engine.table.census();
        let alive = engine.crew.alive();
        let now = engine.clock.now();
        let nanos = |nanos: u64| nanos as f64 / 1e9;
        let mut stats = Snapshot {
            ready: self.is_ready(),
            workers: alive,
            workers_limit: engine.crew.wanted(),
            saturated_seconds: nanos(engine.gate.saturated.get()),
            resizes: vec![
                ("grow", engine.crew.grown.load(Ordering::Relaxed)),
                ("shrink", engine.crew.shrunk.load(Ordering::Relaxed)),
            ],
            queue_limit: engine.options.max_connections,
            parked: census.parked,
            queued: census.queued,
            active: census.active,
            closing: engine.gate.lingering.load(Ordering::Relaxed),
            connections_limit: engine.options.max_connections,
            accepted: self.accepted(),
            rejected: labelled(Rejection::LABELS),
            closed: labelled(Reason::LABELS),
            message_errors: labelled(MessageError::LABELS),
            accept_errors: labelled(AcceptError::LABELS),
            accept_pauses: labelled(PauseCause::LABELS),
            accept_paused_seconds: nanos(engine.gate.paused.read(now)),
            ..Snapshot::default()
        };
        add(&mut stats.rejected, &engine.gate.rejected);
        add(&mut stats.accept_errors, &engine.gate.accept_errors);
        add(&mut stats.accept_pauses, &engine.gate.pauses);
        add_block(&mut stats, &engine.gate.block);
        let mut busy = 0;
        engine.crew.sum(|block| {
            add_block(&mut stats, block);
            busy += block.busy.read(now);
            let since = block.turn_since.load(Ordering::Relaxed);
            let turn = (since != 0).then(|| Duration::from_nanos(now.saturating_sub(since)));
            stats.worker_turns_now.push(turn);
        });
        // From the same look at each worker, so that the two agree.
        let busy_workers = stats.worker_turns_now.iter().flatten().count();
        stats.workers_busy = busy_workers.min(alive);
        // A worker that stops may have read the clock a little before we did: what was once
        // reported is never taken back, for a counter that falls reads as a restart.
        let busy = busy.max(engine.gate.busy_reported.fetch_max(busy, Ordering::Relaxed));
        stats.worker_busy_seconds = nanos(busy);
        stats
    }

    fn accepted(&self) -> Vec<ListenerStats> {
        let counters = self.asked.iter().zip(&self.engine.gate.accepted);
        let stats = |(listener, counter): (&String, &Counter)| ListenerStats {
            listener: listener.clone(),
            accepted: counter.get(),
            backlog: None,
        };
        let mut listeners: Vec<_> = counters.map(stats).collect();
        if !self.engine.stopping() {
            for (listener, bound) in listeners.iter_mut().zip(&*self.bound) {
                if let Address::Tcp(address) = bound {
                    listener.backlog = listen_backlog(*address, self.engine.options.backlog);
                }
            }
        }
        listeners
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("listeners", &self.bound).finish_non_exhaustive()
    }
}

fn labelled(labels: &[&'static str]) -> Vec<(&'static str, u64)> {
    labels.iter().map(|label| (*label, 0)).collect()
}

fn add(sums: &mut [(&'static str, u64)], counters: &[Counter]) {
    for ((_, sum), counter) in sums.iter_mut().zip(counters) {
        *sum += counter.get();
    }
}

fn add_block(stats: &mut Snapshot, block: &Block) {
    stats.messages += block.messages.get();
    stats.worker_turns += block.turns.get();
    stats.worker_restarts += block.restarts.get();
    stats.parks += block.parks.get();
    block.queue_wait.add_to(&mut stats.queue_wait);
    block.handler_time.add_to(&mut stats.handler_time);
    stats.handler_seconds_squared += block.handler_time_squared.get() / 1e18;
    block.write_time.add_to(&mut stats.write_time);
    block.connection_duration.add_to(&mut stats.connection_duration);
    stats.received_bytes += block.received_bytes.get();
    stats.sent_bytes += block.sent_bytes.get();
    stats.handler_panics += block.handler_panics.get();
    add(&mut stats.closed, &block.closed);
    add(&mut stats.message_errors, &block.message_errors);
}
