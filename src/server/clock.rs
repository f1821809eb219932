//! The engine's time: nanoseconds since the server was made, on the monotonic clock.

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
        // By hand, because this is read once a message: `Instant` takes the difference of two
        // pairs each time.
        let now = clock_gettime(ClockId::Monotonic);
        (now.tv_sec - self.seconds) as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
}

/// A duration in nanoseconds; longer than 584 years is as long as that.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
