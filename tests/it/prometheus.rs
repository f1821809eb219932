//! The dashboard and the rules in a real Prometheus that watches real servers: under load and
//! faults every panel shows something and the alerts fire; afterwards they stop.
//!
//! A minute and a half. The rules' own times are tested by `rules_test.yml`; here their windows and
//! waits are cut to seconds by [`hurried`].

use crate::dashboards::{dashboard, queries, read, without_variables};
use crate::support::{Client, Daemon};
use serde_json::Value;
use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// For what has to happen within a few scrapes.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long samples gather under load before the panels are looked at.
const HISTORY: Duration = Duration::from_secs(60);
/// What stands for `$__rate_interval`: five scrapes.
const INTERVAL: &str = "5s";
/// What a client that is turned away is told.
const BUSY: &str = "Busy, try again later.";
/// Queries that show nothing in this test, and why.
const EMPTY: &[(&str, &str)] = &[
    ("annotation Restarts", "no server is started anew"),
    ("annotation Pool resizes", "the program does not change its number of workers"),
];
/// Nothing here gives a reason for these.
const NEVER: &[&str] = &[
    "WelcomedAcceptErrors",
    "WelcomedErrorRatioHigh",
    "WelcomedFdsNearLimit",
    "WelcomedHandlerPanics",
    "WelcomedNotReady",
    "WelcomedVersionSkew",
];

/// A Prometheus that watches `targets`, on a port of the kernel's choice, killed on drop.
pub struct Prometheus {
    child: Child,
    folder: TempDir,
    pub address: SocketAddr,
}

impl Prometheus {
    /// Nothing if there is none here, except in CI.
    pub fn start(targets: &[SocketAddr]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("rules.yml"), hurried(&read("dashboards/rules.yml"))).unwrap();
        let configuration = configuration(&read("config/prometheus.yml"), targets);
        fs::write(folder.path().join("prometheus.yml"), configuration).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .args(["--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn();
        let child = match child {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                assert!(env::var("CI").as_deref() != Ok("true"), "CI has to have prometheus");
                eprintln!("skipped: no prometheus here; scripts/install-test-packages installs it");
                return None;
            }
            child => child.unwrap(),
        };
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut started = Self { child, folder, address: unknown };
        started.address = started.listening();
        started.until("it is ready", |it| it.ask("/-/ready").0 == 200);
        Some(started)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The address that it says it listens on.
    fn listening(&self) -> SocketAddr {
        let mut address = None;
        self.until("it listens", |it| {
            let log = it.log();
            let line = log.lines().find(|line| line.contains("\"Listening on\""));
            address = line.and_then(|line| line.rsplit_once("address=")?.1.trim().parse().ok());
            address.is_some()
        });
        address.unwrap()
    }

    #[track_caller]
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "not so: {what}: {:?}\n{}",
                self.address,
                self.log()
            );
            // Nothing tells when a scrape or an evaluation is through.
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// A GET's status and body. HTTP/1.0: the answer is neither chunked nor kept alive.
    fn ask(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(socket, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// What the API answers, whose status must be success.
    #[track_caller]
    pub fn api(&self, path: &str) -> Value {
        let (status, body) = self.ask(path);
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert!(status == 200 && answer["status"] == "success", "{path}: {status} {body}");
        answer["data"].clone()
    }

    /// The series of a query over the last [`HISTORY`], a sample each second.
    #[track_caller]
    fn range(&self, expr: &str) -> Vec<Value> {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let start = end - HISTORY.as_secs();
        let query = encoded(&without_variables(expr, INTERVAL));
        let path = format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=1");
        self.api(&path)["result"].as_array().unwrap().clone()
    }

    /// The alerts that fire: name, severity, and the target, where it is about one.
    fn firing(&self) -> BTreeSet<(String, String, String)> {
        let data = self.api("/api/v1/alerts");
        let firing = data["alerts"].as_array().unwrap().iter().filter(|it| it["state"] == "firing");
        let label =
            |alert: &Value, key: &str| alert["labels"][key].as_str().unwrap_or("").to_owned();
        let fields = |it| (label(it, "alertname"), label(it, "severity"), label(it, "instance"));
        firing.map(fields).collect()
    }

    /// Waits until this alert fires for this target, or does not.
    #[track_caller]
    fn until_alert(&self, fires: bool, (name, severity, target): (&str, &str, SocketAddr)) {
        let alert = (name.to_owned(), severity.to_owned(), target.to_string());
        let what = format!("{alert:?} fires: {fires}");
        self.until(&what, |it| it.firing().contains(&alert) == fires);
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It holds nothing worth a good end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The configuration with other targets, and a second between scrapes and evaluations.
fn configuration(shipped: &str, targets: &[SocketAddr]) -> String {
    let targets: Vec<_> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    let changes = [
        ("\"127.0.0.1:9998\"", targets.join(", ")),
        ("interval: 15s", "interval: 1s".to_owned()),
        ("../dashboards/rules.yml", "rules.yml".to_owned()),
    ];
    changes.iter().fold(shipped.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is to be replaced in\n{text}");
        text.replace(from, to)
    })
}

/// The rules with every window cut to five seconds and every `for` to two; the expressions and
/// thresholds are as they were.
fn hurried(rules: &str) -> String {
    let mut hurried = String::new();
    for line in rules.lines() {
        let line = match line.trim_start().strip_prefix("for: ") {
            Some(wait) => line.replace(wait, "2s"),
            None => ["[1m]", "[2m]", "[5m]", "[10m]", "[30m]"]
                .iter()
                .fold(line.to_owned(), |line, window| line.replace(window, "[5s]")),
        };
        assert!(!line.contains("m]"), "a window that is not cut: {line}");
        hurried.push_str(&line);
        hurried.push('\n');
    }
    hurried
}

/// For a query string.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() {
            true => encoded.push(char::from(byte)),
            false => write!(encoded, "%{byte:02X}").unwrap(),
        }
    }
    encoded
}

