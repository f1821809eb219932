//! The machine: which cores to use, how many files may be open, and what it is called.

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::time::SystemTime;
use std::{fs, io, thread};

/// One core for the server, another for the load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cores {
    server: usize,
    load: usize,
}

impl Cores {
    /// The first two that this process may use.
    pub(super) fn choose() -> Result<Self, String> {
        let allowed = sched_getaffinity(None).map_err(|error| format!("affinity: {error}"))?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        match (cores.next(), cores.next()) {
            (Some(server), Some(load)) => Ok(Self { server, load }),
            _ => Err("two cores are needed, one for the server and one for the load".to_owned()),
        }
    }

    /// One core for both. Each then runs until it has nothing to do, with all that came meanwhile;
    /// on cores of their own the faster one sleeps and wakes so often that it costs as much as
    /// the slower one, and nobody can tell which is which.
    pub(super) fn shared(self) -> Self {
        Self { load: self.server, ..self }
    }

    /// Runs `start` on the server's core, so that a process it starts stays there with all its
    /// threads; from then on the caller is on the load's core.
    pub(super) fn place<T>(self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        pin(self.server)?;
        let started = start();
        pin(self.load)?;
        started
    }
}

/// Binds the calling thread, and what it starts, to a core.
fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Takes as many open files as are allowed, for this process and the servers it starts.
pub(super) fn raise_open_files() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Cores, kernel and date: what a reader of the table has to know.
pub(super) fn describe() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let cores = count_cores().unwrap_or(cores);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let date = now.split('T').next().unwrap_or_default();
    format!("{cores} cores, Linux {}, {date}", kernel.trim())
}

/// The machine's cores: `available_parallelism` would only count the one we are bound to.
fn count_cores() -> Option<usize> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(cpuinfo.lines().filter(|line| line.starts_with("processor")).count())
}
