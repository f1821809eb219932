//! The last fifteen minutes, in memory: what happened between one look at the counters and the
//! next, so that a page opened late has something to show.
//!
//! Made by `status`; `SideEndpoint` owns the thread that looks. Read by `status` and `meters`.

use super::interval::Interval;
use crate::metrics::Snapshot;
use crate::sizing::{Advice, DEFAULT_TARGET, arrival_cv2};
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Between two looks, and between two polls of the page.
pub(super) const STEP: Duration = Duration::from_secs(2);

/// What "now" means for rates, quantiles and advice: long enough to be calm, short enough to
/// follow what one does.
pub(super) const WINDOW: Duration = Duration::from_secs(30);

/// Fifteen minutes of steps, about 300 KB.
const LONGEST: usize = 450;

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
        let thread = super::spawn("http-history", run)?;
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
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(history.ring().seconds() > 1.5);
        let asked = Instant::now();
        drop(sampler);
        assert!(asked.elapsed() < STEP / 2, "{:?}", asked.elapsed());
        assert_eq!(Arc::strong_count(&history), 1);
    }
}
