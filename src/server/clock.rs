//! The engine's time: nanoseconds since the server was made, on the monotonic clock.

use std::time::{Duration, Instant};

/// A moment, in nanoseconds since the server was made. 64 bits of them last 584 years, and fit
/// an atomic.
pub(super) type Moment = u64;

/// A moment that never comes.
pub(super) const NEVER: Moment = Moment::MAX;

/// Where the count starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> Moment {
        nanos(self.0.elapsed())
    }
}

/// A duration in nanoseconds; longer than 584 years is as long as that.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