fn is_finite(series: &Value) -> bool {
    // A sample is [time, "value"].
    let samples = series["values"].as_array().unwrap().iter();
    let mut values = samples.map(|sample| sample[1].as_str().unwrap().parse::<f64>().unwrap());
    values.any(f64::is_finite)
}

/// Says names until told to stop, each on a new connection after so many.
fn converse(server: SocketAddr, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut client = Client::connect(server);
        client.expect("Welcome!");
        for _ in 0..5 {
            client.send("Ann\n").expect("Hello, Ann!");
        }
        client.send("exit\n");
        client.rest();
    }
}

/// Comes again and again, and is turned away.
fn knock(server: SocketAddr, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        Client::connect(server).expect(BUSY);
        thread::sleep(Duration::from_millis(100)); // a client's pace
    }
}

/// Comes again and again, and is served, or turned away at any moment.
fn try_again(server: SocketAddr, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut client = Client::connect(server);
        let mut said = client.line();
        if said == "Welcome!\n" {
            said = client.send("Ann\nexit\n").rest();
        }
        assert!(said.starts_with("Hello, Ann!\n") || said == format!("{BUSY}\n"), "{said:?}");
        thread::sleep(Duration::from_millis(20)); // a client's pace
    }
}

/// Keeps its place until told to stop.
fn stay(mut client: Client, pause: Duration, stop: &AtomicBool) {
    client.expect("Welcome!");
    while !stop.load(Ordering::Relaxed) {
        client.send("Ann\n").expect("Hello, Ann!");
        thread::sleep(pause);
    }
}

/// The servers that are watched. Nobody reads their logs.
struct Scene {
    /// Two workers for a dozen clients.
    busy: Daemon,
    /// Four places, which are taken.
    full: Daemon,
    /// Refuses who waits too long, and the eighth client of one address.
    late: Daemon,
    /// Takes each call for a stuck one, lets new clients wait, and reads its settings from a file.
    faulty: Daemon,
    folder: TempDir,
}

const FAULTY: &str = "
[limits]
max_connections = 2
[overload]
policy = \"wait\"
[pool]
workers = 3
stuck_after = \"1ms\"
[service]
work_delay = \"100ms\"
";

