//! One measurement: start a server, load it, read its accounts before and after.

use super::accounts::{cpu_nanos, private_bytes};
use super::machine::Cores;
use super::plan::{Case, Server};
use super::process::Process;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use welcomed::bench::{Load, Pace, Session, Stop};

const WARM_UP: Duration = Duration::from_millis(300);
/// How long any answer may take: thousands of threads on one core are slow.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between these two numbers of connections memory is compared, so that what a server takes once
/// is left out.
const FEW: usize = 1_000;
const MANY: usize = 10_000;
/// How long a server that has answered everything gets to come to rest.
const REST: Duration = Duration::from_millis(200);

/// What one server did in one case, once.
pub(super) struct Sample {
    pub(super) server: Server,
    pub(super) case: Case,
    pub(super) round: u32,
    /// The server's CPU time for one message.
    pub(super) cpu_nanos: f64,
    /// The load's.
    pub(super) load_nanos: f64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) throughput: f64,
}

/// Measures one server in one case, in the first round.
pub(super) fn sample(
    server: Server,
    case: Case,
    window: Duration,
    cores: Cores,
) -> Result<Sample, String> {
    let process = Process::start(server, cores)?;
    let pace = Pace::closed(case.in_flight);
    let mut session = connect(&process, case.connections, pace)?;
    session.run(Stop::After(WARM_UP)).map_err(|error| error.to_string())?;
    let processes = [process.id(), std::process::id()];
    let before = processes.map(cpu_nanos);
    let scrape = process.metrics.map(|address| scrape_after(window / 2, address));
    let report = session.run(Stop::After(window)).map_err(|error| error.to_string())?;
    if let Some(scrape) = scrape {
        let scraped = scrape.join().map_err(|_| "the scrape panicked")?;
        scraped.map_err(|error| format!("metrics: {error}"))?;
    }
    let after = processes.map(cpu_nanos);
    if !report.errors.is_empty() || report.messages == 0 {
        return Err(format!("{} messages, errors: {}", report.messages, report.errors));
    }
    let mut costs = [0.0; 2];
    for ((cost, before), after) in costs.iter_mut().zip(before).zip(after) {
        let spent = after.and_then(|after| Ok(after - before?));
        let spent = spent.map_err(|error| format!("CPU time: {error}"))?;
        *cost = spent as f64 / report.messages as f64;
    }
    let [cpu_nanos, load_nanos] = costs;
    Ok(Sample {
        server,
        case,
        round: 0,
        cpu_nanos,
        load_nanos,
        p50: report.latency.quantile(0.5),
        p99: report.latency.quantile(0.99),
        throughput: report.throughput(),
    })
}

/// Bytes of user memory that one more idle connection costs a server, after one exchange.
pub(super) fn memory(server: Server, cores: Cores) -> Result<f64, String> {
    let process = Process::start(server, cores)?;
    let few = spoken_once(&process, FEW)?;
    let before = private_bytes(process.id())?;
    let more = spoken_once(&process, MANY - FEW)?;
    let after = private_bytes(process.id())?;
    drop((few, more));
    Ok((after as f64 - before as f64) / (MANY - FEW) as f64)
}

/// Connections that have each sent one message and are idle now.
fn spoken_once(process: &Process, connections: usize) -> Result<Session, String> {
    let mut session = connect(process, connections, Pace::closed(1))?;
    let one_each = Stop::Messages(connections as u64);
    let report = session.run(one_each).map_err(|error| error.to_string())?;
    if !report.errors.is_empty() {
        return Err(format!("errors: {}", report.errors));
    }
    thread::sleep(REST);
    Ok(session)
}

fn connect(process: &Process, connections: usize, pace: Pace) -> Result<Session, String> {
    let load = Load { connections, pace, patience: PATIENCE, ..Load::new(process.address) };
    Session::connect(&load).map_err(|error| error.to_string())
}

/// Reads the metrics once, in the middle of the window: that is part of the cost.
fn scrape_after(delay: Duration, address: SocketAddr) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        thread::sleep(delay);
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let status = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let status = str::from_utf8(status).unwrap_or_default();
        match status.split(' ').nth(1) {
            Some("200") => Ok(()),
            _ => Err(io::Error::other(format!("answered `{status}`"))),
        }
    })
}
