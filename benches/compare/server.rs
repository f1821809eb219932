//! The servers under measurement, as processes on a core of their own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::env;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

/// Short names, and what the table calls them.
pub const RIVALS: [(&str, &str); 5] = [
    ("welcomed", "welcomed, 2 workers, metrics on"),
    ("raw-epoll", "raw epoll loop, one thread"),
    ("tokio-1", "tokio, current thread"),
    ("tokio-2", "tokio, 2 workers"),
    ("threads", "a thread per client"),
];

/// The server's core and the load's.
const CORES: [usize; 2] = [0, 1];

/// What `welcomed` is measured with.
const SERVE: [&str; 13] = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--metrics-listen",
    "127.0.0.1:0",
    "--workers",
    "2",
    "--framing",
    "line",
    "--max-connections",
    "15000",
    "--log-level",
    "warn",
];

/// A server that runs; killed when dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// Kept open: a server must not fail for want of a reader.
    _stderr: BufReader<ChildStderr>,
}

impl Process {
    /// Starts a server on its core and waits until it listens. This thread is on the load's core
    /// afterwards.
    pub fn start(name: &str) -> io::Result<Self> {
        let mut command = if name == "welcomed" {
            let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
            command.args(SERVE);
            command
        } else {
            let mut command = Command::new(env::current_exe()?);
            command.args(["--rival", name]);
            command
        };
        // A child has the cores of the thread that starts it.
        pin(CORES[0])?;
        let spawned = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        pin(CORES[1])?;
        let mut child = spawned?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
        let mut stderr = BufReader::new(stderr);
        let mut line = String::new();
        stderr.read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening service=").and_then(|it| it.parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("{name} said: {line}")))?;
        Ok(Self { child, address, _stderr: stderr })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Ten thousand sockets need more than the usual soft limit.
pub fn raise_open_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
