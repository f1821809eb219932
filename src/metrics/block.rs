//! Counters that cost nothing shared: each thread of the engine owns a block that it alone writes.
//!
//! A write is a relaxed load and a relaxed store, no locked instruction; a scrape sums the
//! blocks. Written by `server`'s workers and accept loop, read by its `stats`.

use super::snapshot::{Distribution, LIFETIMES, SECONDS, TurnNow};
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A count with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the thread that owns the block calls this.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A sum of numbers of any size, with one writer. A float, whose precision a sum of squares needs
/// less than its range.
#[derive(Debug, Default)]
pub(crate) struct Sum(AtomicU64);

impl Sum {
    /// Adds `x`. Only the thread that owns the block calls this.
    #[inline]
    pub(crate) fn add(&self, x: f64) {
        let sum = f64::from_bits(self.0.load(Ordering::Relaxed)) + x;
        self.0.store(sum.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Time spent in something, with one writer, readable while it goes on.
///
/// One word, so that a reader never sees the sum and the running part apart: stopped, it is the
/// sum; running, it is the sum less the start, with a bit that says so.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(AtomicU64);

const RUNNING: u64 = 1 << 63;
/// The sign of what is left beside that bit.
const NEGATIVE: u64 = 1 << 62;

impl Stopwatch {
    /// Begins, at `now`. Only while it is stopped.
    pub(crate) fn start(&self, now: u64) {
        let sum = self.0.load(Ordering::Relaxed);
        self.0.store(sum.wrapping_sub(now) & !RUNNING | RUNNING, Ordering::Relaxed);
    }

    /// Ends, at `now`. Only while it runs.
    pub(crate) fn stop(&self, now: u64) {
        self.0.store(self.read(now), Ordering::Relaxed);
    }

    /// The time up to `now`, in the unit of the moments given. A reader whose `now` is a little
    /// before the start misses that little of the sum, down to 0.
    pub(crate) fn read(&self, now: u64) -> u64 {
        let word = self.0.load(Ordering::Relaxed);
        if word & RUNNING == 0 {
            return word;
        }
        let sum = word.wrapping_add(now) & !RUNNING;
        if sum & NEGATIVE == 0 { sum } else { 0 }
    }
}

/// The first bucket's bound of [`SECONDS`], in nanoseconds.
pub(crate) const FIRST_BUCKET_NANOS: u64 = 10_000;

/// A histogram with one writer, over nanoseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// In seconds, as they are exported.
    bounds: &'static [f64],
    /// The same in nanoseconds.
    limits: Box<[u64]>,
    counts: Box<[Counter]>,
    sum: Counter,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            limits: bounds.iter().map(|bound| (bound * 1e9).round() as u64).collect(),
            counts: counters(bounds.len() + 1),
            sum: Counter::default(),
        }
    }

    /// Counts one value. A search from the front: what is frequent is short.
    #[inline]
    pub(crate) fn observe(&self, nanos: u64) {
        let bucket = self.limits.iter().position(|limit| nanos <= *limit);
        self.counts[bucket.unwrap_or(self.limits.len())].add(1);
        self.sum.add(nanos);
    }

    /// Counts many values of the first bucket at once, with their sum.
    #[inline]
    pub(crate) fn observe_first(&self, count: u64, nanos: u64) {
        self.counts[0].add(count);
        self.sum.add(nanos);
    }

    /// The sum of all values.
    pub(crate) fn sum_nanos(&self) -> u64 {
        self.sum.get()
    }

    /// Adds what was counted here to `total`.
    pub(crate) fn add_to(&self, total: &mut Distribution) {
        debug_assert_eq!(self.bounds, total.bounds, "sums are taken over the same buckets");
        for (sum, count) in total.counts.iter_mut().zip(&self.counts) {
            *sum += count.get();
        }
        total.sum += self.sum.get() as f64 / 1e9;
    }
}

/// One thread's counters. The labelled ones are indexed by their reason's number.
#[derive(Debug)]
pub(crate) struct Block {
    /// The time not spent waiting in the poller.
    pub(crate) busy: Stopwatch,
    /// When the turn under way began, in nanoseconds since the server's start; 0 for none.
    pub(crate) turn_since: AtomicU64,
    /// The connection of that turn, or of the last.
    pub(crate) serving: AtomicU64,
    pub(crate) turns: Counter,
    /// Turns refused because their connection had waited too long.
    pub(crate) shed: Counter,
    pub(crate) restarts: Counter,
    pub(crate) parks: Counter,
    pub(crate) queue_wait: Histogram,
    pub(crate) handler_time: Histogram,
    /// The squares of the same times, in square nanoseconds.
    pub(crate) handler_time_squared: Sum,
    pub(crate) write_time: Histogram,
    pub(crate) connection_duration: Histogram,
    pub(crate) messages: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) handler_panics: Counter,
    pub(crate) message_errors: Box<[Counter]>,
    pub(crate) closed: Box<[Counter]>,
}