impl Scene {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let late = "[overload]\nmax_queue_wait = \"20ms\"\n[limits]\nmax_connections_per_ip = 7";
        let (late, faulty) = (file("late.toml", late), file("faulty.toml", FAULTY));
        let quiet = |arguments: &[&str]| {
            Daemon::serve(&[arguments, &["--framing", "line", "--log-level", "off"]].concat())
        };
        Self {
            busy: quiet(&["--workers", "2", "--work-delay", "100ms"]),
            full: quiet(&["--max-connections", "4"]),
            late: quiet(&["--workers", "1", "--work-delay", "50ms", "--config", &late]),
            faulty: quiet(&["--config", &faulty]),
            folder,
        }
    }

    fn servers(&self) -> [&Daemon; 4] {
        [&self.busy, &self.full, &self.late, &self.faulty]
    }

    fn targets(&self) -> [SocketAddr; 4] {
        self.servers().map(|server| server.metrics.unwrap())
    }

    /// The alerts that its clients give reason for: name, severity, target.
    fn alerts(&self) -> [(&'static str, &'static str, SocketAddr); 9] {
        let [busy, full, late, faulty] = self.targets();
        [
            ("WelcomedPoolSaturated", "ticket", busy),
            ("WelcomedQueueWaitHigh", "page", busy),
            ("WelcomedConnectionsNearLimit", "ticket", full),
            ("WelcomedConnectionsNearLimit", "page", full),
            ("WelcomedRejectingConnections", "page", full),
            ("WelcomedRejectingConnections", "ticket", late),
            ("WelcomedShedding", "page", late),
            ("WelcomedNotAccepting", "page", faulty),
            ("WelcomedWorkerStuck", "ticket", faulty),
        ]
    }

    /// Clients that come and go until they are told to stop.
    fn enter<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, stop: &'scope AtomicBool) {
        for (server, places, pause) in [(&self.full, 4, 50), (&self.faulty, 2, 0)] {
            let seated: Vec<_> = (0..places).map(|_| server.connect()).collect();
            for client in seated {
                scope.spawn(move || stay(client, Duration::from_millis(pause), stop));
            }
        }
        scope.spawn(|| knock(self.full.service, stop));
        for _ in 0..12 {
            scope.spawn(|| converse(self.busy.service, stop));
        }
        for _ in 0..8 {
            scope.spawn(|| try_again(self.late.service, stop));
        }
    }

    /// Has the faulty one read other settings.
    fn reload(&self, settings: &str) {
        fs::write(self.folder.path().join("faulty.toml"), settings).unwrap();
        self.faulty.signal("HUP");
    }
}

#[test]
fn the_dashboard_shows_and_the_alerts_tell_what_happens_to_servers() {
    let scene = Scene::start();
    let targets = scene.targets();
    let Some(prometheus) = Prometheus::start(&targets) else { return };
    let refused = ("WelcomedReloadFailed", "ticket", scene.faulty.metrics.unwrap());
    assert_eq!(prometheus.firing(), BTreeSet::new());

    let stop = AtomicBool::new(false);
    let waiting = thread::scope(|scope| {
        // Whatever fails in here, the clients must end, or the scope does not.
        let stopping = StopOnDrop(&stop);
        scene.enter(scope, &stop);
        let began = Instant::now();
        // Behind those who keep their places: it waits in the kernel's queue.
        let waiting = scene.faulty.connect();
        for alert in scene.alerts() {
            prometheus.until_alert(true, alert);
        }
        scene.reload("workers = ");
        prometheus.until_alert(true, refused);
        // The panels look back so far.
        thread::sleep(HISTORY.saturating_sub(began.elapsed()));
        every_query_shows_something(&prometheus);
        drop(stopping);
        waiting
    });
    stay(waiting, Duration::ZERO, &stop);
    scene.reload(FAULTY);
    for alert in scene.alerts().into_iter().chain([refused]) {
        prometheus.until_alert(false, alert);
    }

    // One that neither answers nor is gone.
    let down = ("WelcomedDown", "page", scene.full.metrics.unwrap());
    scene.full.signal("STOP");
    prometheus.until_alert(true, down);
    scene.full.signal("CONT");
    prometheus.until_alert(false, down);

    for server in [scene.busy, scene.full, scene.late, scene.faulty] {
        assert!(server.stop().0.success());
    }
    for target in targets {
        prometheus.until_alert(true, ("WelcomedDown", "page", target));
    }
    for (_, expr) in queries(&dashboard()) {
        prometheus.range(&expr);
    }
}

fn every_query_shows_something(prometheus: &Prometheus) {
    let dashboard = dashboard();
    let mut blank: BTreeSet<String> = BTreeSet::new();
    for (place, expr) in queries(&dashboard) {
        if !prometheus.range(&expr).iter().any(is_finite) {
            blank.insert(place);
        }
    }
    let excused: BTreeSet<String> = EMPTY.iter().map(|(place, _)| (*place).to_owned()).collect();
    assert_eq!(blank, excused, "queries without a number, or excused and with one");
    let firing = prometheus.firing();
    let unfounded = firing.iter().filter(|(name, ..)| NEVER.contains(&name.as_str()));
    assert_eq!(unfounded.collect::<Vec<_>>(), Vec::<&(String, String, String)>::new());
}

/// Tells the clients to stop when the test is through or has failed.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
