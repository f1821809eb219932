//! `welcomed advise` on the real program: beside a server under load, and through a Prometheus.

#[path = "../../benches/advice/simulation.rs"]
#[allow(dead_code)] // its random numbers are what is needed here
mod simulation;

use crate::endpoint::get;
use crate::fetch::serve;
use crate::prometheus::Prometheus;
use crate::support::{CleanEnv, Daemon, eventually, talk};
use serde_json::Value;
use simulation::Chance;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Messages a second, each of which holds a worker for 5 ms: two workers' worth.
const RATE: f64 = 400.0;
const BUSY: [&str; 6] = ["--workers", "4", "--work-delay", "5ms", "--framing", "line"];
/// No load goes on for longer, whatever the test does.
const LONGEST: Duration = Duration::from_secs(120);

fn advise(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_welcomed"));
    program.arg("advise").args(arguments).clean_env().stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// The report, which must be advice.
#[track_caller]
fn report(arguments: &[&str]) -> Value {
    let output = advise(&[arguments, &["--json"]].concat());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(out).unwrap()
}

/// Messages at times that know nothing of each other nor of the server, while `during` runs. Who
/// sends reads no replies: the kernel holds those few bytes.
fn poisson<T>(server: SocketAddr, rate: f64, during: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut clients: Vec<_> =
                (0..64).map(|_| TcpStream::connect(server).unwrap()).collect();
            let mut chance = Chance::new(1917);
            let (began, mut due) = (Instant::now(), Duration::ZERO);
            while !over.load(Ordering::Relaxed) && due < LONGEST {
                thread::sleep(due.saturating_sub(began.elapsed()));
                let client = (chance.next() % 64) as usize;
                clients[client].write_all(b"Ann\n").unwrap();
                due += Duration::from_secs_f64(chance.exponential() / rate);
            }
        });
        let result = during();
        over.store(true, Ordering::Relaxed);
        result
    })
}

#[track_caller]
fn about(value: &Value, expected: f64, part: f64) {
    let value = value.as_f64().unwrap();
    assert!((value / expected - 1.0).abs() <= part, "{value} is not about {expected}");
}

/// What holds of the load above, whoever has watched it.
fn is_sane(report: &Value) {
    let load = &report["load"];
    about(&load["arrivals_per_second"], RATE, 0.3);
    let handler = load["handler_seconds"].as_f64().unwrap();
    assert!((0.005..0.05).contains(&handler), "{report:#}");
    assert!(load["service_seconds"].as_f64().unwrap() >= handler, "{report:#}");
    // Two looks at the same workers: their own watches, and messages times time each.
    let offered = load["offered_workers"].as_f64().unwrap();
    about(&report["utilisation"], offered / 4.0, 0.1);
    about(&report["predicted"]["utilisation"], offered / 4.0, 0.001);
    let recommended = report["recommended_workers"].as_f64().unwrap();
    assert!((offered..offered + 8.0).contains(&recommended), "{report:#}");
    assert_eq!(report["workers"], 4);
    assert!(report["sizes"].as_array().unwrap().len() > 3);
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.starts_with(&format!("{recommended} workers: the smallest size")), "{reason}");
}

#[test]
fn a_server_under_load_is_watched_and_its_size_advised() {
    let server = Daemon::serve(&BUSY);
    let metrics = server.metrics.unwrap().to_string();
    let report = poisson(server.service, RATE, || {
        report(&["--metrics", &metrics, "--window", "6s", "--target-wait", "2ms"])
    });
    is_sane(&report);
    assert!(report["load"]["messages"].as_u64().unwrap() > 1000);
    assert!(report["load"]["arrival_cv2"].as_f64().unwrap() < 10.0, "{report:#}");
    assert!(report["measured"]["wait_seconds"]["p99"].is_number(), "{report:#}");
    assert!(report["load"]["cpu_seconds"].as_f64().unwrap() > 0.0, "{report:#}");
    assert_eq!(report["target"]["wait_seconds"], 0.002);
}

#[test]
fn more_than_a_pool_can_do_makes_the_size_a_lower_bound() {
    let server = Daemon::serve(&[&["--workers", "2"], &BUSY[2..]].concat());
    let metrics = server.metrics.unwrap().to_string();
    let report =
        poisson(server.service, 2.0 * RATE, || report(&["--metrics", &metrics, "--window", "5s"]));
    assert!(report["recommended_workers"].as_u64().unwrap() > 2, "{report:#}");
    assert!(report["warnings"].to_string().contains("lower bound"), "{report:#}");
    assert_eq!(report["predicted"]["wait_seconds"], Value::Null, "{report:#}");
}

#[test]
fn clients_that_wait_for_their_replies_are_no_open_load() {
    let server = Daemon::serve(&BUSY);
    let metrics = server.metrics.unwrap().to_string();
    let over = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.connect();
                client.expect("Welcome!");
                while !over.load(Ordering::Relaxed) {
                    talk(&mut client, &["Ann"]);
                }
            });
        }
        let output = advise(&["--metrics", &metrics, "--window", "4s"]);
        over.store(true, Ordering::Relaxed);
        output
    });
    // That nothing can be predicted is advice, too.
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains("\nThe 8 clients wait for their replies (a closed loop)"), "{said}");
    assert!(said.contains("4 workers, "), "{said}");
}

