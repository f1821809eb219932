//! The last fifteen minutes, in memory: what happened between one look at the counters and the
//! next, so that a page opened late has something to show.
//!
//! Made by `SideEndpoint`, which owns the thread that looks; read by `status`. It keeps
//! differences, not counters, because differences can be added: any stretch of the history is one
//! [`Interval`] again, with quantiles of its own.

use crate::metrics::{Distribution, SECONDS, Snapshot};
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// Between two looks, and between two polls of the page.
pub(super) const STEP: Duration = Duration::from_secs(2);

/// Fifteen minutes of steps, about 300 KB.
const LONGEST: usize = 450;

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
    pub(super) messages: u64,
    pub(super) errors: u64,
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) queue_wait: Distribution,
    pub(super) handler_time: Distribution,
    pub(super) queued: u64,
    pub(super) open: u64,
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
            messages: 0,
            errors: 0,
            accepted: 0,
            rejected: 0,
            received_bytes: 0,
            sent_bytes: 0,
            queue_wait: Distribution::new(SECONDS),
            handler_time: Distribution::new(SECONDS),
            queued: 0,
            open: 0,
        }
    }

    fn between(before: &Snapshot, now: &Snapshot, seconds: f64, end: SystemTime) -> Self {
        let accepted =
            |stats: &Snapshot| stats.accepted.iter().map(|listener| listener.accepted).sum();
        Self {
            end,
            seconds,
            worker_seconds: now.workers as f64 * seconds,
            busy_seconds: grown_by(before.worker_busy_seconds, now.worker_busy_seconds),
            saturated_seconds: grown_by(before.saturated_seconds, now.saturated_seconds),
            messages: difference(before.messages, now.messages),
            errors: difference(total(&before.message_errors), total(&now.message_errors)),
            accepted: difference(accepted(before), accepted(now)),
            rejected: difference(total(&before.rejected), total(&now.rejected)),
            received_bytes: difference(before.received_bytes, now.received_bytes),
            sent_bytes: difference(before.sent_bytes, now.sent_bytes),
            queue_wait: added(&before.queue_wait, &now.queue_wait),
            handler_time: added(&before.handler_time, &now.handler_time),
            queued: now.queued,
            open: now.open(),
        }
    }

    /// Adds an earlier stretch.
    fn extend(&mut self, earlier: &Self) {
        self.seconds += earlier.seconds;
        self.worker_seconds += earlier.worker_seconds;
        self.busy_seconds += earlier.busy_seconds;
        self.saturated_seconds += earlier.saturated_seconds;
        self.messages += earlier.messages;
        self.errors += earlier.errors;
        self.accepted += earlier.accepted;
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

    pub(super) fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }

    pub(super) fn wait(&self, q: f64) -> Option<f64> {
        self.queue_wait.quantile(q)
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

fn added(before: &Distribution, now: &Distribution) -> Distribution {
    let mut new = now.clone();
    if now.count() >= before.count() {
        for (new, before) in new.counts.iter_mut().zip(&before.counts) {
            *new = new.saturating_sub(*before);
        }
        new.sum = grown_by(before.sum, now.sum);
    }
    new
}

fn include(sum: &mut Distribution, other: &Distribution) {
    for (sum, other) in sum.counts.iter_mut().zip(&other.counts) {
        *sum += other;
    }
    sum.sum += other.sum;
}

/// The ring of intervals, the oldest first.
#[derive(Debug)]
pub(super) struct Ring {
    read_at: Instant,
    last: Snapshot,
    intervals: VecDeque<Interval>,
}

impl Ring {
    fn new(read_at: Instant, first: Snapshot) -> Self {
        Self { read_at, last: first, intervals: VecDeque::with_capacity(LONGEST) }
    }

    fn push(&mut self, read_at: Instant, now: Snapshot, end: SystemTime) {
        let seconds = read_at.duration_since(self.read_at).as_secs_f64();
        if self.intervals.len() == LONGEST {
            self.intervals.pop_front();
        }
        self.intervals.push_back(Interval::between(&self.last, &now, seconds, end));
        (self.read_at, self.last) = (read_at, now);
    }

    pub(super) fn intervals(&self) -> impl ExactSizeIterator<Item = &Interval> {
        self.intervals.iter()
    }

    /// The last steps together, as many as `length` covers.
    pub(super) fn recent(&self, length: Duration) -> Interval {
        let mut newest = self.intervals.iter().rev();
        let mut sum = newest.next().cloned().unwrap_or_else(Interval::empty);
        for earlier in newest {
            if sum.seconds + earlier.seconds / 2.0 > length.as_secs_f64() {
                break;
            }
            sum.extend(earlier);
        }
        sum
    }

    /// The busiest step: how many workers it kept busy.
    pub(super) fn peak_busy_workers(&self) -> f64 {
        let busy = self.intervals().map(|it| it.busy_seconds / it.seconds.max(1e-3));
        busy.fold(0.0, f64::max)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.intervals().map(|interval| interval.seconds).sum()
    }
}

/// The history of one server.
pub(super) struct History {
    observe: Box<dyn Fn() -> Snapshot + Send + Sync>,
    since: SystemTime,
    ring: Mutex<Ring>,
}

impl History {
    /// Begins with a first look; `observe` is called again at every step.
    pub(super) fn new(observe: impl Fn() -> Snapshot + Send + Sync + 'static) -> Self {
        let ring = Mutex::new(Ring::new(Instant::now(), observe()));
        Self { observe: Box::new(observe), since: SystemTime::now(), ring }
    }

    /// The counters now.
    pub(super) fn observe(&self) -> Snapshot {
        (self.observe)()
    }

    /// When it began.
    pub(super) fn since(&self) -> SystemTime {
        self.since
    }

    pub(super) fn ring(&self) -> MutexGuard<'_, Ring> {
        // A step that panicked has pushed its interval or has not; both can be read.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self) {
        let now = self.observe();
        self.ring().push(Instant::now(), now, SystemTime::now());
    }
}

