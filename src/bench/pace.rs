//! When messages are sent, and on which connection. Pure: no socket, and the clock is an argument.
//!
//! A session tells the schedule which connections are ready and what was answered, and asks it
//! for the next turn. How a load is paced is decided here and nowhere else.

use super::{Arrivals, LONGEST, Load, Pace, Share, Stop};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages that a connection sends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) connection: usize,
    pub(super) messages: usize,
    /// When they were to be sent: what their latency counts from.
    pub(super) due: Instant,
}

/// One run's schedule, of one thread.
#[derive(Debug)]
pub(super) struct Schedule {
    start: Instant,
    /// Nothing is due from here on.
    until: Option<Instant>,
    /// How many messages there are to send in all.
    most: u64,
    patience: Duration,
    /// Messages that were handed out or have arrived.
    sent: u64,
    flow: Flow,
}

#[derive(Debug)]
enum Flow {
    Closed {
        in_flight: usize,
        think: Duration,
        /// By time, since all think equally long.
        turns: VecDeque<Turn>,
    },
    Open {
        gaps: Gaps,
        next: Duration,
        /// Messages that are due and have no connection.
        waiting: VecDeque<Instant>,
        idle: VecDeque<usize>,
    },
}

impl Schedule {
    pub(super) fn new(load: &Load, share: Share, start: Instant, stop: Stop) -> Self {
        let flow = match load.pace {
            Pace::Closed { in_flight, think } => {
                Flow::Closed { in_flight, think, turns: VecDeque::new() }
            }
            Pace::Open { rate, arrivals } => {
                let mut gaps = Gaps::new(rate, arrivals, load.ramp, share, load.seed);
                let next = gaps.next();
                Flow::Open { gaps, next, waiting: VecDeque::new(), idle: VecDeque::new() }
            }
        };
        let (until, most) = match stop {
            Stop::After(time) => (Some(start + time), u64::MAX),
            Stop::Messages(count) => (None, count),
        };
        Self { start, until, most, patience: load.patience, sent: 0, flow }
    }

    /// A connection may send its first messages.
    pub(super) fn ready(&mut self, connection: usize, now: Instant) {
        match &mut self.flow {
            Flow::Closed { in_flight, turns, .. } => {
                turns.push_front(Turn { connection, messages: *in_flight, due: now });
            }
            Flow::Open { idle, .. } => idle.push_back(connection),
        }
    }

    /// A connection has got some replies, and waits for no more or for some.
    pub(super) fn answered(&mut self, connection: usize, messages: usize, now: Instant) {
        match &mut self.flow {
            Flow::Closed { think, turns, .. } => {
                turns.push_back(Turn { connection, messages, due: now + *think });
            }
            // One message at a time, so that this was the one.
            Flow::Open { idle, .. } => idle.push_back(connection),
        }
    }

    /// The next turn that is due, of a connection that is still there.
    pub(super) fn next(&mut self, now: Instant, is_open: impl Fn(usize) -> bool) -> Option<Turn> {
        let in_time = |at: Instant| self.until.is_none_or(|until| at < until);
        match &mut self.flow {
            Flow::Closed { turns, .. } => {
                while turns.front().is_some_and(|turn| turn.due <= now) {
                    let turn = turns.pop_front()?;
                    let allowed = if in_time(now) { self.most - self.sent } else { 0 };
                    let messages =
                        turn.messages.min(usize::try_from(allowed).unwrap_or(usize::MAX));
                    if messages > 0 && is_open(turn.connection) {
                        self.sent += messages as u64;
                        // What it thought about is no latency.
                        return Some(Turn { messages, due: now, ..turn });
                    }
                }
                None
            }
            Flow::Open { gaps, next, waiting, idle } => {
                while self.start + *next <= now
                    && in_time(self.start + *next)
                    && self.sent < self.most
                {
                    waiting.push_back(self.start + *next);
                    self.sent += 1;
                    *next = gaps.next();
                }
                let due = *waiting.front()?;
                let connection = std::iter::from_fn(|| idle.pop_front()).find(|at| is_open(*at))?;
                waiting.pop_front();
                Some(Turn { connection, messages: 1, due })
            }
        }
    }

