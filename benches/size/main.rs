//! What idle connections and empty slots cost: memory, CPU at rest, the latency of the others,
//! and the time to drain.
//!
//! `cargo bench --bench size` starts a server as a process of its own for each number of idle
//! connections, opens them from here, and lets ten more connections talk beside them. What the
//! same ten meet at the same server before the others come is the measure for their latency. The
//! number is bound by the open files that the system allows; memory for more is the slope.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program that prints a table

#[path = "../compare/accounts.rs"]
mod accounts;
#[allow(dead_code)] // the comparison uses the rest
#[path = "../compare/machine.rs"]
mod machine;

use clap::Parser;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};
use welcomed::bench::{self, Latency, Load, Pace, Session, Stop};
use welcomed::endpoint::SideEndpoint;
use welcomed::protocol::Framing;
use welcomed::server::{Address, Listener, Options, Server};
use welcomed::service::Hello;

/// Idle connections.
const IDLE: [usize; 5] = [1_000, 5_000, 10_000, 15_000, 19_000];
/// Connections that talk beside them, and how long each pauses between a reply and its next
/// message.
const ACTIVE: usize = 10;
const PAUSE: Duration = Duration::from_millis(5);
/// A table for a million connections, and the default one.
const SLOTS: [usize; 2] = [1_000_000, 10_000];
/// Idle connections of a server with a side endpoint, which needs some files too.
const OBSERVED: [usize; 2] = [1_000, 15_000];
/// How long a server that has answered everything gets to come to rest.
const REST: Duration = Duration::from_millis(300);

