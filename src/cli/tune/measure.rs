//! One size: a server of its own, a load on it, and what both have counted.

use super::super::Failure;
use super::super::terminal::printable;
use super::choice::count;
use super::plan::Plan;
use super::wait::Wait;
use crate::bench::{self, Load, Progress, Report};
use crate::metrics::Snapshot;
use crate::server::{Address, Handle, Listener, Options, Server};
use crate::sizing::Observed;
use rustix::time::{ClockId, clock_gettime};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// What was measured at one size.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// What the server's counters grew by in the window.
    pub(super) seen: Observed,
    /// In how many seconds of it every worker was busy and a connection waited.
    pub(super) saturated_seconds: f64,
    /// What the server counted in its run queue; nothing if there was no turn.
    pub(super) server_wait: Option<Wait>,
    /// What the load counted.
    pub(super) report: Report,
}

impl Measured {
    pub(super) fn workers(&self) -> usize {
        self.seen.workers
    }

    /// Messages per second.
    pub(super) fn throughput(&self) -> f64 {
        self.seen.messages as f64 / self.seen.seconds.max(1e-9)
    }

    /// Part of the cores' time that this process, server and load, has taken.
    pub(super) fn cpu_utilisation(&self) -> f64 {
        let cores = self.seen.cores.unwrap_or(1.0);
        self.seen.cpu_seconds.unwrap_or(0.0) / (self.seen.seconds * cores).max(1e-9)
    }

    /// What the clients' latency has above the handler's mean time.
    pub(super) fn client_wait(&self) -> Option<Wait> {
        let handler = self.seen.handler_mean_seconds();
        let latency = &self.report.latency;
        let above = |time: Duration| (time.as_secs_f64() - handler).max(0.0);
        (latency.count() > 0).then(|| Wait {
            mean: above(latency.mean()),
            p50: Some(above(latency.quantile(0.5))),
            p99: Some(above(latency.quantile(0.99))),
        })
    }
}

/// Serves and loads with so many workers; nothing if it was ended before its window began. `show`
/// is told how far it has come and says whether to go on.
pub(super) fn measure(
    plan: &Plan,
    workers: usize,
    show: &mut dyn FnMut(&Progress<'_>) -> bool,
) -> Result<Option<Measured>, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        let error = printable(error.to_string().as_bytes());
        Failure::failed(format!("tune: with {}: {error}", count(workers)))
    };
    let local = Address::Tcp((Ipv4Addr::LOCALHOST, 0).into());
    let listener = Listener::bind(&local, plan.options.backlog).map_err(|error| failed(&error))?;
    let options = Options { workers, ..plan.options.clone() };
    let builder = Server::builder().options(options).listener(listener);
    let server = builder.build(Arc::clone(&plan.service)).map_err(|error| failed(&error))?;
    let handle = server.handle();
    let Some(Address::Tcp(target)) = handle.local_addrs().first().cloned() else {
        return Err(failed(&"it listens nowhere"));
    };
    let accept = thread::Builder::new().name("accept".to_owned());
    let running = accept.spawn(move || server.run()).map_err(|error| failed(&error))?;
    let load = Load { target, ..plan.load.clone() };
    let mut window = Window { handle: &handle, plan, first: None, last: None };
    let report = bench::watch(&load, |progress| show(progress) && window.look(progress));
    let ends = window.close();
    handle.stop();
    match running.join() {
        // What it may have cut off is of no interest: the load has its replies, or does not.
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(failed(&error)),
        Err(_) => return Err(failed(&"the accept loop panicked")),
    }
    let report = report.map_err(|error| match error {
        bench::Error::NotConnected { .. } | bench::Error::Epoll(_) | bench::Error::Thread(_) => {
            failed(&error)
        }
        _ => Failure::usage(format!("tune: {error}")),
    })?;
    Ok(ends.map(|(first, last)| measured(workers, &first, &last, report)))
}

/// The server's counters at one moment.
struct Look {
    at: Instant,
    stats: Snapshot,
    /// CPU time of the process.
    cpu_seconds: f64,
}

impl Look {
    fn at(handle: &Handle) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        Self { at: Instant::now(), stats: handle.stats(), cpu_seconds }
    }
}

/// The first look and the last one between the end of the warm-up and the end of the load: what
/// comes after is a server that runs dry.
struct Window<'a> {
    handle: &'a Handle,
    plan: &'a Plan,
    first: Option<Look>,
    last: Option<Look>,
}

impl Window<'_> {
    /// Says whether there is anything left to see.
    fn look(&mut self, progress: &Progress<'_>) -> bool {
        let warm_up = self.plan.load.warm_up;
        let Some(elapsed) = progress.elapsed.filter(|elapsed| *elapsed >= warm_up) else {
            return true;
        };
        // What an overloaded pool still owes then is not waited for.
        let is_over = elapsed > warm_up + self.plan.duration;
        match (&self.first, &self.last) {
            (None, _) => self.first = Some(Look::at(self.handle)),
            (Some(_), Some(_)) if is_over => {}
            (Some(_), _) => self.last = Some(Look::at(self.handle)),
        }
        !is_over
    }

    fn close(self) -> Option<(Look, Look)> {
        let first = self.first?;
        Some((first, self.last.unwrap_or_else(|| Look::at(self.handle))))
    }
}

fn measured(workers: usize, first: &Look, last: &Look, report: Report) -> Measured {
    let (before, now) = (&first.stats, &last.stats);
    let waits = now.queue_wait.since(&before.queue_wait);
    let handler = now.handler_time.since(&before.handler_time);
    let grown_by = |what: fn(&Snapshot) -> f64| (what(now) - what(before)).max(0.0);
    let count = waits.count();
    let seen = Observed {
        seconds: (last.at - first.at).as_secs_f64(),
        workers,
        messages: now.messages.saturating_sub(before.messages),
        busy_seconds: grown_by(|it| it.worker_busy_seconds),
        handler_seconds: handler.sum,
        handler_seconds_squared: grown_by(|it| it.handler_seconds_squared),
        cpu_seconds: Some(last.cpu_seconds - first.cpu_seconds),
        cores: thread::available_parallelism().ok().map(|cores| cores.get() as f64),
        waits: count,
        wait_seconds: waits.sum,
        ..Observed::default()
    };
    Measured {
        saturated_seconds: grown_by(|it| it.saturated_seconds),
        server_wait: (count > 0).then(|| Wait {
            mean: seen.wait_mean_seconds(),
            p50: waits.quantile(0.5),
            p99: waits.quantile(0.99),
        }),
        seen,
        report,
    }
}