/// The thread that looks. Its drop ends it at once.
#[derive(Debug)]
pub(super) struct Sampler {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    pub(super) fn start(history: Arc<History>) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            let mut next = Instant::now() + STEP;
            let until = |next: Instant| next.saturating_duration_since(Instant::now());
            // Nothing is ever sent: the sender's end is the message.
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(until(next)) {
                history.step();
                // After a pause of the machine: one long step, not many of no length.
                next = (next + STEP).max(Instant::now());
            }
        };
        let thread = thread::Builder::new().name("http-history".to_owned()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the side endpoint's history panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(messages: u64, busy_seconds: f64) -> Snapshot {
        let mut stats = Snapshot {
            workers: 4,
            messages,
            worker_busy_seconds: busy_seconds,
            rejected: vec![("rate", messages / 2), ("draining", 1)],
            ..Snapshot::default()
        };
        stats.queue_wait.counts[9] = messages;
        stats
    }

    /// A ring that has looked every two seconds.
    fn ring(looks: impl IntoIterator<Item = Snapshot>) -> Ring {
        let mut looks = looks.into_iter();
        let start = Instant::now();
        let mut ring = Ring::new(start, looks.next().unwrap());
        for (step, now) in (1..).zip(looks) {
            ring.push(start + STEP * step, now, SystemTime::now());
        }
        ring
    }

    #[test]
    fn an_interval_is_the_difference_of_two_looks() {
        let ring = ring([stats(10, 1.0), stats(30, 5.0)]);
        let only = ring.intervals().next().unwrap();
        assert_eq!((only.seconds, only.messages, only.rejected), (2.0, 20, 10));
        assert_eq!((only.utilisation(), only.per_second(only.messages)), (0.5, 10.0));
        assert_eq!((only.queue_wait.count(), only.queue_wait.counts[9]), (20, 20));
    }

    #[test]
    fn counters_that_began_anew_count_from_zero() {
        let ring = ring([stats(1000, 100.0), stats(6, 2.0), stats(8, 4.0)]);
        let messages: Vec<u64> = ring.intervals().map(|interval| interval.messages).collect();
        assert_eq!(messages, [6, 2]);
        let both = ring.recent(STEP * 10);
        assert_eq!((both.seconds, both.messages, both.busy_seconds), (4.0, 8, 4.0));
        assert_eq!(both.queue_wait.count(), 8);
    }

    #[test]
    fn the_ring_is_bounded_and_keeps_the_newest() {
        let ring = ring((0..1000).map(|look| stats(look * look, 0.0)));
        assert_eq!(ring.intervals().len(), LONGEST);
        assert_eq!(ring.seconds(), 900.0);
        let newest = ring.intervals().last().unwrap();
        assert_eq!(newest.messages, 999 * 999 - 998 * 998);
        let recent = ring.recent(Duration::from_secs(30));
        assert_eq!((recent.seconds, recent.messages), (30.0, 999 * 999 - 984 * 984));
    }

    #[test]
    fn an_empty_history_divides_by_nothing() {
        let ring = ring([stats(5, 1.0)]);
        let none = ring.recent(Duration::from_secs(30));
        assert_eq!((none.utilisation(), none.saturated(), none.per_second(3)), (0.0, 0.0, 0.0));
        assert_eq!((none.wait(0.5), ring.peak_busy_workers()), (None, 0.0));
    }

    #[test]
    fn the_busiest_step_is_found() {
        let ring = ring([stats(0, 0.0), stats(1, 1.0), stats(2, 7.0), stats(3, 7.5)]);
        assert_eq!(ring.peak_busy_workers(), 3.0);
    }

    #[test]
    fn the_thread_looks_and_ends_at_once() {
        let history = Arc::new(History::new(|| stats(1, 0.0)));
        let sampler = Sampler::start(Arc::clone(&history)).unwrap();
        let asked = Instant::now();
        while history.ring().intervals().len() == 0 {
            assert!(asked.elapsed() < Duration::from_secs(30));
            thread::sleep(Duration::from_millis(20));
        }
        assert!(history.ring().seconds() > 1.5);
        let asked = Instant::now();
        drop(sampler);
        assert!(asked.elapsed() < STEP / 2, "{:?}", asked.elapsed());
        assert_eq!(Arc::strong_count(&history), 1);
    }
}