/// Measures what idle connections and empty slots cost.
#[derive(Parser)]
struct Arguments {
    /// Only the smallest number, and short.
    #[arg(long)]
    quick: bool,
    /// Serve with so many slots until standard input ends; what the measurement starts.
    #[arg(long, hide = true)]
    serve: Option<usize>,
    /// Serve with a side endpoint.
    #[arg(long, hide = true)]
    observed: bool,
    /// What cargo passes to a benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = machine::raise_open_files().map_err(|error| error.to_string());
    let outcome = outcome.and_then(|()| match arguments.serve {
        Some(slots) => serve(slots, arguments.observed),
        None => measure(arguments.quick),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("size: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The server, which is the library's. Ends well when its standard input ends.
fn serve(max_connections: usize, observed: bool) -> Result<(), String> {
    let options =
        Options { workers: 2, max_connections, framing: Framing::Line, ..Options::default() };
    let wrong = |error: welcomed::server::Error| error.to_string();
    let builder = Server::builder().options(options).listen("127.0.0.1:0").map_err(wrong)?;
    let server = builder.build(Hello).map_err(wrong)?;
    let handle = server.handle();
    let side = || {
        let listener = Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into()), 16)
            .map_err(|it| it.to_string())?;
        SideEndpoint::start(listener, &handle).map_err(wrong)
    };
    let _side = observed.then(side).transpose()?;
    println!("{}", handle.local_addrs()[0]);
    let stop = handle.clone();
    thread::spawn(move || {
        io::stdin().read_to_end(&mut Vec::new()).ok();
        stop.stop();
    });
    let report = server.run().map_err(wrong)?;
    if report.is_clean() { Ok(()) } else { Err(format!("{report:?}")) }
}

/// A server in a process of its own; its drop kills it.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(slots: usize, observed: bool, cores: machine::Cores) -> Result<Self, String> {
        let this = env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(this);
        command.args(["--serve", &slots.to_string()]);
        command.args(observed.then_some("--observed"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = cores.place(|| command.spawn()).map_err(|error| error.to_string())?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        let address = line.trim().parse().map_err(|_| format!("no address in `{line}`"))?;
        Ok(Self { child, address })
    }

    fn memory(&self) -> Result<f64, String> {
        thread::sleep(REST);
        Ok(accounts::private_bytes(self.child.id())? as f64)
    }

    /// Part of a core that it takes in `time` in which nobody says anything.
    fn cpu_at_rest(&self, time: Duration) -> Result<f64, String> {
        let read = || accounts::cpu_nanos(self.child.id()).map_err(|error| error.to_string());
        let before = read()?;
        thread::sleep(time);
        Ok((read()? - before) as f64 / time.as_nanos() as f64)
    }

    /// Idle connections that have each said something once.
    fn idle(&self, connections: usize) -> Result<Session, String> {
        let load = Load { connections, ..Load::new(self.address) };
        let mut session = Session::connect(&load).map_err(|error| error.to_string())?;
        let one_each = Stop::Messages(connections as u64);
        let report = session.run(one_each).map_err(|error| error.to_string())?;
        if report.errors.is_empty() { Ok(session) } else { Err(report.errors.to_string()) }
    }

    /// What the talking connections meet.
    fn latency(&self, time: Duration) -> Result<Latency, String> {
        let load = Load {
            connections: ACTIVE,
            pace: Pace::Closed { in_flight: 1, think: PAUSE },
            measured: Stop::After(time),
            ..Load::new(self.address)
        };
        let report = bench::run(&load).map_err(|error| error.to_string())?;
        if report.errors.is_empty() { Ok(report.latency) } else { Err(report.errors.to_string()) }
    }

    /// How long it takes to end.
    fn drain(mut self) -> Result<Duration, String> {
        let begin = Instant::now();
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(begin.elapsed()) } else { Err(format!("it ended with {status}")) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn measure(quick: bool) -> Result<(), String> {
    let cores = machine::Cores::choose()?;
    let time = if quick { Duration::from_millis(500) } else { Duration::from_secs(5) };
    println!(
        "{}; server on one core, load on another; {ACTIVE} connections talk\n",
        machine::describe()
    );
    println!(
        "| idle connections | memory, MB | CPU at rest | p50 / p99 of the others, us \
         | without the idle ones | drain, ms |"
    );
    println!("|---:|---:|---:|---:|---:|---:|");
    let mut memory = Vec::new();
    for idle in IDLE.into_iter().take(if quick { 1 } else { IDLE.len() }) {
        eprintln!("{idle} idle connections ...");
        let server = Process::start(idle + 2 * ACTIVE, false, cores)?;
        let alone = server.latency(time)?;
        let held = server.idle(idle)?;
        let beside = server.latency(time)?;
        let (bytes, cpu) = (server.memory()?, server.cpu_at_rest(time)?);
        memory.push((idle as f64, bytes));
        let drained = server.drain()?;
        drop(held);
        println!(
            "| {idle} | {:.2} | {:.3} % | {} | {} | {} |",
            bytes / 1e6,
            cpu * 100.0,
            both(&beside),
            both(&alone),
            drained.as_millis()
        );
    }
    measure_observed(quick, time, cores)?;
    println!("\n| slots, no connection | memory, MB | CPU at rest | p50 / p99 of {ACTIVE}, us |");
    println!("|---:|---:|---:|---:|");
    let mut empty = Vec::new();
    for slots in SLOTS {
        eprintln!("{slots} slots ...");
        let server = Process::start(slots, false, cores)?;
        let (bytes, cpu) = (server.memory()?, server.cpu_at_rest(time)?);
        empty.push(bytes);
        let latency = server.latency(time)?;
        println!("| {slots} | {:.2} | {:.3} % | {} |", bytes / 1e6, cpu * 100.0, both(&latency));
    }
    if let Some(slope) = slope(&memory) {
        println!(
            "\n{slope:.0} bytes of user memory for each idle connection, by least squares, slot \
             included; a million would take {slope:.0} MB. The kernel's side is not in it."
        );
        println!("A table of a million slots takes {:.0} MB before anybody comes.", empty[0] / 1e6);
    }
    Ok(())
}

/// What a look at the counters every two seconds costs a server that nobody talks to.
fn measure_observed(quick: bool, time: Duration, cores: machine::Cores) -> Result<(), String> {
    println!("\n| idle connections, with the side endpoint | CPU at rest |\n|---:|---:|");
    for idle in OBSERVED.into_iter().take(if quick { 1 } else { OBSERVED.len() }) {
        eprintln!("{idle} idle connections, with the side endpoint ...");
        let server = Process::start(idle, true, cores)?;
        let held = server.idle(idle)?;
        thread::sleep(REST);
        // Whole steps of its history.
        let cpu = server.cpu_at_rest(time * 2)?;
        drop(held);
        println!("| {idle} | {:.3} % |", cpu * 100.0);
    }
    Ok(())
}

fn both(latency: &Latency) -> String {
    format!("{} / {}", latency.quantile(0.5).as_micros(), latency.quantile(0.99).as_micros())
}

/// Bytes a connection, by least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|it| it.0), mean(|it| it.1));
    let spread: f64 = points.iter().map(|it| (it.0 - x).powi(2)).sum();
    let together: f64 = points.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
    (points.len() > 1).then_some(together / spread)
}