#[test]
fn without_anything_to_go_by_it_fails_and_says_why() {
    let server = Daemon::serve(&[]);
    let metrics = server.metrics.unwrap();
    let fails = |arguments: &[&str], code: i32, why: &str| {
        let output = advise(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(why), "{said}");
    };
    let address = metrics.to_string();
    let watch = |url: &str, why: &str| fails(&["--metrics", url, "--window", "2s"], 1, why);
    watch(&address, "there is no advice: no messages arrived");
    watch(&format!("{address}/healthz"), "is not the metrics of a welcomed server");
    watch(&format!("{address}/nowhere"), "404");
    let past = ["--prometheus", &address, "--instance", "a"];
    let many = ["--range", "30d", "--step", "1m"];
    fails(&[&past[..], &many].concat(), 1, "--range has 43200 steps; Prometheus allows");
    // A server that answers, and not as a Prometheus.
    let page = serve("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>");
    fails(
        &["--prometheus", &page, "--instance", "a"],
        1,
        "does not answer as Prometheus does: <html>",
    );
    let window = Duration::from_secs(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.connect();
            client.expect("Welcome!");
            let began = Instant::now();
            while began.elapsed() < window + Duration::from_secs(1) {
                talk(&mut client, &["Ann"]);
                thread::sleep(Duration::from_millis(100)); // a client's pace
            }
        });
        watch(&address, "messages were seen, 1000 are needed");
    });
    assert!(server.stop().0.success());
    watch(&address, "refused");
    fails(&["--prometheus", &address], 2, "--instance");
    fails(&["--window", "0s"], 2, "allowed are 2s");
    fails(&["--range", "1h"], 2, "--prometheus");
    let past = ["--prometheus", &address, "--instance", "a"];
    fails(&past, 1, "refused");
}

#[test]
fn the_busiest_stretch_of_a_prometheus_decides() {
    let server = Daemon::serve(&BUSY);
    let metrics = server.metrics.unwrap();
    let Some(prometheus) = Prometheus::start(&[metrics]) else { return };
    let url = format!("http://{}", prometheus.address);
    let instance = metrics.to_string();
    let past = |range: &str, step: &str| {
        let which = ["--prometheus", &url, "--instance", &instance, "--cores", "2"];
        [&which[..], &["--range", range, "--step", step]].concat().join(" ")
    };
    let ask = |arguments: &str, more: &[&str]| {
        advise(&[&arguments.split(' ').collect::<Vec<_>>()[..], more].concat())
    };
    let arguments = past("10m", "10s");
    let report = poisson(server.service, RATE, || {
        let began = Instant::now();
        // Until a whole stretch of this load has been scraped.
        prometheus.until("a busy stretch is known", |_| {
            if began.elapsed() < Duration::from_secs(12) {
                return false;
            }
            let output = ask(&arguments, &["--json"]);
            let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            report["load"]["messages"].as_f64().is_some_and(|it| it > RATE * 10.0 * 0.75)
        });
        ask(&arguments, &["--json"])
    });
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    is_sane(&report);
    assert!(report["measured"]["wait_seconds"]["p99"].is_number(), "{report:#}");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("Poisson"), "{warnings}");
    let stretches = report["stretches"].as_array().unwrap();
    assert!(stretches.iter().any(|it| it["end"] == report["load"]["end"]), "{report:#}");
    // An hour of which Prometheus knows the last minute is no quiet hour.
    let hour = ask(&past("1h", "1h"), &["--json"]);
    let hour: Value = serde_json::from_slice(&hour.stdout).unwrap();
    assert!(hour["load"]["seconds"].as_f64().unwrap() < 600.0, "{hour:#}");
    let output = ask(&arguments, &["--target-p99", "1s"]);
    let said = text(&output.stdout);
    assert!(said.contains("<- busiest") && said.contains("<- recommended"), "{said}");

    let unknown = ["--prometheus", &url, "--instance", "\"} or up{a=\"", "--range", "1m"];
    let output = advise(&unknown);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("knows of no messages"), "{}", text(&output.stderr));
}

/// The page's number and the gauge are the same advice, for the last half minute.
#[test]
fn the_page_and_the_gauge_recommend_once_they_have_seen_enough() {
    let server = Daemon::serve(&BUSY);
    let metrics = server.metrics.unwrap();
    let gauge = || {
        let page = get(metrics, "/metrics").1;
        let line = page.lines().find(|it| it.starts_with("welcomed_pool_recommended_workers "));
        line.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
    };
    let verdict = || -> Value {
        serde_json::from_str::<Value>(&get(metrics, "/status").1).unwrap()["verdict"].clone()
    };
    assert_eq!((gauge(), &verdict()["recommended_workers"]), (None, &Value::Null));
    poisson(server.service, RATE, || {
        eventually("there is a recommendation", || gauge().is_some());
        let verdict = verdict();
        let recommended = verdict["recommended_workers"].as_u64().unwrap();
        assert!((3..=8).contains(&recommended), "{verdict}");
        let reason = verdict["reason"].as_str().unwrap();
        assert!(reason.starts_with(&format!("{recommended} workers: ")), "{verdict}");
    });
}
