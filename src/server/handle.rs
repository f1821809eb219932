//! A server as other threads see it: stop, resize, observe.

use super::address::Address;
use super::close::{AcceptError, MessageError, PauseCause, Reason, Rejection};
use super::engine::Engine;
use super::listener::Listener;
use super::options::Options;
use crate::metrics::{Block, Counter, ListenerStats, Snapshot, listen_backlog};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Stops, resizes and observes a running [`Server`](super::Server). Cheap to clone; none of its
/// calls waits for the server.
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

    /// Tells the server to stop: it is not ready from now on. After `drain_delay` the drain
    /// begins: no more clients are accepted, everything that has arrived is answered once, then
    /// `run` returns, after `drain_timeout` at the latest. May be called again.
    pub fn stop(&self) {
        self.engine.stop();
    }

    /// Whether the server wants clients: it runs, was not told to stop, and not every worker is
    /// stuck.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let engine = &*self.engine;
        engine.gate.open.load(Ordering::SeqCst) && !engine.stopping() && !self.is_stuck()
    }

    /// Whether every worker has been in one call for longer than `stuck_after`.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        let overdue = self.overdue();
        overdue > 0 && overdue >= self.engine.crew.alive()
    }

    /// How many workers have been in one call for longer than `stuck_after`.
    fn overdue(&self) -> usize {
        let engine = &*self.engine;
        let (now, patience) = (engine.clock.now(), engine.options.get().stuck_after);
        let mut overdue = 0;
        engine.crew.each(|_, block| {
            let late = block.turn_now(now).is_some_and(|turn| turn.running > patience);
            overdue += usize::from(late);
        });
        overdue
    }

    /// Whether [`stop`](Self::stop) has been called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.engine.stopping()
    }

    /// Asks the accept loop for a sign of life, and returns the question's number: it has been
    /// answered when [`pong`](Self::pong) says this number or a higher one. A loop that is well
    /// answers at once, also in a drain.
    #[must_use]
    pub fn ping(&self) -> u64 {
        self.engine.inbox.ask()
    }

    /// The number of the last [`ping`](Self::ping) that the accept loop has answered, 0 if none.
    #[must_use]
    pub fn pong(&self) -> u64 {
        self.engine.inbox.answered()
    }

    /// The addresses listened on, in the order in which they were given, with the ports that the
    /// kernel chose.
    #[must_use]
    pub fn local_addrs(&self) -> &[Address] {
        &self.bound
    }

    /// Changes the number of workers. Threads are started at once; those too many leave when
    /// they have finished what they hold. Those that have been in one call for longer than
    /// `stuck_after` do not count: they leave when it returns, and the others still serve.
    ///
    /// # Errors
    ///
    /// `workers` is 0 or above [`MAX_WORKERS`](super::MAX_WORKERS).
    pub fn resize(&self, workers: usize) -> Result<(), super::Error> {
        self.change(|options| Options { workers, ..options.clone() })
    }

    /// The options in force.
    #[must_use]
    pub fn options(&self) -> Options {
        Options::clone(&self.engine.options.get())
    }

    /// Replaces the options, all at once, without closing a connection. New limits hold for what
    /// comes; new time-outs for what waits already too; workers as with [`resize`](Self::resize).
    ///
    /// # Errors
    ///
    /// An option is out of its range, or cannot change while the server runs: `framing`,
    /// `backlog`, `thread_prefix`, and `max_connections` above what it was at the start. Nothing
    /// has changed then.
    pub fn reload(&self, options: Options) -> Result<(), super::Error> {
        self.change(|_| options)
    }

    fn change(&self, step: impl FnOnce(&Options) -> Options) -> Result<(), super::Error> {
        let engine = &*self.engine;
        let checked = |old: &Options| {
            let new = step(old);
            old.allows(&new, engine.table.places())?;
            // Under the options' lock: of two changes at once, the later one holds for both.
            if !engine.draining() {
                engine.crew.want(new.workers, &engine.poller);
            }
            Ok(new)
        };
        engine.options.update(checked).map_err(super::Error::Invalid)?;
        engine.inbox.ring();
        Ok(())
    }

    /// Reads every counter and level. Takes some microseconds, however many connections are open,
    /// for it reads `/proc` too, and delays no worker.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        let engine = &*self.engine;
        let options = engine.options.get();
        // The way a connection goes: admitted, queued, in a turn, closing, closed. So none is
        // overlooked.
        let (open, queued) = (engine.table.open(), engine.queue.len());
        let alive = engine.crew.alive();
        let now = engine.clock.now();
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let mut stats = Snapshot {
            ready: self.is_ready(),
            draining: engine.stopping(),
            workers: alive,
            workers_limit: engine.crew.wanted(),
            saturated_seconds: seconds(engine.gate.saturated.get()),
            resizes: vec![
                ("grow", engine.crew.grown.load(Ordering::Relaxed)),
                ("shrink", engine.crew.shrunk.load(Ordering::Relaxed)),
            ],
            queue_limit: engine.table.places(),
            closing: engine.closing(),
            connections_limit: options.max_connections,
            accepted: self.accepted(),
            rejected: labelled(Rejection::LABELS),
            closed: labelled(Reason::LABELS),
            message_errors: labelled(MessageError::LABELS),
            accept_errors: labelled(AcceptError::LABELS),
            accept_pauses: labelled(PauseCause::LABELS),
            accept_paused_seconds: seconds(engine.gate.paused.read(now)),
            ..Snapshot::default()
        };
        add(&mut stats.rejected, &engine.gate.rejected);
        add(&mut stats.accept_errors, &engine.gate.accept_errors);
        add(&mut stats.accept_pauses, &engine.gate.pauses);
        add_block(&mut stats, &engine.gate.block);
        let mut busy = 0;
        engine.crew.each(|_, block| {
            add_block(&mut stats, block);
            busy += block.busy.read(now);
            stats.worker_turns_now.push(block.turn_now(now));
        });
        // From the same look at each worker, so that the two agree.
        let in_turns = stats.worker_turns_now.iter().flatten().count();
        stats.workers_busy = in_turns.min(alive);
        let active = in_turns.min(open);
        let queued = queued.min(open - active);
        let parked = open - active - queued;
        (stats.active, stats.queued, stats.parked) = (active as u64, queued as u64, parked as u64);
        let turns = stats.worker_turns_now.iter().flatten();
        stats.workers_overdue = turns.filter(|turn| turn.running > options.stuck_after).count();
        // A worker that stops may have read the clock a little before we did: what was once
        // reported is never taken back, for a counter that falls reads as a restart.
        let busy = busy.max(engine.gate.busy_reported.fetch_max(busy, Ordering::Relaxed));
        stats.worker_busy_seconds = seconds(busy);
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
        if !self.engine.draining() {
            let backlog = self.engine.options.get().backlog;
            for (listener, bound) in listeners.iter_mut().zip(&*self.bound) {
                if let Address::Tcp(address) = bound {
                    listener.backlog = listen_backlog(*address, backlog);
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
    stats.queue_shed += block.shed.get();
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
