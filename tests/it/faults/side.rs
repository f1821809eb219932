//! The side endpoint under attack: the service does not notice, and the next scrape is right.
//! What heads it refuses: `endpoint::hostile_heads_...`.

use super::base::{Patient, reset_client};
use super::clients::SLACK;
use crate::endpoint::get;
use crate::support::{Client, PATIENCE, eventually, talk};
use std::io::{Read, Write};
use std::net::TcpStream;
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

/// Heads that never end, and answers that are never read, from so many connections.
fn crowd(connections: usize) {
    let server = Patient::with("", &["--workers", "2"]);
    let (files, threads) = (server.files(), server.threads());
    let mut honest = server.connect();
    honest.expect("Welcome!");
    let calm = latency(&mut honest, 2000);
    let metrics = server.metrics.unwrap();
    let (held, crowded) = thread::scope(|scope| {
        let crowd = scope.spawn(|| {
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
                // The process of the test has a limit of its own.
                held.drain(..held.len().saturating_sub(2000));
            }
            held
        });
        let mut slowest = Duration::ZERO;
        while !crowd.is_finished() {
            slowest = slowest.max(latency(&mut honest, 200));
            let now = (server.files(), server.threads());
            assert!(now.0 <= files + MOST, "{} files, {files} before", now.0);
            assert!(now.1 <= threads, "{} threads, {threads} before", now.1);
        }
        (crowd.join().unwrap(), slowest)
    });
    drop(held);
    let gone = Instant::now();
    eventually("a scrape", || {
        let mut client = Client::connect(metrics);
        // While the crowd is being closed there may be no place yet.
        client.socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok();
        let mut answer = String::new();
        client.reader.read_to_string(&mut answer).ok();
        answer.starts_with("HTTP/1.") && answer.contains("welcomed_connections_limit 10000")
    });
    eprintln!(
        "p99 of the service {calm:?} before, at most {crowded:?} meanwhile; a scrape {:?} after",
        gone.elapsed()
    );
    drop(honest);
    server.is_restored();
}

/// The 99th percentile of so many messages' times.
fn latency(client: &mut Client, messages: usize) -> Duration {
    let mut times: Vec<Duration> = (0..messages)
        .map(|_| {
            let sent = Instant::now();
            talk(client, &["Ann"]);
            sent.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[messages * 99 / 100]
}

/// One connection that sends this and its end: the answer's status, or nothing for a close.
fn answer(server: &Patient, request: &[u8]) -> Option<String> {
    let mut client = Client::connect(server.metrics.unwrap());
    client.socket.write_all(request).ok();
    let mut answer = Vec::new();
    client.reader.read_to_end(&mut answer).ok();
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
