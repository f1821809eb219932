//! The side endpoint under attack: the service does not notice, and the next scrape is right.
//! What heads it refuses: `endpoint::hostile_heads_...`.

use super::base::{Patient, limit_files, reset_client};
use super::clients::SLACK;
use crate::endpoint::get;
use crate::support::{Client, PATIENCE, eventually, talk};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The endpoint's connections, and as many that it is closing.
const MOST: usize = 2 * 64 + 8;

#[test]
fn a_crowd_at_the_endpoint_is_bounded_and_the_service_does_not_notice() {
    crowd(400);
}

#[test]
#[ignore = "10,000 connections, takes a minute: see faults.rs"]
fn ten_thousand_connections_at_the_endpoint() {
    crowd(10_000);
}

/// Heads that never end, and answers that are never read, from so many connections. What that
/// costs the service is told apart from what it costs the machine by the same crowd at another
/// server.
fn crowd(connections: usize) {
    // A place for each in this process too.
    limit_files(std::process::id(), 20000);
    let server = Patient::with("", &["--workers", "2"]);
    let (files, threads) = (server.files(), server.threads());
    let mut honest = server.connect();
    honest.expect("Welcome!");
    let other = Patient::new("");
    let (_, elsewhere) = beside(&mut honest, connections, other.metrics.unwrap(), || ());
    let metrics = server.metrics.unwrap();
    let (held, here) = beside(&mut honest, connections, metrics, || {
        let now = (server.files(), server.threads());
        assert!(now.0 <= files + MOST, "{} files, {files} before", now.0);
        assert!(now.1 <= threads, "{} threads, {threads} before", now.1);
    });
    drop(held);
    let gone = Instant::now();
    // While the crowd is being closed there may be no place yet.
    eventually("a scrape", || get(metrics, "/metrics").0 == 200);
    let after = gone.elapsed();
    eprintln!("p99 of the service {elsewhere:?} and {here:?}; a scrape {after:?} after");
    assert!(after < Duration::from_secs(5), "{after:?}");
    drop(honest);
    server.is_restored();
    other.is_restored();
}

/// The 99th percentile of an honest client's messages, while a crowd comes to `metrics`.
fn beside(
    honest: &mut Client,
    connections: usize,
    metrics: SocketAddr,
    check: impl Fn(),
) -> (Vec<TcpStream>, Duration) {
    thread::scope(|scope| {
        let crowd = scope.spawn(move || {
            let mut held = Vec::new();
            for number in 0..connections {
                let mut socket = TcpStream::connect_timeout(&metrics, PATIENCE).unwrap();
                let head = match number % 2 {
                    0 => "GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: ",
                    _ => &"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20),
                };
                // One that is refused may be closed already.
                socket.write_all(head.as_bytes()).ok();
                held.push(socket);
                thread::sleep(Duration::from_millis(1)); // a thousand a second
            }
            held
        });
        let mut times = Vec::new();
        while !crowd.is_finished() {
            times.append(&mut latencies(honest, 200));
            check();
        }
        times.sort_unstable();
        (crowd.join().unwrap(), times[times.len() * 99 / 100])
    })
}

/// How long so many messages take.
fn latencies(client: &mut Client, messages: usize) -> Vec<Duration> {
    let time = |_| {
        let sent = Instant::now();
        talk(client, &["Ann"]);
        sent.elapsed()
    };
    (0..messages).map(time).collect()
}

/// One connection that sends this and its end: the answer's status, or nothing for a close.
fn answer(server: &Patient, request: &[u8]) -> Option<String> {
    let mut client = Client::connect(server.metrics.unwrap());
    client.socket.write_all(request).ok();
    let mut answer = Vec::new();
    // A reset after the answer is the end too; our own patience is none.
    if let Err(error) = client.reader.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).map(str::to_owned)
}

#[test]
fn requests_with_tricks_are_refused_and_the_next_scrape_is_right() {
    let server = Patient::new("");
    let before = server.memory("VmHWM:");
    let of = |lines: &str| format!("GET /metrics HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let refused = [
        // A body that is as long as nobody has memory, one that never comes, two lengths.
        of("Content-Length: 60000000000\r\n"),
        of("Content-Length: 18446744073709551616\r\n"),
        of("Content-Length: -1\r\n"),
        of("Content-Length: 5\r\n"),
        of("Content-Length: 5\r\nContent-Length: 6\r\n"),
        // The ways in which two servers in a row may differ about where a request ends.
        of("Transfer-Encoding: chunked\r\n"),
        of("Transfer-Encoding: xchunked\r\n"),
        of("Transfer-Encoding : chunked\r\n"),
        of("Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n"),
        of(" folded: yes\r\n"),
        of(&"X: y\r\n".repeat(1000)),
        of(&format!("X: {}\r\n", "y".repeat(100_000))),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(100_000)),
        "GET /metrics HTTP/9.9\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "\0\r\n\r\n".to_owned(),
        "\r\n\r\n\r\n\r\n".to_owned(),
    ];
    for request in refused {
        let status = answer(&server, request.as_bytes());
        let shown: String = request.chars().take(80).collect();
        let status = status.unwrap_or_else(|| "4xx".to_owned());
        assert!(status.starts_with('4') || status == "505", "{status} for {shown:?}");
    }
    assert_eq!(get(server.metrics.unwrap(), "/healthz").0, 200);
    let grown = server.memory("VmHWM:") - before;
    assert!(grown < SLACK, "{grown} bytes");
    server.is_restored();
}

#[test]
fn requests_whose_answers_nobody_reads_cost_nothing() {
    let server = Patient::new("");
    let metrics = server.metrics.unwrap();
    let thousand = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let before = server.memory("VmHWM:");
    let deaf: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = Client::connect(metrics);
            client.socket.set_nonblocking(true).unwrap();
            // As much as fits.
            client.socket.write_all(thousand.as_bytes()).ok();
            client
        })
        .collect();
    for _ in 0..100 {
        let mut gone = Client::connect(metrics);
        gone.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        reset_client(gone);
    }
    // The last of them may not be closed yet, and hold all 64 places.
    eventually("a scrape", || get(metrics, "/metrics").0 == 200);
    let grown = server.memory("VmHWM:") - before;
    eprintln!("{grown} bytes more memory at most");
    assert!(grown < 2 * SLACK, "{grown} bytes");
    drop(deaf);
    server.is_restored();
}
