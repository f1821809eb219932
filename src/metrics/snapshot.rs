//! One reading of everything a server counts.
//!
//! Made by `Handle::stats` from the workers' blocks, turned into metric families by the collector
//! and into JSON by the endpoint's `status`. Holds numbers only.

use std::time::Duration;

/// Upper bounds of the buckets of waits and of message times, in seconds; one more bucket holds
/// what is above.
pub const SECONDS: &[f64] = &[
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Upper bounds of the buckets of connections' lifetimes, in seconds.
pub const LIFETIMES: &[f64] =
    &[0.01, 0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0];

/// A distribution of durations.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Upper bounds of the buckets, in seconds.
    pub bounds: &'static [f64],
    /// How many values fell into each bucket; one more than there are bounds.
    pub counts: Vec<u64>,
    /// The sum of all values, in seconds.
    pub sum: f64,
}

impl Distribution {
    /// An empty one.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What has come since `before`, a distribution over the same bounds. One that has less in it
    /// than before began anew meanwhile, so all of it has come since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        if self.count() < before.count() {
            return self.clone();
        }
        let counts = self.counts.iter().zip(&before.counts);
        Self {
            bounds: self.bounds,
            counts: counts.map(|(now, before)| now.saturating_sub(*before)).collect(),
            sum: (self.sum - before.sum).max(0.0),
        }
    }
}

/// A server's counters and levels at one moment. Counters never fall. Read while the server
/// works, the fields are from slightly different moments; at rest they balance:
/// accepted = rejected + open + closed.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The server wants clients.
    pub ready: bool,
    /// It was told to stop; `drain_delay` counts as a part of the drain.
    pub draining: bool,
    /// Worker threads that exist.
    pub workers: usize,
    /// Worker threads asked for.
    pub workers_limit: usize,
    /// Worker threads in a connection's turn now.
    pub workers_busy: usize,
    /// For each worker place: the turn that its worker is in, or nothing while it is idle or the
    /// place is empty.
    pub worker_turns_now: Vec<Option<TurnNow>>,
    /// How many of these turns have run longer than `stuck_after`.
    pub workers_overdue: usize,
    /// Seconds that all workers together have not been waiting in the poller: turns, those under
    /// way included, and what lies between them.
    pub worker_busy_seconds: f64,
    /// Turns begun.
    pub worker_turns: u64,
    /// Workers that began anew after a panic of ours.
    pub worker_restarts: u64,
    /// Seconds during which every worker was busy and a connection waited.
    pub saturated_seconds: f64,
    /// Changes of the number of workers, by direction.
    pub resizes: Vec<(&'static str, u64)>,
    /// Places in the run queue.
    pub queue_limit: usize,
    /// Connections refused because they had waited too long for a worker.
    pub queue_shed: u64,
    /// How long ready connections waited for a worker.
    pub queue_wait: Distribution,
    /// Open connections that wait for bytes.
    pub parked: u64,
    /// Open connections with work, waiting for a worker.
    pub queued: u64,
    /// Open connections that a worker serves now.
    pub active: u64,
    /// Open connections of which only leftover input is still read.
    pub closing: u64,
    /// Most open connections allowed.
    pub connections_limit: usize,
    /// Connections accepted, by listener.
    pub accepted: Vec<ListenerStats>,
    /// Connections refused, by reason.
    pub rejected: Vec<(&'static str, u64)>,
    /// Connections closed, by reason.
    pub closed: Vec<(&'static str, u64)>,
    /// How long closed connections had been open.
    pub connection_duration: Distribution,
    /// Times a connection was handed back to wait for bytes.
    pub parks: u64,
    /// Errors of accept, by code.
    pub accept_errors: Vec<(&'static str, u64)>,
    /// Times accepting was paused, by cause.
    pub accept_pauses: Vec<(&'static str, u64)>,
    /// Seconds spent not accepting.
    pub accept_paused_seconds: f64,
    /// Messages answered or failed.
    pub messages: u64,
    /// Messages that failed, by reason.
    pub message_errors: Vec<(&'static str, u64)>,
    /// Time per message in the handler.
    pub handler_time: Distribution,
    /// The sum of the squares of those times, in square seconds: with the sum and the count it
    /// gives their variance.
    pub handler_seconds_squared: f64,
    /// Time per write of gathered replies.
    pub write_time: Distribution,
    /// Bytes read from clients.
    pub received_bytes: u64,
    /// Bytes written to clients.
    pub sent_bytes: u64,
    /// Panics caught in the handler.
    pub handler_panics: u64,
}

/// A turn under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnNow {
    /// For how long it has run.
    pub running: Duration,
    /// The number of the connection that is served.
    pub connection: u64,
}

/// What one listening socket has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerStats {
    /// The address as it was configured.
    pub listener: String,
    /// Connections accepted on it.
    pub accepted: u64,
    /// Connections that wait in the kernel's queue, and how many may; nothing if the kernel does
    /// not say (a Unix socket, a closed listener).
    pub backlog: Option<(u64, u64)>,
}

impl Default for Snapshot {
    /// Nothing yet.
    fn default() -> Self {
        Self {
            ready: false,
            draining: false,
            workers: 0,
            workers_limit: 0,
            workers_busy: 0,
            worker_turns_now: Vec::new(),
            workers_overdue: 0,
            worker_busy_seconds: 0.0,
            worker_turns: 0,
            worker_restarts: 0,
            saturated_seconds: 0.0,
            resizes: vec![("grow", 0), ("shrink", 0)],
            queue_limit: 0,
            queue_shed: 0,
            queue_wait: Distribution::new(SECONDS),
            parked: 0,
            queued: 0,
            active: 0,
            closing: 0,
            connections_limit: 0,
            accepted: Vec::new(),
            rejected: Vec::new(),
            closed: Vec::new(),
            connection_duration: Distribution::new(LIFETIMES),
            parks: 0,
            accept_errors: Vec::new(),
            accept_pauses: Vec::new(),
            accept_paused_seconds: 0.0,
            messages: 0,
            message_errors: Vec::new(),
            handler_time: Distribution::new(SECONDS),
            handler_seconds_squared: 0.0,
            write_time: Distribution::new(SECONDS),
            received_bytes: 0,
            sent_bytes: 0,
            handler_panics: 0,
        }
    }
}

impl Snapshot {
    /// Open connections in every state.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.parked + self.queued + self.active + self.closing
    }
}