    /// Gives up what has been due for longer than patience, and returns how much that was.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let Flow::Open { waiting, .. } = &mut self.flow else { return 0 };
        let expired = waiting.partition_point(|due| now.duration_since(*due) > self.patience);
        waiting.drain(..expired);
        expired as u64
    }

    /// Gives up everything that waits, and returns how much that was.
    pub(super) fn abandon(&mut self) -> u64 {
        match &mut self.flow {
            Flow::Closed { .. } => 0,
            Flow::Open { waiting, .. } => waiting.drain(..).len() as u64,
        }
    }

    /// When the load ends, unless it is a number of messages that ends it.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How long until something is due that is not yet, if anything is.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        match &self.flow {
            _ if self.no_more(now) => None,
            Flow::Closed { turns, .. } => {
                let first = turns.front().map(|turn| turn.due.saturating_duration_since(now));
                let stop = self.until.map(|until| until.saturating_duration_since(now));
                first.into_iter().chain(stop).min()
            }
            Flow::Open { next, .. } => Some((self.start + *next).saturating_duration_since(now)),
        }
    }

    /// Whether nothing will be sent any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let waits = matches!(&self.flow, Flow::Open { waiting, .. } if !waiting.is_empty());
        self.no_more(now) && !waits
    }

    /// Whether no more messages come to be due.
    pub(super) fn no_more(&self, now: Instant) -> bool {
        let next = match &self.flow {
            Flow::Closed { .. } => now,
            Flow::Open { next, .. } => self.start + *next,
        };
        self.sent >= self.most || self.until.is_some_and(|until| next >= until)
    }

    /// Nothing more is sent from now on, also of what has been due: a server that is overloaded
    /// would otherwise be asked for long after it was to be left alone.
    pub(super) fn stop(&mut self, now: Instant) {
        self.until = Some(self.until.map_or(now, |until| until.min(now)));
        if let Flow::Open { waiting, .. } = &mut self.flow {
            waiting.clear();
        }
    }
}

/// The times of an open loop's messages, since its start.
///
/// They are made on a clock that ticks once per message of the full load: evenly, or with gaps
/// that are exponential with mean one, which is what independent users amount to. That clock is
/// then stretched to seconds; while the rate grows it is slow at first. Of several threads each
/// takes its part: every n-th of the even ticks, or a Poisson process of an n-th of the rate.
#[derive(Debug)]
struct Gaps {
    rate: f64,
    ramp: f64,
    arrivals: Arrivals,
    /// Where on that clock the last message was.
    ticks: f64,
    step: f64,
    random: fastrand::Rng,
}

impl Gaps {
    fn new(rate: f64, arrivals: Arrivals, ramp: Duration, share: Share, seed: u64) -> Self {
        let step = share.of as f64;
        // Another sequence for each thread, and the same in each run.
        let random = fastrand::Rng::with_seed(seed ^ ((share.nth as u64) << 48));
        let ticks = match arrivals {
            Arrivals::Constant => share.nth as f64 - step,
            Arrivals::Poisson => 0.0,
        };
        Self { rate, ramp: ramp.as_secs_f64(), arrivals, ticks, step, random }
    }

