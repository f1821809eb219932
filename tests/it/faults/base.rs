//! What every fault is held against: the program before it, and the same program after it.

use crate::endpoint::{get, scrape};
use crate::support::{Client, Daemon, PATIENCE, eventually};
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

/// How long after a fault's end files and threads may be more than before it.
const RESTORED_WITHIN: Duration = Duration::from_secs(5);

/// What a process has when nothing has happened to it.
pub struct Base {
    /// When the process started, in seconds since 1970: another process has another.
    started: f64,
    files: usize,
    threads: usize,
    workers: usize,
}

impl Base {
    /// Of a server that nobody talks to.
    pub fn of(daemon: &Daemon) -> Self {
        let pid = daemon.pid();
        let metrics = daemon.metrics.unwrap();
        assert_eq!(get(metrics, "/healthz").0, 200);
        let samples = scrape(metrics);
        let started = samples["process_start_time_seconds"];
        let workers = samples["welcomed_workers_limit"] as usize;
        eventually("every worker has started", || named_workers(pid) == workers);
        let mut last = (0, 0);
        eventually("the files and threads of its start", || {
            // What is closed for good is seen by nothing but a count that stays.
            thread::sleep(Duration::from_millis(50));
            let now = (count(pid, "fd"), count(pid, "task"));
            std::mem::replace(&mut last, now) == now
        });
        Self { started, files: last.0, threads: last.1, workers }
    }

    /// Of a successor that was started as this one was, and that somebody talks to.
    pub fn of_successor(&self, daemon: &Daemon) -> Self {
        let started = scrape(daemon.metrics.unwrap())["process_start_time_seconds"];
        Self { started, ..*self }
    }

    /// Open files when nobody talks to it.
    pub fn files(&self) -> usize {
        self.files
    }

    /// Waits until the server is as it was, after its clients have left: the same process with
    /// all its workers, files and threads as before, a quick `/healthz`, and books that balance.
    pub fn is_restored(&self, daemon: &Daemon) {
        let (pid, metrics) = (daemon.pid(), daemon.metrics.unwrap());
        let fault_ended = Instant::now();
        eventually("accepted = rejected + open + closed, and nobody is connected", || {
            let books = Books::of(&scrape(metrics));
            books.balance() && books.open == 0.0
        });
        eventually("files and threads are back", || {
            count(pid, "fd") <= self.files && count(pid, "task") <= self.threads
        });
        let took = fault_ended.elapsed();
        assert!(took < RESTORED_WITHIN, "files and threads are back after {took:?}");
        eventually("every worker is alive", || named_workers(pid) == self.workers);
        let quick = |_| {
            let asked = Instant::now();
            assert_eq!(get(metrics, "/healthz"), (200, "ok\n".to_owned()));
            asked.elapsed() < Duration::from_secs(1)
        };
        assert!((0..3).any(quick), "/healthz takes a second, three times in a row");
        let samples = scrape(metrics);
        assert_eq!(samples["process_start_time_seconds"], self.started, "the same process");
        assert_eq!(samples["welcomed_workers"], self.workers as f64);
    }
}

/// The sums over reasons and states.
#[derive(Debug)]
pub struct Books {
    pub accepted: f64,
    pub rejected: f64,
    pub open: f64,
    pub closed: f64,
}

impl Books {
    pub fn of(samples: &BTreeMap<String, f64>) -> Self {
        Self {
            accepted: total(samples, "welcomed_connections_accepted_total"),
            rejected: total(samples, "welcomed_connections_rejected_total"),
            open: total(samples, "welcomed_connections"),
            closed: total(samples, "welcomed_connections_closed_total"),
        }
    }

    pub fn balance(&self) -> bool {
        self.accepted == self.rejected + self.open + self.closed
    }
}

/// The sum over all labels of a metric.
pub fn total(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    let start = format!("{name}{{");
    samples.iter().filter(|(key, _)| key.starts_with(&start)).map(|(_, value)| value).sum()
}

fn count(pid: u32, of: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{of}")).unwrap().count()
}

/// The service's worker threads, by the names that the kernel knows.
fn named_workers(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // A thread may end between the two looks.
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("work-")).count()
}

/// A server that something is done to, with what it says and what it was.
pub struct Patient {
    daemon: Daemon,
    base: Base,
    log: Arc<Mutex<String>>,
    config: tempfile::NamedTempFile,
}

impl Patient {
    /// The program with this configuration, in `line` framing.
    pub fn new(config: &str) -> Self {
        Self::run(env!("CARGO_BIN_EXE_welcomed").into(), config, &[])
    }

