//! When the queue is too long for too long: the rule of CoDel, on the time that ready connections
//! wait for a worker.
//!
//! Asked by workers at each turn while `max_queue_wait` is set. A queue is overloaded if its least
//! wait over a whole interval was above the target: a burst passes, a standing queue does not.
//! Then whatever has waited too long is refused, which is quick, until the head of the queue is
//! young enough to be served. The target is half of the longest wait, so that refusing alone does
//! not look like the end of the overload; folly's `Codel` does the same.

use super::clock::{Moment, nanos};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The shortest interval.
const INTERVAL: Duration = Duration::from_millis(100);
/// An interval spans so many mean calls, for it has to see several.
const CALLS: u64 = 4;

/// What the workers have seen of the queue. The orderings are relaxed: who reads a moment late
/// decides a moment late.
#[derive(Debug)]
pub(super) struct Shedder {
    /// The least wait of the interval under way.
    least: AtomicU64,
    /// When that ends; 0 before the first.
    ends: AtomicU64,
    overloaded: AtomicBool,
}

impl Shedder {
    pub(super) fn new() -> Self {
        Self {
            least: AtomicU64::new(u64::MAX),
            ends: AtomicU64::new(0),
            overloaded: AtomicBool::new(false),
        }
    }

    /// A connection has waited for `wait` nanoseconds. Says whether to refuse it. `mean_call` is
    /// asked for once an interval, in nanoseconds.
    pub(super) fn sheds(
        &self,
        wait: u64,
        longest: Duration,
        now: Moment,
        mean_call: impl FnOnce() -> u64,
    ) -> bool {
        self.least.fetch_min(wait, Ordering::Relaxed);
        let longest = nanos(longest);
        let ends = self.ends.load(Ordering::Relaxed);
        if now >= ends {
            let interval = nanos(INTERVAL).max(CALLS.saturating_mul(mean_call()));
            let next = now.saturating_add(interval);
            let mine = self.ends.compare_exchange(ends, next, Ordering::Relaxed, Ordering::Relaxed);
            if mine.is_ok() {
                let least = self.least.swap(u64::MAX, Ordering::Relaxed);
                // Nobody came for a whole interval: nobody waited.
                let lately = ends != 0 && now - ends < interval;
                self.overloaded.store(lately && least > longest / 2, Ordering::Relaxed);
            }
        }
        wait > longest && self.overloaded.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::Shedder;
    use std::time::Duration;

    const MS: u64 = 1_000_000;
    const LONGEST: Duration = Duration::from_millis(20);

    /// Whether `shedder` refuses at `now` who has waited for `wait`, both in milliseconds.
    fn sheds(shedder: &Shedder, now: u64, wait: u64) -> bool {
        shedder.sheds(wait * MS, LONGEST, now * MS, || MS)
    }

    #[test]
    fn a_burst_passes_and_a_standing_queue_is_cut() {
        let shedder = Shedder::new();
        assert!(!sheds(&shedder, 1000, 500), "one long wait is a burst");
        for now in 1001..1100 {
            assert!(!sheds(&shedder, now, 50), "the first interval only measures");
        }
        assert!(sheds(&shedder, 1101, 50), "nobody waited less than half of 20 ms");
        assert!(!sheds(&shedder, 1102, 20), "the young are served");
        for now in 1103..1202 {
            sheds(&shedder, now, 15);
        }
        assert!(sheds(&shedder, 1203, 50), "a head just below the bound is no end of it");
        assert!(!sheds(&shedder, 1204, 9), "one short wait ...");
        assert!(!sheds(&shedder, 1304, 50), "... and the interval was not overloaded");
    }

    #[test]
    fn a_pause_ends_the_overload() {
        let shedder = Shedder::new();
        for now in [1000, 1050, 1101] {
            sheds(&shedder, now, 50);
        }
        assert!(sheds(&shedder, 1102, 50));
        assert!(!sheds(&shedder, 9000, 50), "the first after a long time");
    }

    #[test]
    fn slow_calls_have_long_intervals() {
        let shedder = Shedder::new();
        let at = |now: u64| shedder.sheds(50 * MS, LONGEST, now * MS, || 1000 * MS);
        assert_eq!([1000, 1101, 4999, 5001].map(at), [false, false, false, true]);
    }
}
