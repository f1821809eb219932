//! What came of a load: counts, and the latencies behind them. The only place that knows how
//! latencies are kept.

use hdrhistogram::Histogram;
use std::fmt;
use std::time::{Duration, Instant};

/// The longest latency that is told apart; a longer one counts as this.
const LONGEST: Duration = Duration::from_secs(120);

/// What came of a load. Every message that was due after the warm-up is in `messages`, or with
/// those of the warm-up in one of the first five counts of `errors`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// Messages that were answered as they should be.
    pub messages: u64,
    /// Everything else.
    pub errors: Errors,
    /// From the end of the warm-up to the end of the load, or to the last reply if that is later;
    /// a number of messages ends with its last reply.
    pub elapsed: Duration,
    /// Of the messages that were answered as they should be: from before the send, or in an open
    /// loop from when they were due, to after the read.
    pub latency: Latency,
    /// The same by the second in which the reply came. The last one may be shorter.
    pub seconds: Vec<Second>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            messages: 0,
            errors: Errors::default(),
            elapsed: Duration::ZERO,
            latency: Latency::new(),
            seconds: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, interval: &Interval) {
        let Interval { latency, length, errors, until, .. } = interval;
        self.messages += latency.count();
        self.elapsed = self.elapsed.max(*until);
        self.latency.add(latency);
        self.seconds.push(Second {
            length: *length,
            messages: latency.count(),
            errors: *errors,
            p50: latency.quantile(0.5),
            p99: latency.quantile(0.99),
            max: latency.max(),
        });
    }

    /// Right answers per second; 0 if there were none.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        if self.messages == 0 { 0.0 } else { self.messages as f64 / self.elapsed.as_secs_f64() }
    }
}

/// What came of one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Second {
    /// A second; the last may be shorter.
    pub length: Duration,
    /// Messages that were answered as they should be.
    pub messages: u64,
    /// Whatever went wrong, of messages and connections.
    pub errors: u64,
    /// Half of the messages stayed within this; zero if there were none.
    pub p50: Duration,
    /// 99 of 100 messages stayed within this.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Second {
    /// Right answers per second.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        self.messages as f64 / self.length.as_secs_f64().max(1e-9)
    }
}

/// What one thread has measured in one second.
#[derive(Debug)]
pub(super) struct Interval {
    /// Which second, since the end of the warm-up.
    pub(super) second: u64,
    pub(super) length: Duration,
    pub(super) latency: Latency,
    pub(super) errors: u64,
    /// The load's end so far, or its last reply: since the end of the warm-up.
    pub(super) until: Duration,
}

impl Interval {
    pub(super) fn new(second: u64) -> Self {
        let (length, until) = (Duration::ZERO, Duration::ZERO);
        Self { second, length, latency: Latency::new(), errors: 0, until }
    }

    /// Adds another thread's same second.
    pub(super) fn merge(&mut self, other: &Self) {
        self.length = self.length.max(other.length);
        self.latency.add(&other.latency);
        self.errors += other.errors;
        self.until = self.until.max(other.until);
    }
}

/// What one thread has counted so far, over all its connections.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) right: u64,
    pub(super) errors: Errors,
    /// Of this second's replies.
    pub(super) latency: Latency,
    /// Messages that were due before this are of the warm-up: they have no latency here.
    pub(super) measured_from: Instant,
    /// The last reply that was measured.
    pub(super) last_reply: Instant,
    /// Right replies whose time is not known yet: how many, and when their messages were due.
    heard: Vec<(Instant, usize)>,
}

impl Tally {
    pub(super) fn new(measured_from: Instant) -> Self {
        Self {
            sent: 0,
            right: 0,
            errors: Errors::default(),
            latency: Latency::new(),
            measured_from,
            last_reply: measured_from,
            heard: Vec::new(),
        }
    }

    /// Messages that wait for their reply.
    pub(super) fn unanswered(&self) -> u64 {
        self.sent - self.right - self.errors.after_send()
    }

    /// Counts right replies. Their latency is recorded by [`settle`](Tally::settle).
    pub(super) fn count(&mut self, messages: usize, due: Instant) {
        self.right += messages as u64;
        self.heard.push((due, messages));
    }

    /// Records the latency of what was heard since the last time.
    pub(super) fn settle(&mut self, now: Instant) {
        for (due, messages) in self.heard.drain(..) {
            if due >= self.measured_from {
                self.last_reply = now;
                self.latency.record(now - due, messages as u64);
            }
        }
    }
}

/// What went wrong, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Errors {
    /// Messages whose reply was not the one that was owed.
    pub wrong: u64,
    /// Messages whose connection ended before their reply.
    pub lost: u64,
    /// Messages without a reply when patience ended. Their connections are closed, since a late
    /// reply would be taken for the next one's.
    pub missing: u64,
    /// Messages whose reply had no end within 64 KiB more than the longest that is owed. Their
    /// connections are closed.
    pub endless: u64,
    /// Messages of an open loop that found no idle connection while patience lasted.
    pub unsent: u64,
    /// Replies that came although none was owed.
    pub unasked: u64,
    /// Connections that could not be made.
    pub connect: u64,
    /// Connections that got another first line than the greeting.
    pub refused: u64,
    /// Connections that were not made, or not greeted, while patience lasted.
    pub timeout: u64,
    /// Connections that the server reset.
    pub reset: u64,
    /// Connections that the server closed.
    pub closed: u64,
    /// The first thing that went wrong and can be told more of.
    pub example: Option<String>,
}

impl Errors {
    /// Each count with its name.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let kinds = [
            ("wrong", self.wrong),
            ("lost", self.lost),
            ("missing", self.missing),
            ("endless", self.endless),
            ("unsent", self.unsent),
            ("unasked", self.unasked),
            ("connect", self.connect),
            ("refused", self.refused),
            ("timeout", self.timeout),
            ("reset", self.reset),
            ("closed", self.closed),
        ];
        kinds.into_iter()
    }

    /// Messages without a right answer.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.after_send() + self.unsent
    }

    fn after_send(&self) -> u64 {
        self.wrong + self.lost + self.missing + self.endless
    }

    /// Everything that was counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.kinds().map(|(_, count)| count).sum()
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.missing += other.missing;
        self.endless += other.endless;
        self.unsent += other.unsent;
        self.unasked += other.unasked;
        self.connect += other.connect;
        self.refused += other.refused;
        self.timeout += other.timeout;
        self.reset += other.reset;
        self.closed += other.closed;
        self.example = self.example.take().or(other.example);
    }

    /// Keeps the first example.
    pub(super) fn note(&mut self, example: impl FnOnce() -> String) {
        self.example.get_or_insert_with(example);
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (kind, count) in self.kinds().filter(|(_, count)| *count > 0) {
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

    pub(super) fn add(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all histograms have the same bounds");
    }

    /// How many messages there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency that this part of the messages stayed within: `quantile(0.99)` is p99. Zero
    /// if there were no messages.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        // The histogram answers with the end of a bucket, which may lie above the longest.
        Duration::from_nanos(self.histogram.value_at_quantile(part).min(self.histogram.max()))
    }

    /// Zero if there were no messages.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.histogram.mean() as u64)
    }

    /// The shortest. Zero if there were no messages.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_nanos(if self.histogram.is_empty() { 0 } else { self.histogram.min() })
    }

    /// The longest. Zero if there were no messages.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.histogram.max())
    }
}