    /// As [`new`](Self::new), with arguments.
    pub fn with(config: &str, arguments: &[&str]) -> Self {
        Self::run(env!("CARGO_BIN_EXE_welcomed").into(), config, arguments)
    }

    /// `examples/faulty.rs`: the program with a handler that fails as it is told.
    pub fn faulty(config: &str) -> Self {
        Self::run(example("faulty"), config, &[])
    }

    fn run(program: PathBuf, config: &str, arguments: &[&str]) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(config.as_bytes()).unwrap();
        let fixed = ["--framing", "line", "--config", file.path().to_str().unwrap()];
        let mut daemon = Daemon::serve_by(&program, &[&fixed, arguments].concat());
        let (log, _) = follow(&mut daemon);
        let base = Base::of(&daemon);
        Self { daemon, base, log, config: file }
    }

    /// What it has said since it listened.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn scrape(&self) -> BTreeMap<String, f64> {
        scrape(self.metrics.unwrap())
    }

    /// Takes another configuration into use.
    pub fn reload(&self, config: &str) {
        fs::write(self.config.path(), config).unwrap();
        let reloads = "welcomed_config_reloads_total";
        let before = self.scrape()[reloads];
        self.signal("HUP");
        self.until(reloads, before + 1.0);
    }

    /// Waits until a sample has this value.
    pub fn until(&self, name: &str, value: f64) {
        let now = || *self.scrape().get(name).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while now() != value {
            assert!(Instant::now() < deadline, "{name} is {} and not {value}", now());
        }
    }

    /// All is as before the fault.
    pub fn is_restored(&self) {
        self.base.is_restored(&self.daemon);
    }

    /// Open files now.
    pub fn files(&self) -> usize {
        count(self.pid(), "fd")
    }

    pub fn threads(&self) -> usize {
        count(self.pid(), "task")
    }

    /// Memory in bytes: `VmRSS:` now, `VmHWM:` the most so far.
    pub fn memory(&self, what: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Processor time so far, in user and kernel mode.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields = stat.rsplit(')').next().unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10) // USER_HZ is 100 on every Linux
    }

    /// Ends it well, which it must be able to.
    pub fn stop(self) {
        let Self { mut daemon, log, .. } = self;
        daemon.signal("TERM");
        assert_eq!(daemon.wait_unread().code(), Some(0), "{}", log.lock().unwrap());
    }
}

impl Deref for Patient {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

/// Reads on what the program says, until its end.
pub fn follow(daemon: &mut Daemon) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let (mut stderr, log) = (daemon.take_log(), Arc::new(Mutex::new(String::new())));
    let shared = Arc::clone(&log);
    let reader = thread::spawn(move || {
        let mut line = Vec::new();
        while stderr.read_until(b'\n', &mut line).unwrap() > 0 {
            shared.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    (log, reader)
}

/// Limits the files that a process may have open.
pub fn limit_files(pid: u32, files: usize) {
    let (pid, files) = (pid.to_string(), format!("--nofile={files}:20000"));
    assert!(Command::new("prlimit").args(["--pid", &pid, &files]).status().unwrap().success());
}

/// An example as a program. Cargo builds examples beside the tests, but only when it builds
/// everything, and tells nobody where they are.
pub fn example(name: &str) -> PathBuf {
    static BUILT: Mutex<()> = Mutex::new(());
    let one_at_a_time = BUILT.lock();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--example", name]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let test = env::current_exe().unwrap();
    let folder = test.parent().and_then(|deps| deps.parent()).unwrap();
    cargo.arg("--target-dir").arg(folder.parent().unwrap());
    assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    drop(one_at_a_time);
    folder.join("examples").join(name)
}

/// Closes with a reset instead of an end.
pub fn reset(socket: impl Into<Socket>) {
    let socket = socket.into();
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// A client whose address is `from`, any of 127.0.0.0/8.
pub fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(SocketAddr::from((from, 0)))).unwrap();
    socket.connect(&SockAddr::from(to)).unwrap();
    socket.into()
}

/// All that a client that is dropped with a reset must be: without a second handle.
pub fn reset_client(client: Client) {
    let Client { socket, reader } = client;
    drop(reader);
    reset(socket);
}

/// Whether a tool is there. Continuous integration has to have it.
pub fn has(tool: &str) -> bool {
    let there = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
    let there = there.unwrap().status.success();
    if !there {
        assert!(env::var("CI").as_deref() != Ok("true"), "CI has to have {tool}");
        eprintln!("SKIPPED: {tool} is missing (scripts/install-test-packages installs it)");
    }
    there
}