impl Block {
    /// The turn under way, as seen at `now`.
    pub(crate) fn turn_now(&self, now: u64) -> Option<TurnNow> {
        let since = self.turn_since.load(Ordering::Relaxed);
        (since != 0).then(|| TurnNow {
            running: Duration::from_nanos(now.saturating_sub(since)),
            connection: self.serving.load(Ordering::Relaxed),
        })
    }

    /// A message's handler has taken `nanos`.
    #[inline]
    pub(crate) fn handled(&self, nanos: u64) {
        self.handler_time.observe(nanos);
        self.handler_time_squared.add((nanos as f64).powi(2));
        self.messages.add(1);
    }

    /// The handlers of `count` messages, at least one, each quick enough for the first bucket,
    /// have together taken `nanos`. Their squares are those of equal shares.
    #[inline]
    pub(crate) fn handled_quickly(&self, count: u64, nanos: u64) {
        self.handler_time.observe_first(count, nanos);
        self.handler_time_squared.add((nanos as f64).powi(2) / count as f64);
        self.messages.add(count);
    }

    /// A block of zeros, for so many reasons; padded so that it shares no cache line.
    pub(crate) fn new(message_errors: usize, closed: usize) -> CachePadded<Self> {
        CachePadded::new(Self {
            busy: Stopwatch::default(),
            turn_since: AtomicU64::new(0),
            serving: AtomicU64::new(0),
            turns: Counter::default(),
            shed: Counter::default(),
            restarts: Counter::default(),
            parks: Counter::default(),
            queue_wait: Histogram::new(SECONDS),
            handler_time: Histogram::new(SECONDS),
            handler_time_squared: Sum::default(),
            write_time: Histogram::new(SECONDS),
            connection_duration: Histogram::new(LIFETIMES),
            messages: Counter::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            handler_panics: Counter::default(),
            message_errors: counters(message_errors),
            closed: counters(closed),
        })
    }
}

/// So many counters, of zero.
pub(crate) fn counters(count: usize) -> Box<[Counter]> {
    (0..count).map(|_| Counter::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Block, FIRST_BUCKET_NANOS, Histogram, Stopwatch};
    use crate::metrics::{Distribution, SECONDS};

    #[test]
    fn a_stopwatch_is_read_while_it_runs() {
        let watch = Stopwatch::default();
        assert_eq!(watch.read(100), 0);
        watch.start(100);
        assert_eq!((watch.read(100), watch.read(130)), (0, 30));
        assert_eq!(watch.read(99), 0, "a reader with an older clock");
        watch.stop(150);
        assert_eq!(watch.read(999), 50);
        watch.start(1000);
        assert_eq!(watch.read(1007), 57);
        watch.stop(1010);
        assert_eq!(watch.read(2000), 60);
    }

    #[test]
    fn squares_of_quick_calls_are_those_of_equal_shares() {
        let block = Block::new(0, 0);
        block.handled(3_000_000);
        block.handled(4_000_000);
        assert_eq!(block.handler_time_squared.get(), 25e12);
        block.handled_quickly(4, 8_000);
        assert_eq!(block.handler_time_squared.get(), 25e12 + 4.0 * 4e6);
        assert_eq!(block.messages.get(), 6);
    }

    #[test]
    fn a_value_on_a_bound_is_below_it_and_one_above_all_bounds_is_counted() {
        let histogram = Histogram::new(SECONDS);
        for nanos in [0, 10_000, 10_001, 10_000_000_000, 10_000_000_001] {
            histogram.observe(nanos);
        }
        assert_eq!(histogram.limits[0], FIRST_BUCKET_NANOS);
        let mut total = Distribution::new(SECONDS);
        histogram.add_to(&mut total);
        let mut expected = vec![0; SECONDS.len() + 1];
        (expected[0], expected[1]) = (2, 1);
        (expected[SECONDS.len() - 1], expected[SECONDS.len()]) = (1, 1);
        assert_eq!((total.counts.clone(), total.count()), (expected, 5));
        assert!((total.sum - 20.000_020_002).abs() < 1e-9, "{}", total.sum);
    }
}
