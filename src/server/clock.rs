//! The engine's time: nanoseconds since the server was made, on the monotonic clock; and a worker's
//! watch, which is cheaper to read.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A moment, in nanoseconds since the server was made. 64 bits of them last 584 years, and fit
/// an atomic.
pub(super) type Moment = u64;

/// A moment that never comes.
pub(super) const NEVER: Moment = Moment::MAX;

/// Where the count starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    seconds: i64,
}

impl Clock {
    pub(super) fn start() -> Self {
        // A second early, so that no moment is 0.
        Self { seconds: clock_gettime(ClockId::Monotonic).tv_sec - 1 }
    }

    pub(super) fn now(&self) -> Moment {
        let now = clock_gettime(ClockId::Monotonic);
        (now.tv_sec - self.seconds) as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
}

/// For how long the counter is read instead of the clock; in nanoseconds.
const LONGEST: u64 = 1_000_000;
/// The counter's speed is measured over so much time at least.
const WINDOW: Moment = 100_000_000;
/// Two measurements in a row have to agree up to this, as a ratio.
const AGREED: f64 = 0.01;
/// Readings of clock and counter so near to each other belong together; in nanoseconds.
const TOGETHER: u64 = 5_000;
/// Where reading them always takes longer, they are not read for ever.
const SET_TRIES: u32 = 4;

/// What a worker reads the time from, once a message: the processor's own counter, which costs
/// half of what the clock does; where there is none, quanta's counter is the clock.
///
/// The counter says what has passed since the last [`set`](Self::set), up to a millisecond, at a
/// speed that is measured against the clock again and again. So nothing adds up, and a counter
/// that jumps or changes its speed, as when the machine is suspended or moved, is not believed
/// for long.
#[derive(Debug)]
pub(super) struct Watch {
    clock: Clock,
    counter: quanta::Clock,
    /// The last reading.
    now: Moment,
    /// The last that was of the clock, and the counter then.
    set: (Moment, u64),
    /// Where the measurement of the speed under way began.
    began: (Moment, u64),
    /// Nanoseconds a tick of the counter, by the last measurement.
    measured: f64,
    /// The same in parts of 2^32, so that a message costs no floating point.
    scale: u64,
    /// So many ticks the counter is believed; 0, and only the clock is read.
    believed: u64,
}

impl Watch {
    /// A watch that is set. The first of the process takes a millisecond as a rule and 200 at
    /// most: quanta measures the speed too, once, and cannot be asked not to. It is not used, for a
    /// wait for a core at its first reading would make it wrong for good.
    pub(super) fn new(clock: Clock) -> Self {
        let counter = quanta::Clock::new();
        let set = (clock.now(), counter.raw());
        let measured = f64::INFINITY;
        Self { clock, counter, now: set.0, set, began: set, measured, scale: 0, believed: 0 }
    }

    /// The last reading.
    pub(super) fn now(&self) -> Moment {
        self.now
    }

    /// Reads the clock.
    pub(super) fn set(&mut self) -> Moment {
        for _ in 0..SET_TRIES {
            let before = self.counter.raw();
            self.set = (self.clock.now(), self.counter.raw());
            // Between the two the thread may have had to wait for a core.
            let apart = self.passed(self.set.1.wrapping_sub(before));
            if self.believed == 0 || apart.is_some_and(|apart| apart <= TOGETHER) {
                break;
            }
        }
        self.now = self.set.0;
        if self.now - self.began.0 >= WINDOW {
            self.measure();
        }
        self.now
    }

    /// Ends the measurement of the speed under way and begins the next.
    fn measure(&mut self) {
        let ((from, counted_from), (to, counted)) = (self.began, self.set);
        let measured = (to - from) as f64 / counted.wrapping_sub(counted_from) as f64;
        let agreed = (measured / self.measured - 1.0).abs() <= AGREED;
        self.believed = if agreed { (LONGEST as f64 / measured) as u64 } else { 0 };
        self.scale = (measured * (1_u64 << 32) as f64) as u64;
        (self.began, self.measured) = (self.set, measured);
    }

    /// Nanoseconds in so many ticks, if the counter is believed for so long.
    #[inline]
    fn passed(&self, ticks: u64) -> Option<u64> {
        // At most 2^32 times LONGEST.
        (ticks < self.believed).then(|| (ticks * self.scale) >> 32)
    }

    /// Reads the time; returns the nanoseconds since the last reading.
    #[inline]
    pub(super) fn lap(&mut self) -> u64 {
        let before = self.now;
        let (moment, count) = self.set;
        // A counter that ran backwards has gone far too.
        match self.passed(self.counter.raw().wrapping_sub(count)) {
            Some(passed) => self.now = before.max(moment + passed),
            None => {
                self.set();
            }
        }
        self.now.saturating_sub(before)
    }
}

/// A duration in nanoseconds; longer than 584 years is as long as that.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Clock, LONGEST, WINDOW, Watch};
    use std::thread;
    use std::time::Duration;

    fn measure(watch: &mut Watch) {
        thread::sleep(Duration::from_nanos(WINDOW));
        watch.set();
    }

    /// A watch that believes its counter.
    fn trusting(clock: Clock) -> Watch {
        let mut watch = Watch::new(clock);
        while watch.believed == 0 {
            measure(&mut watch);
        }
        watch
    }

    /// Between two readings of the clock, give or take what the counter may be off.
    fn assert_shows(watch: &mut Watch, clock: Clock, tolerance: u64) {
        let before = clock.now();
        watch.lap();
        let after = clock.now();
        let shown = watch.now();
        assert!(shown + tolerance >= before, "{shown} is {} ns late", before - shown);
        assert!(shown <= after + tolerance, "{shown} is {} ns early", shown - after);
    }

    #[test]
    fn laps_add_up_to_the_time() {
        let clock = Clock::start();
        let mut watch = trusting(clock);
        let (start, mut laps) = (watch.now(), 0);
        while watch.now() < start + 20_000_000 {
            laps += watch.lap();
        }
        assert_eq!(watch.now(), start + laps, "laps are without gaps");
        assert_shows(&mut watch, clock, laps / 100);
    }

    #[test]
    fn what_takes_long_is_read_from_the_clock() {
        let clock = Clock::start();
        let mut watch = trusting(clock);
        thread::sleep(Duration::from_nanos(5 * LONGEST));
        assert_shows(&mut watch, clock, 0);
    }

    #[test]
    fn a_counter_that_ran_backwards_is_not_believed() {
        let clock = Clock::start();
        let mut watch = trusting(clock);
        watch.set.1 = u64::MAX;
        assert_shows(&mut watch, clock, 0);
    }

    #[test]
    fn a_counter_that_changed_its_speed_is_not_believed_until_it_keeps_it() {
        let mut watch = trusting(Clock::start());
        watch.began.1 = watch.began.1.wrapping_sub(1 << 30);
        for _ in 0..2 {
            measure(&mut watch);
            assert_eq!(watch.believed, 0, "neither the new speed nor the old: {watch:?}");
        }
        while watch.believed == 0 {
            measure(&mut watch);
        }
    }
}
