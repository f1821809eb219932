//! The last fifteen minutes, in memory: what happened between one look at the counters and the
//! next, so that a page opened late has something to show.
//!
//! Made by `SideEndpoint`, which owns the thread that looks; read by `status`. It keeps
//! differences, not counters, because differences can be added: any stretch of the history is one
//! [`Interval`] again, with quantiles of its own.

use crate::metrics::{Distribution, SECONDS, Snapshot};
use crate::sizing::{Advice, DEFAULT_TARGET, Observed, arrival_cv2};
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// Between two looks, and between two polls of the page.
pub(super) const STEP: Duration = Duration::from_secs(2);

/// What "now" means for rates, quantiles and advice: long enough to be calm, short enough to
/// follow what one does.
pub(super) const WINDOW: Duration = Duration::from_secs(30);

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

    fn between(before: &Snapshot, now: &Snapshot, seconds: f64, end: SystemTime) -> Self {
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
            queue_wait: added(&before.queue_wait, &now.queue_wait),
            handler_time: added(&before.handler_time, &now.handler_time),
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
    fn extend(&mut self, earlier: &Self) {
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
    fn observed(&self, arrival_cv2: Option<f64>) -> Observed {
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
    cpu_seconds: f64,
    last: Snapshot,
    intervals: VecDeque<Interval>,
}

impl Ring {
    fn new(read_at: Instant, first: Snapshot) -> Self {
        let cpu_seconds = process_cpu_seconds();
        Self { read_at, cpu_seconds, last: first, intervals: VecDeque::with_capacity(LONGEST) }
    }

    fn push(&mut self, read_at: Instant, now: Snapshot, end: SystemTime) {
        let seconds = read_at.duration_since(self.read_at).as_secs_f64();
        if self.intervals.len() == LONGEST {
            self.intervals.pop_front();
        }
        let cpu_seconds = process_cpu_seconds();
        let mut interval = Interval::between(&self.last, &now, seconds, end);
        interval.cpu_seconds = cpu_seconds - self.cpu_seconds;
        self.intervals.push_back(interval);
        (self.read_at, self.cpu_seconds, self.last) = (read_at, cpu_seconds, now);
    }

    pub(super) fn intervals(&self) -> impl ExactSizeIterator<Item = &Interval> {
        self.intervals.iter()
    }

    /// The last steps together, as many as `length` covers.
    pub(super) fn recent(&self, length: Duration) -> Interval {
        let mut newest = self.steps(length);
        let mut sum = newest.next().cloned().unwrap_or_else(Interval::empty);
        newest.for_each(|earlier| sum.extend(earlier));
        sum
    }

    /// The newest of them, and as many before it as `length` covers.
    fn steps(&self, length: Duration) -> impl Iterator<Item = &Interval> {
        let newest = self.intervals.iter().rev();
        newest
            .scan(0.0, move |seconds, step| {
                let fits = *seconds == 0.0 || *seconds + step.seconds / 2.0 <= length.as_secs_f64();
                *seconds += step.seconds;
                fits.then_some(step)
            })
            .fuse()
    }

    /// The advice for the last [`WINDOW`].
    pub(super) fn advice(&self) -> Advice {
        let steps = self.steps(WINDOW).map(|step| (step.seconds, step.messages as f64));
        let arrivals = arrival_cv2(&steps.collect::<Vec<_>>());
        self.recent(WINDOW).observed(arrivals).advise(DEFAULT_TARGET)
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

/// CPU time of this process.
fn process_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The history of one server.
pub(super) struct History {
    observe: Box<dyn Fn() -> Snapshot + Send + Sync>,
    since: SystemTime,
    ring: Mutex<Ring>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("since", &self.since).finish_non_exhaustive()
    }
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

    /// The advice for the last [`WINDOW`].
    pub(super) fn advice(&self) -> Advice {
        self.ring().advice()
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
    use crate::sizing::Limit;

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
    fn a_window_of_enough_messages_has_advice() {
        // 200 messages a second that take 5 ms, and 64 clients.
        let look = |step: u32| {
            let messages = u64::from(step) * 400;
            let mut now = stats(messages, messages as f64 * 0.005);
            now.handler_time.sum = now.worker_busy_seconds;
            now.handler_seconds_squared = messages as f64 * 0.005 * 0.005;
            now.parked = 64;
            now
        };
        let advice = ring((0..30).map(look)).advice();
        assert!(matches!(advice.recommended, Ok(2..=3)), "{advice:?}");
        let few = ring((0..3).map(look)).advice();
        assert_eq!(few.recommended, Err(Limit::TooFewMessages { messages: 800 }));
        assert_eq!(ring([stats(5, 1.0)]).advice().recommended, Err(Limit::NoTraffic));
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