    fn next(&mut self) -> Duration {
        self.ticks += match self.arrivals {
            Arrivals::Constant => self.step,
            // 1 - [0, 1) is never 0, whose logarithm would have no end.
            Arrivals::Poisson => -(1.0 - self.random.f64()).ln() * self.step,
        };
        let of_ramp = self.rate * self.ramp / 2.0;
        let seconds = if self.ticks < of_ramp {
            (2.0 * self.ramp * self.ticks / self.rate).sqrt()
        } else {
            self.ramp + (self.ticks - of_ramp) / self.rate
        };
        Duration::try_from_secs_f64(seconds).map_or(LONGEST, |time| time.min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Share = Share { nth: 0, of: 1 };
    const NO_RAMP: Duration = Duration::ZERO;

    fn open(rate: f64, arrivals: Arrivals) -> Load {
        Load { pace: Pace::Open { rate, arrivals }, ..Load::new(([127, 0, 0, 1], 9).into()) }
    }

    fn seconds(gaps: &mut Gaps, count: usize) -> Vec<f64> {
        (0..count).map(|_| gaps.next().as_secs_f64()).collect()
    }

    #[test]
    fn constant_arrivals_are_even_and_threads_take_turns() {
        let mut whole = Gaps::new(100.0, Arrivals::Constant, NO_RAMP, WHOLE, 1);
        assert_eq!(seconds(&mut whole, 4), [0.0, 0.01, 0.02, 0.03]);
        let second = Share { nth: 1, of: 2 };
        let mut half = Gaps::new(100.0, Arrivals::Constant, NO_RAMP, second, 1);
        assert_eq!(seconds(&mut half, 3), [0.01, 0.03, 0.05]);
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_variance_of_exponential_ones() {
        let count = 100_000;
        let mut gaps = Gaps::new(1000.0, Arrivals::Poisson, NO_RAMP, WHOLE, 42);
        let times = seconds(&mut gaps, count);
        let gaps: Vec<f64> =
            std::iter::once(times[0]).chain(times.windows(2).map(|two| two[1] - two[0])).collect();
        let mean = gaps.iter().sum::<f64>() / count as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count as f64;
        // Five standard errors of 100,000 exponential gaps; the seed makes it the same each time.
        assert!((mean / 1e-3 - 1.0).abs() < 0.016, "{mean}");
        assert!((variance / 1e-6 - 1.0).abs() < 0.045, "{variance}");
        let longer = gaps.iter().filter(|gap| **gap > 1e-3).count() as f64 / count as f64;
        assert!((longer - (-1.0_f64).exp()).abs() < 0.008, "{longer}");
    }

    #[test]
    fn a_seed_repeats_and_threads_differ() {
        let times = |seed, share| {
            seconds(&mut Gaps::new(10.0, Arrivals::Poisson, NO_RAMP, share, seed), 20)
        };
        assert_eq!(times(7, WHOLE), times(7, WHOLE));
        assert_ne!(times(7, WHOLE), times(8, WHOLE));
        assert_ne!(times(7, Share { nth: 0, of: 2 }), times(7, Share { nth: 1, of: 2 }));
    }

    #[test]
    fn a_rate_grows_linearly_over_the_ramp() {
        let ramp = Duration::from_secs(10);
        let mut gaps = Gaps::new(100.0, Arrivals::Constant, ramp, WHOLE, 1);
        let times = seconds(&mut gaps, 700);
        let within = |from: f64, to: f64| {
            times.iter().filter(|time| (from..to).contains(*time)).count() as f64
        };
        // A quarter of the ramp's 500 messages in its first half, and the full rate after it.
        assert!((within(0.0, 5.0) - 125.0).abs() <= 1.0, "{}", within(0.0, 5.0));
        assert!((within(0.0, 10.0) - 500.0).abs() <= 1.0);
        assert!((within(10.0, 11.0) - 100.0).abs() <= 1.0);
    }

    #[test]
    fn an_arrival_waits_for_an_idle_connection_and_stays_due() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let load = open(100.0, Arrivals::Constant);
        let mut schedule = Schedule::new(&load, WHOLE, start, Stop::Messages(3));
        assert_eq!(schedule.next(at(15), |_| true), None);
        assert_eq!(schedule.wait(at(15)), Some(Duration::from_millis(5)));
        schedule.ready(4, at(15));
        schedule.ready(5, at(15));
        // The fourth connection is gone.
        let turn = Turn { connection: 5, messages: 1, due: at(0) };
        assert_eq!(schedule.next(at(16), |connection| connection != 4), Some(turn));
        assert_eq!(schedule.next(at(17), |_| true), None);
        schedule.answered(5, 1, at(18));
        assert_eq!(schedule.next(at(18), |_| true), Some(Turn { due: at(10), ..turn }));
        assert!(!schedule.is_over(at(19)));
        schedule.answered(5, 1, at(30));
        assert_eq!(schedule.next(at(30), |_| true), Some(Turn { due: at(20), ..turn }));
        assert!(schedule.is_over(at(30)));
    }

    #[test]
    fn what_nobody_takes_expires() {
        let start = Instant::now();
        let load = Load { patience: Duration::from_secs(1), ..open(10.0, Arrivals::Constant) };
        let mut schedule =
            Schedule::new(&load, WHOLE, start, Stop::After(Duration::from_millis(250)));
        let later = start + Duration::from_millis(1150);
        assert_eq!(schedule.next(later, |_| true), None);
        assert!(schedule.no_more(later) && !schedule.is_over(later));
        assert_eq!(schedule.expire(later), 2);
        assert_eq!(schedule.abandon(), 1);
        assert!(schedule.is_over(later));
    }

    #[test]
    fn when_it_is_stopped_nothing_more_is_sent() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let load = open(100.0, Arrivals::Constant);
        let stop = Stop::After(Duration::from_secs(60));
        let mut schedule = Schedule::new(&load, WHOLE, start, stop);
        assert_eq!(schedule.next(at(500), |_| true), None);
        for now in [at(500), at(700)] {
            schedule.stop(now);
            schedule.ready(0, now);
            assert_eq!(schedule.next(now, |_| true), None);
            assert!(schedule.is_over(now));
        }
        assert_eq!(schedule.abandon(), 0);
    }

    #[test]
    fn a_closed_loop_thinks_before_it_sends_again() {
        let start = Instant::now();
        let think = Duration::from_millis(10);
        let pace = Pace::Closed { in_flight: 2, think };
        let load = Load { pace, ..open(1.0, Arrivals::Constant) };
        let mut schedule = Schedule::new(&load, WHOLE, start, Stop::Messages(3));
        schedule.ready(0, start);
        let first = Turn { connection: 0, messages: 2, due: start };
        assert_eq!(schedule.next(start, |_| true), Some(first));
        schedule.answered(0, 2, start);
        assert_eq!(schedule.next(start, |_| true), None);
        assert_eq!(schedule.wait(start), Some(think));
        let last = Turn { messages: 1, due: start + think, ..first };
        assert_eq!(schedule.next(start + think, |_| true), Some(last));
        assert!(schedule.is_over(start + think));
    }
}
