//! What came of a load: counts, and the latencies behind them. The only place that knows how
//! latencies are kept.

use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// The longest latency that is told apart; a longer one counts as this.
const LONGEST: Duration = Duration::from_secs(120);

/// What came of one run. Every message that was sent is in exactly one of `messages` and the
/// first four counts of `errors`.
#[derive(Debug, Clone)]
pub struct Report {
    /// Messages that were answered as they should be.
    pub messages: u64,
    /// Everything else.
    pub errors: Errors,
    /// From the first message to the last reply.
    pub elapsed: Duration,
    /// Of the messages that were answered as they should be: from before the send to after the
    /// read.
    pub latency: Latency,
}

impl Report {
    /// Right answers per second; 0 if there were none.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        if self.messages == 0 { 0.0 } else { self.messages as f64 / self.elapsed.as_secs_f64() }
    }
}

/// What went wrong, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errors {
    /// Messages whose reply was not the one that was owed.
    pub wrong: u64,
    /// Messages whose connection ended before their reply.
    pub lost: u64,
    /// Messages without a reply when patience ended. Their connections are closed, since a late
    /// reply would be taken for the next one's.
    pub missing: u64,
    /// Messages whose reply had no end within 64 KiB. Their connections are closed.
    pub endless: u64,
    /// Lines that came although no reply was owed.
    pub unasked: u64,
    /// Connections that ended.
    pub hung_up: u64,
    /// The first wrong, endless or unasked reply, with what was expected.
    pub example: Option<String>,
}

impl Errors {
    /// Messages without a right answer.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.wrong + self.lost + self.missing + self.endless
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.wrong, "wrong"),
            (self.lost, "lost"),
            (self.missing, "missing"),
            (self.endless, "endless"),
            (self.unasked, "unasked"),
            (self.hung_up, "hung up"),
        ];
        let mut separator = "";
        for (count, kind) in kinds.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {kind}")?;
            separator = ", ";
        }
        if separator.is_empty() {
            f.write_str("none")?;
        }
        match &self.example {
            Some(example) => write!(f, " ({example})"),
            None => Ok(()),
        }
    }
}

/// Latencies, to three significant digits.
#[derive(Debug, Clone)]
pub struct Latency {
    /// In nanoseconds.
    histogram: Histogram<u64>,
}

impl Latency {
    pub(super) fn new() -> Self {
        let longest = LONGEST.as_nanos() as u64;
        let histogram = Histogram::new_with_bounds(1, longest, 3)
            .expect("the bounds are constants that the histogram allows");
        Self { histogram }
    }

    pub(super) fn record(&mut self, latency: Duration, messages: u64) {
        self.histogram.saturating_record_n(latency.as_nanos() as u64, messages);
    }

    /// The latency that this part of the messages stayed within: `quantile(0.99)` is p99. Zero
    /// if there were no messages.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(part))
    }

    /// The longest. Zero if there were no messages.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.histogram.max())
    }
}
