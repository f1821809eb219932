//! What is measured of a server: CPU time per message, latency, memory per idle connection.

use crate::server::Process;
use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;
use std::time::Duration;
use welcomed::bench::{self, Load, Mark};

/// Connections at which the memory is read.
const IDLE: [usize; 2] = [1_000, 10_000];

/// A load: connections and messages in flight on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub connections: usize,
    pub in_flight: usize,
}

impl Case {
    pub const ALL: [Self; 6] = [
        Self { connections: 1, in_flight: 1 },
        Self { connections: 64, in_flight: 1 },
        Self { connections: 1000, in_flight: 1 },
        Self { connections: 1, in_flight: 16 },
        Self { connections: 64, in_flight: 16 },
        Self { connections: 1000, in_flight: 16 },
    ];
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.connections, self.in_flight)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |number: &str| number.parse().ok().filter(|number| *number > 0);
        text.split_once('x')
            .and_then(|(connections, in_flight)| {
                Some(Self { connections: parse(connections)?, in_flight: parse(in_flight)? })
            })
            .ok_or_else(|| format!("`{text}` is not a case; one is written `64x16`"))
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// CPU time of the server per message, in nanoseconds.
    pub cpu_ns: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// Messages a second.
    pub throughput: f64,
}

/// Loads a server for a window and reads what that cost it. A wrong reply is an error.
pub fn sample(server: &Process, case: Case, window: Duration) -> Result<Sample, String> {
    let load = Load {
        target: server.address,
        connections: case.connections,
        in_flight: case.in_flight,
        warm_up: window / 5,
        duration: window,
    };
    let mut cpu = Vec::new();
    let report = bench::run(&load, |_: Mark| cpu.push(cpu_time(server.pid())))
        .map_err(|error| error.to_string())?;
    if report.wrong + report.lost > 0 {
        return Err(format!("{} wrong replies, {} lost connections", report.wrong, report.lost));
    }
    let read = cpu.into_iter().collect::<io::Result<Vec<u64>>>().map_err(|e| e.to_string())?;
    let [before, after] = read[..] else {
        return Err("the window has two ends".to_owned());
    };
    Ok(Sample {
        cpu_ns: (after - before) as f64 / report.messages as f64,
        p50: report.latency(0.5),
        p99: report.latency(0.99),
        throughput: report.throughput(),
    })
}

/// CPU time of all threads, in nanoseconds, as the scheduler accounts it.
fn cpu_time(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
        total += on_cpu.ok_or_else(|| io::Error::other(format!("schedstat: {text}")))?;
    }
    Ok(total)
}

/// What an idle connection costs in user memory: the growth of the server's anonymous memory from
/// a thousand greeted connections to ten thousand.
pub fn bytes_per_idle_connection(server: &Process) -> Result<f64, Box<dyn std::error::Error>> {
    let mut held = bench::connect(server.address, IDLE[0])?;
    let before = anonymous_memory(server.pid())?;
    held.extend(bench::connect(server.address, IDLE[1] - IDLE[0])?);
    let after = anonymous_memory(server.pid())?;
    Ok(after.saturating_sub(before) as f64 / (IDLE[1] - IDLE[0]) as f64)
}

/// Resident anonymous memory in bytes.
fn anonymous_memory(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.map(|count| count * 1024).ok_or_else(|| io::Error::other("no RssAnon in status"))
}
