//! The threads of a load: each drives a session of its own; their seconds are added up here.

use super::report::{Errors, Interval};
use super::session::{Session, Window};
use super::{Error, Load, Report, Share, limits};
use rustix::thread::set_current_timer_slack;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How often whoever watches is told.
const LOOK: Duration = Duration::from_millis(100);

/// How far a load has come.
#[derive(Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Since the first message was due; nothing while the connections are being made.
    pub elapsed: Option<Duration>,
    /// The seconds that are over; its errors are only counted at the end.
    pub report: &'a Report,
}

/// Connects, warms up, measures. Blocks for as long as the load says, and for what connections and
/// last replies take beside that; each has the load's patience.
///
/// # Errors
/// When the load is out of its bounds, when no connection is made and greeted, or when the system
/// refuses a thread or an epoll. Anything that happens to a message after that is counted in the
/// report and is no error here.
pub fn run(load: &Load) -> Result<Report, Error> {
    watch(load, |_| true)
}

/// As [`run`], and asks `go_on` ten times a second: when it says no, nothing more is sent, and
/// the report is of what was measured until then. What an open loop had not sent by then is not
/// in it.
///
/// # Errors
/// As [`run`].
pub fn watch(load: &Load, mut go_on: impl FnMut(&Progress<'_>) -> bool) -> Result<Report, Error> {
    limits::check(load)?;
    let cancel = AtomicBool::new(false);
    thread::scope(|scope| {
        let (sender, news) = mpsc::channel();
        let mut gates = Vec::new();
        for nth in 0..load.threads {
            let share = Share { nth, of: load.threads };
            let (gate, opened) = mpsc::channel();
            let (sender, cancel) = (sender.clone(), &cancel);
            let work = move || work(load, share, cancel, &opened, &sender);
            let builder = thread::Builder::new().name(format!("load-{nth:02}"));
            // If there is none, the gates are dropped, and those that wait behind them end.
            builder.spawn_scoped(scope, work).map_err(Error::Thread)?;
            gates.push(gate);
        }
        drop(sender);
        let mut watch = |progress: &Progress<'_>| {
            if !go_on(progress) {
                cancel.store(true, Ordering::Relaxed);
            }
        };
        collect(load.threads, gates, &news, &mut watch)
    })
}

/// What a thread tells.
enum News {
    Connected,
    Measured(Interval),
    Done(Result<Errors, Error>),
}

fn work(
    load: &Load,
    share: Share,
    cancel: &AtomicBool,
    opened: &Receiver<Instant>,
    sender: &Sender<News>,
) {
    // A receiver that has gone has failed for another reason, and tells that one.
    let tell = |news| drop(sender.send(news));
    // Sleep is to end when a message is due and not 50 us later. Without it, it is later.
    set_current_timer_slack(NonZeroU64::new(1)).ok();
    let mut session = match Session::part(load, share, cancel) {
        Ok(session) => session,
        Err(error) => return tell(News::Done(Err(error))),
    };
    tell(News::Connected);
    let Ok(start) = opened.recv() else { return };
    let window = Window { start, warm_up: load.warm_up, stop: load.measured };
    let done = session.drive(window, cancel, &mut |interval| tell(News::Measured(interval)));
    tell(News::Done(done));
}

/// Opens the gates when all are connected, and adds up what they measure.
fn collect(
    threads: usize,
    mut gates: Vec<Sender<Instant>>,
    news: &Receiver<News>,
    watch: &mut dyn FnMut(&Progress<'_>),
) -> Result<Report, Error> {
    let mut report = Report::new();
    let mut errors = Errors::default();
    let mut failure = None;
    let mut seconds = Seconds { threads, open: BTreeMap::new() };
    let mut connected = 0;
    let mut start = None;
    let mut last_look = Instant::now();
    loop {
        match news.recv_timeout(LOOK) {
            Ok(News::Connected) => {
                connected += 1;
                if connected == threads {
                    let now = Instant::now();
                    start = Some(now);
                    for gate in gates.drain(..) {
                        // A thread that is not there any more has told why.
                        gate.send(now).ok();
                    }
                }
            }
            Ok(News::Measured(interval)) => seconds.add(interval, &mut report),
            Ok(News::Done(Ok(counted))) => errors.merge(counted),
            Ok(News::Done(Err(error))) => {
                failure.get_or_insert(error);
                gates.clear();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if last_look.elapsed() >= LOOK {
            last_look = Instant::now();
            let elapsed = start.map(|start| last_look.duration_since(start));
            watch(&Progress { elapsed, report: &report });
        }
    }
    seconds.finish(&mut report);
    report.errors = errors;
    failure.map_or(Ok(report), Err)
}

/// Seconds that not all threads have passed on yet.
struct Seconds {
    threads: usize,
    open: BTreeMap<u64, (Interval, usize)>,
}

impl Seconds {
    fn add(&mut self, interval: Interval, report: &mut Report) {
        let second = interval.second;
        let (sum, told) = self.open.entry(second).or_insert((Interval::new(second), 0));
        sum.merge(&interval);
        *told += 1;
        while let Some(first) = self.open.first_entry()
            && first.get().1 == self.threads
        {
            report.add(&first.remove().0);
        }
    }

    fn finish(self, report: &mut Report) {
        for (sum, _) in self.open.values() {
            report.add(sum);
        }
    }
}
