//! The side endpoint over real sockets: what Prometheus and a probe see, and what an attacker
//! gets.

use crate::services::Gate;
use crate::support::{CleanEnv, Client, Daemon, PATIENCE, TestServer, eventually, talk, tcp};
use crossbeam_channel::bounded;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;
use welcomed::endpoint::{SideEndpoint, endpoint};
use welcomed::protocol::Framing;
use welcomed::server::{Listener, Options};
use welcomed::service::Hello;

/// One request on a connection of its own: status and body.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut client = Client::connect(address);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
    let answer = client.rest();
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The samples of `/metrics`, by name and labels.
pub fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let (status, body) = get(address, "/metrics");
    assert_eq!(status, 200);
    samples(&body)
}

/// As [`scrape`], on a connection that stays open.
fn scrape_again(client: &mut Client) -> BTreeMap<String, f64> {
    client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").expect("HTTP/1.1 200 OK\r");
    let mut length = 0;
    loop {
        let line = client.line();
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = String::new();
    while body.len() < length {
        body += &client.line();
    }
    samples(&body)
}

fn samples(body: &str) -> BTreeMap<String, f64> {
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn the_counters_agree_with_what_the_clients_did() {
    let server = Daemon::serve(&["--framing", "line", "--workers", "3"]);
    let metrics = server.metrics.unwrap();
    let before = scrape(metrics);
    for (name, value) in &before {
        let levels = [
            "scrape_duration",
            "process_",
            "_limit",
            "_info",
            "welcomed_workers",
            "welcomed_ready",
            "welcomed_config_last_reload",
            "welcomed_log_messages_total{level=\"info\"}", // it has said that it starts
        ];
        let level = levels.iter().any(|level| name.contains(level));
        // A worker that has just started has been busy for some microseconds.
        let zero = *value == 0.0 || name.contains("busy_seconds") && *value < 1.0;
        assert!(level || zero, "{name} is {value} before the first client");
    }
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("Welcome!");
        talk(client, &["Ann", "Bob"]);
    }
    assert_eq!(clients.pop().unwrap().send("exit\n").rest(), "");
    let at_rest = |samples: &BTreeMap<String, f64>| {
        samples["welcomed_connections_closed_total{reason=\"exit\"}"] == 1.0
            && samples["welcomed_connections{state=\"parked\"}"] == 4.0
    };
    eventually("the counters are at rest", || at_rest(&scrape(metrics)));
    let after = scrape(metrics);
    let expected = [
        ("welcomed_workers", 3.0),
        ("welcomed_workers_limit", 3.0),
        ("welcomed_workers_busy", 0.0),
        ("welcomed_connections_limit", 10_000.0),
        ("welcomed_connections_accepted_total{listener=\"127.0.0.1:0\"}", 5.0),
        ("welcomed_connections_closed_total{reason=\"client\"}", 0.0),
        ("welcomed_connections_rejected_total{reason=\"max_connections\"}", 0.0),
        ("welcomed_connections{state=\"queued\"}", 0.0),
        ("welcomed_connections{state=\"active\"}", 0.0),
        ("welcomed_connections{state=\"closing\"}", 0.0),
        ("welcomed_messages_total", 11.0),
        ("welcomed_received_bytes_total", 5.0 * 8.0 + 5.0),
        ("welcomed_sent_bytes_total", 5.0 * (9.0 + 2.0 * 12.0)),
        ("welcomed_handler_panics_total", 0.0),
        ("welcomed_message_errors_total{reason=\"panic\"}", 0.0),
    ];
    for (name, value) in expected {
        assert_eq!(after.get(name), Some(&value), "{name}");
    }
    assert!(after["process_threads"] >= 3.0);
    assert!(after["process_open_fds"] >= 4.0);
}

#[test]
fn it_answers_while_every_worker_of_the_service_is_blocked() {
    let (release, gate) = bounded::<()>(0);
    let options = Options { workers: 1, framing: Framing::Line, ..Options::default() };
    let server = TestServer::start(options, Gate::new("wait", gate));
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let endpoint = SideEndpoint::start(listener, &server.handle).unwrap();
    let address = tcp(endpoint.local_addr());
    let mut blocked = server.connect();
    blocked.send("wait\n");
    let waiting = server.connect();
    eventually("the pool is full and a connection waits", || {
        let samples = scrape(address);
        samples["welcomed_workers_busy"] == 1.0
            && samples["welcomed_connections{state=\"queued\"}"] == 1.0
    });
    assert_eq!(get(address, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/readyz"), (200, "ok\n".to_owned()));
    server.handle.stop();
    eventually("not ready", || get(address, "/readyz").0 == 503);
    assert_eq!(get(address, "/readyz").1, "not ready: draining\n");
    assert_eq!(get(address, "/healthz").0, 200);
    release.send(()).unwrap();
    drop(waiting);
    blocked.expect("wait");
}

#[test]
fn with_a_list_of_networks_others_get_403() {
    let service = TestServer::start(Options::default(), Hello);
    for (allowed, status) in [("127.0.0.0/8", 200), ("127.0.0.2", 403), ("10.0.0.0/8", 403)] {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let networks = vec![allowed.parse().unwrap()];
        let endpoint = endpoint(&service.handle).unwrap().allow(networks);
        let running = SideEndpoint::serve(listener, endpoint).unwrap();
        let address = tcp(running.local_addr());
        for path in ["/metrics", "/healthz", "/nowhere"] {
            let expected = if path == "/nowhere" && status == 200 { 404 } else { status };
            assert_eq!(get(address, path).0, expected, "{path} for {allowed}");
        }
    }
}

#[test]
fn the_endpoint_counts_its_own_requests() {
    let server = Daemon::serve(&[]);
    let metrics = server.metrics.unwrap();
    // When it answers a client, it is ready.
    server.connect().expect("Welcome!");
    let first = scrape(metrics);
    assert_eq!(first["welcomed_admin_requests_total{path=\"/metrics\",code=\"2xx\"}"], 0.0);
    assert_eq!(get(metrics, "/nowhere").0, 404);
    assert_eq!(get(metrics, "/-/ready").0, 200);
    Client::connect(metrics).send("nonsense\r\n\r\n").rest();
    let second = scrape(metrics);
    let moved = [
        ("welcomed_admin_requests_total{path=\"/metrics\",code=\"2xx\"}", 1.0),
        ("welcomed_admin_requests_total{path=\"other\",code=\"4xx\"}", 1.0),
        ("welcomed_admin_requests_total{path=\"/readyz\",code=\"2xx\"}", 1.0),
        ("welcomed_admin_rejected_total{reason=\"malformed\"}", 1.0),
        ("welcomed_admin_rejected_total{reason=\"auth\"}", 0.0),
    ];
    for (name, value) in moved {
        assert_eq!(second[name], value, "{name}");
    }
    assert!(second["welcomed_scrape_duration_seconds"] > 0.0);
    assert!(second.keys().any(|name| name.starts_with("welcomed_config_info{hash=")));
}

/// The machine has no descriptors left: accepting pauses, everything else goes on, and when there
/// are some again the clients that waited are served.
#[test]
fn without_descriptors_accepting_pauses_and_nothing_else() {
    // Two listeners, which are both ready when there are none: the pause is of both.
    let server = Daemon::serve(&["--framing", "line", "--listen", "127.0.0.1:0"]);
    let metrics = server.metrics.unwrap();
    let mut old = server.connect();
    old.expect("Welcome!");
    // A scraper's connection that stays, so that it needs no descriptor later.
    let mut scraper = Client::connect(metrics);
    let limit = |files: usize| {
        let (pid, files) = (server.pid().to_string(), format!("--nofile={files}:20000"));
        assert!(Command::new("prlimit").args(["--pid", &pid, &files]).status().unwrap().success());
    };
    assert_eq!(scrape_again(&mut scraper)["welcomed_accept_pauses_total{cause=\"fd\"}"], 0.0);
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    limit(files + 2);
    let both = [server.service, server.others[0]];
    let mut clients: Vec<Client> =
        (0..16).map(|number| Client::connect(both[number % 2])).collect();
    eventually("accepting pauses", || {
        scrape_again(&mut scraper)["welcomed_accept_pauses_total{cause=\"fd\"}"] > 0.0
    });
    talk(&mut old, &["still", "served"]);
    limit(20000);
    for client in &mut clients {
        client.expect("Welcome!");
    }
    let samples = scrape(metrics);
    assert!(samples["welcomed_accept_errors_total{code=\"emfile\"}"] >= 1.0);
    assert!(samples["welcomed_accept_pauses_total{cause=\"fd\"}"] >= 1.0);
    let paused = samples["welcomed_accept_paused_seconds_total"];
    assert!(paused > 0.05 && paused < PATIENCE.as_secs_f64(), "{paused}");
    assert_eq!(samples["welcomed_accept_errors_total{code=\"other\"}"], 0.0);
}

/// A collector that hands out what no text can be made of.
struct Broken(prometheus::core::Desc);

impl prometheus::core::Collector for Broken {
    fn desc(&self) -> Vec<&prometheus::core::Desc> {
        vec![&self.0]
    }

    fn collect(&self) -> Vec<prometheus::proto::MetricFamily> {
        let mut family = prometheus::proto::MetricFamily::default();
        family.set_metric(vec![prometheus::proto::Metric::default()]);
        vec![family]
    }
}

#[test]
fn a_collector_that_fails_is_counted_and_the_rest_goes_on() {
    let service = TestServer::start(Options::default(), Hello);
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let endpoint = endpoint(&service.handle).unwrap();
    let registry = endpoint.registry().clone();
    let desc = prometheus::core::Desc::new(
        "broken".to_owned(),
        "Broken.".to_owned(),
        Vec::new(),
        std::collections::HashMap::new(),
    )
    .unwrap();
    let broken = || Box::new(Broken(desc.clone()));
    registry.register(broken()).unwrap();
    let running = SideEndpoint::serve(listener, endpoint).unwrap();
    let address = tcp(running.local_addr());
    assert_eq!(get(address, "/metrics").0, 500);
    assert_eq!(get(address, "/healthz").0, 200);
    registry.unregister(broken()).unwrap();
    let samples = scrape(address);
    assert_eq!(samples["welcomed_scrape_errors_total"], 1.0);
    assert_eq!(samples["welcomed_admin_requests_total{path=\"/metrics\",code=\"5xx\"}"], 1.0);
}

#[test]
fn a_metrics_address_for_everyone_is_warned_about() {
    // Nothing can reach it from outside here; 0.0.0.0 says that it might.
    let arguments = ["--listen", "127.0.0.1:0", "--metrics-listen", "0.0.0.0:0"];
    for (allow, warned) in [(None, true), (Some("10.0.0.0/8"), false)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
        command.arg("serve").args(arguments).clean_env().stderr(Stdio::piped());
        command.envs(allow.map(|networks| ("WELCOMED_METRICS_ALLOW", networks)));
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("Waiting for connection...") {
            assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(said.contains("set metrics.allow to the networks"), warned, "{said}");
    }
}

#[test]
fn a_scraper_keeps_its_connection() {
    let server = Daemon::serve(&[]);
    let mut client = Client::connect(server.metrics.unwrap());
    for _ in 0..3 {
        client.send("GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").expect("HTTP/1.1 200 OK\r");
        while client.line() != "\r\n" {}
        client.expect("ok");
    }
}

#[test]
fn hostile_heads_are_refused_and_the_next_scrape_is_right() {
    let server = Daemon::serve(&[]);
    let metrics = server.metrics.unwrap();
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000));
    let cases = [
        ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000000\r\n\r\n", "413"),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "413"),
        ("\u{16}\u{3}\u{1}\n\n", "400"),
        ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        (endless.as_str(), "431"),
    ];
    for (head, status) in cases {
        let mut client = Client::connect(metrics);
        client.send(head);
        let answer = client.rest();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
    let pipelined = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let mut client = Client::connect(metrics);
    client.socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // It may be held back: the answers are not read.
    std::io::Write::write_all(&mut client.socket, pipelined.as_bytes()).ok();
    assert_eq!(scrape(metrics)["welcomed_connections_limit"], 10_000.0);
}

#[test]
fn a_connection_that_asks_nothing_is_closed() {
    let server = Daemon::serve(&[]);
    let mut silent = Client::connect(server.metrics.unwrap());
    let mut half = Client::connect(server.metrics.unwrap());
    half.send("GET / HTT");
    let asked = std::time::Instant::now();
    assert_eq!(silent.rest(), "");
    assert_eq!(half.rest(), "");
    assert!(asked.elapsed() < PATIENCE);
}
