//! The program under the storm: started on sockets that are held here over all its lives, with a
//! configuration that is rewritten for reloads, and with what it says. Used by `storm`.

use crate::activation::activate;
use crate::endpoint::scrape;
use crate::faults::base::{Base, example, follow};
use crate::support::{Daemon, SERVE, eventually};
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Errors of the log that the schedule causes.
const EXPECTED: [&str; 8] = [
    "as told",
    "the handler panicked: as told",
    "the configuration was not reloaded, the old one stays",
    "accepting pauses for",
    "a worker has not come back from its call",
    "every worker is stuck: nothing is served",
    "a worker is left behind in its call",
    "the drain's time is over",
];

/// Long enough for any drain of what does return.
pub const DRAIN: &str = "20s";
/// For calls that do not.
pub const SHORT_DRAIN: &str = "2500ms";

/// What all lives have in common.
pub struct Held {
    service: TcpListener,
    metrics: TcpListener,
    pub address: SocketAddr,
    config: tempfile::NamedTempFile,
    program: PathBuf,
}

impl Held {
    pub fn new() -> Self {
        let (service, metrics) = (listener(), listener());
        let address = service.local_addr().unwrap();
        let (config, program) = (tempfile::NamedTempFile::new().unwrap(), example("faulty"));
        Self { service, metrics, address, config, program }
    }

    pub fn configure(&self, workers: usize, drain: &str) {
        let text = format!(
            "[pool]\nworkers = {workers}\nstuck_after = \"2s\"\n[drain]\ntimeout = \"{drain}\"\n\
             [timeouts]\nmessage = \"5m\"\nwrite = \"5m\"\n[service]\nframing = \"line\"\n"
        );
        fs::write(self.config.path(), text).unwrap();
    }

    pub fn spoil(&self) {
        fs::write(self.config.path(), "[pool]\nworkers = \"a great many\"\n").unwrap();
    }

    pub fn start(&self) -> Program {
        let passed = [&self.service, &self.metrics].map(|it| it.try_clone().unwrap().into());
        let [service, metrics] = passed;
        let names = "welcomed.socket:metrics";
        let mut command = activate(&self.program, service, Some(metrics), names);
        let mut daemon = Daemon::start(command.args(SERVE).arg("--config").arg(self.config.path()));
        let (log, reader) = follow(&mut daemon);
        Program { daemon, log, reader: Some(reader) }
    }
}

/// A socket with a queue that no schedule fills.
fn listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

/// One life.
pub struct Program {
    daemon: Daemon,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Program {
    pub fn scrape(&self) -> BTreeMap<String, f64> {
        scrape(self.daemon.metrics.unwrap())
    }

    /// Waits until the samples say so.
    pub fn until(&self, what: &str, holds: impl Fn(&BTreeMap<String, f64>) -> bool) {
        eventually(what, || holds(&self.scrape()));
    }

    /// SIGHUP, and waits until it is done; what is configured must hold then, or be refused.
    pub fn reload(&self, workers: usize, refused: bool) {
        const ATTEMPTS: &str = "welcomed_config_reloads_total";
        let before = self.scrape();
        self.daemon.signal("HUP");
        self.until("it has read its configuration", |now| now[ATTEMPTS] == before[ATTEMPTS] + 1.0);
        let now = self.scrape();
        let succeeded = now["welcomed_config_last_reload_successful"] == 1.0;
        assert_eq!((succeeded, now["welcomed_workers_limit"]), (!refused, workers as f64));
    }

    pub fn is_restored(&self, base: &Base) {
        base.of_successor(&self.daemon).is_restored(&self.daemon);
    }

    /// Waits for the end; returns it and all that it has said.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.daemon.wait_unread();
        self.reader.take().unwrap().join().unwrap();
        (status, self.said())
    }

    /// The log so far.
    pub fn said(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Deref for Program {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

/// Lines that nothing in the schedule explains.
pub fn unexpected(said: &str) -> Vec<&str> {
    let bad = |line: &&str| line.contains(" ERROR ") || line.contains("panick");
    let explained = |line: &&str| EXPECTED.iter().any(|words| line.contains(words));
    said.lines().filter(bad).filter(|line| !explained(line)).collect()
}

#[test]
fn errors_that_nothing_explains_are_found() {
    let fine = "2026 ERROR the handler panicked: as told id=1\n2026 INFO all is well\n";
    assert_eq!(unexpected(fine), Vec::<&str>::new());
    let bad = "2026 ERROR a worker's turn panicked: index out of bounds";
    assert_eq!(unexpected(&format!("{fine}{bad}\n")), [bad]);
}
