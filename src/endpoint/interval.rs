//! What happened between two looks at a server's counters.
//!
//! Kept by `history`, read by `status`. Differences, not counters, because differences can be
//! added: any stretch of the history is one [`Interval`] again, with quantiles of its own.

use crate::metrics::{Distribution, SECONDS, Snapshot};
use crate::sizing::Observed;
use std::thread;
use std::time::SystemTime;

/// What happened between two looks, or in several such stretches together. Counts are
/// differences; levels are those of the end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Interval {
    pub(super) end: SystemTime,
    pub(super) seconds: f64,
    /// Seconds that the workers had, and how many of them they spent in turns.
    pub(super) worker_seconds: f64,
    pub(super) busy_seconds: f64,
    pub(super) saturated_seconds: f64,
    /// Of the whole process.
    pub(super) cpu_seconds: f64,
    pub(super) messages: u64,
    pub(super) errors: u64,
    pub(super) accepted: u64,
    pub(super) parks: u64,
    pub(super) rejected: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) queue_wait: Distribution,
    pub(super) handler_time: Distribution,
    pub(super) handler_seconds_squared: f64,
    pub(super) queued: u64,
    pub(super) open: u64,
    /// Seconds that the open connections were open.
    pub(super) open_seconds: f64,
}

impl Interval {
    /// Nothing, ending now.
    pub(super) fn empty() -> Self {
        Self {
            end: SystemTime::now(),
            seconds: 0.0,
            worker_seconds: 0.0,
            busy_seconds: 0.0,
            saturated_seconds: 0.0,
            cpu_seconds: 0.0,
            messages: 0,
            errors: 0,
            accepted: 0,
            parks: 0,
            rejected: 0,
            received_bytes: 0,
            sent_bytes: 0,
            queue_wait: Distribution::new(SECONDS),
            handler_time: Distribution::new(SECONDS),
            handler_seconds_squared: 0.0,
            queued: 0,
            open: 0,
            open_seconds: 0.0,
        }
    }

    pub(super) fn between(
        before: &Snapshot,
        now: &Snapshot,
        seconds: f64,
        end: SystemTime,
    ) -> Self {
        let accepted =
            |stats: &Snapshot| stats.accepted.iter().map(|listener| listener.accepted).sum();
        Self {
            end,
            seconds,
            worker_seconds: now.workers as f64 * seconds,
            busy_seconds: grown_by(before.worker_busy_seconds, now.worker_busy_seconds),
            saturated_seconds: grown_by(before.saturated_seconds, now.saturated_seconds),
            // The ring adds it: a snapshot is of the server, not of the process.
            cpu_seconds: 0.0,
            messages: difference(before.messages, now.messages),
            errors: difference(total(&before.message_errors), total(&now.message_errors)),
            accepted: difference(accepted(before), accepted(now)),
            parks: difference(before.parks, now.parks),
            rejected: difference(total(&before.rejected), total(&now.rejected)),
            received_bytes: difference(before.received_bytes, now.received_bytes),
            sent_bytes: difference(before.sent_bytes, now.sent_bytes),
            queue_wait: now.queue_wait.since(&before.queue_wait),
            handler_time: now.handler_time.since(&before.handler_time),
            handler_seconds_squared: grown_by(
                before.handler_seconds_squared,
                now.handler_seconds_squared,
            ),
            queued: now.queued,
            open: now.open(),
            open_seconds: now.open() as f64 * seconds,
        }
    }

    /// Adds an earlier stretch.
    pub(super) fn extend(&mut self, earlier: &Self) {
        self.seconds += earlier.seconds;
        self.worker_seconds += earlier.worker_seconds;
        self.busy_seconds += earlier.busy_seconds;
        self.saturated_seconds += earlier.saturated_seconds;
        self.cpu_seconds += earlier.cpu_seconds;
        self.handler_seconds_squared += earlier.handler_seconds_squared;
        self.open_seconds += earlier.open_seconds;
        self.messages += earlier.messages;
        self.errors += earlier.errors;
        self.accepted += earlier.accepted;
        self.parks += earlier.parks;
        self.rejected += earlier.rejected;
        self.received_bytes += earlier.received_bytes;
        self.sent_bytes += earlier.sent_bytes;
        include(&mut self.queue_wait, &earlier.queue_wait);
        include(&mut self.handler_time, &earlier.handler_time);
    }

    /// Which part of the workers' time was spent in turns, 0 to 1.
    pub(super) fn utilisation(&self) -> f64 {
        ratio(self.busy_seconds, self.worker_seconds)
    }

    /// For which part of the time every worker was busy while a connection waited, 0 to 1.
    pub(super) fn saturated(&self) -> f64 {
        ratio(self.saturated_seconds, self.seconds)
    }

    /// What the advice rests on.
    pub(super) fn observed(&self, arrival_cv2: Option<f64>) -> Observed {
        Observed {
            seconds: self.seconds,
            workers: (self.worker_seconds / self.seconds.max(1e-3)).round() as usize,
            messages: self.messages,
            busy_seconds: self.busy_seconds,
            handler_seconds: self.handler_time.sum,
            handler_seconds_squared: self.handler_seconds_squared,
            cpu_seconds: Some(self.cpu_seconds),
            cores: thread::available_parallelism().ok().map(|cores| cores.get() as f64),
            arrival_cv2,
            accepted: self.accepted,
            open: self.open_seconds / self.seconds.max(1e-3),
            parks: self.parks,
            waits: self.queue_wait.count(),
            wait_seconds: self.queue_wait.sum,
        }
    }

    pub(super) fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }

    pub(super) fn wait(&self, q: f64) -> Option<f64> {
        self.queue_wait.quantile(q)
    }

    pub(super) fn wait_mean(&self) -> Option<f64> {
        let count = self.queue_wait.count();
        (count > 0).then(|| self.queue_wait.sum / count as f64)
    }

    pub(super) fn handler(&self, q: f64) -> Option<f64> {
        self.handler_time.quantile(q)
    }
}

/// A turn under way is counted up to the moment it is read, which differs a little from the
/// moment on the clock: a ratio may come out above 1 by that little.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

pub(super) fn total(counts: &[(&'static str, u64)]) -> u64 {
    counts.iter().map(|(_, count)| count).sum()
}

/// A counter that fell began anew: what it counts now has happened since.
fn difference(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

fn grown_by(before: f64, now: f64) -> f64 {
    if now >= before { now - before } else { now }
}

fn include(sum: &mut Distribution, other: &Distribution) {
    for (sum, other) in sum.counts.iter_mut().zip(&other.counts) {
        *sum += other;
    }
    sum.sum += other.sum;
}
