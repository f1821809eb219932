//! Clients that are slow, rude or gone.

use super::base::{Patient, reset_client};
use super::relay::{Weather, relay};
use crate::support::{Client, eventually, talk};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Memory that a fault may leave behind or take: buffers of workers, pages of the allocator.
pub const SLACK: usize = 24 << 20;

#[test]
fn half_a_message_is_closed_at_its_deadline_and_holds_no_worker() {
    let deadline = Duration::from_millis(600);
    let server = Patient::with("[timeouts]\nmessage = \"600ms\"\n", &["--workers", "1"]);
    let mut half = server.connect();
    half.expect("Welcome!");
    let sent = Instant::now();
    half.send("An");
    let mut other = server.connect();
    other.expect("Welcome!");
    talk(&mut other, &["served", "meanwhile"]);
    assert_eq!(half.rest(), "");
    let took = sent.elapsed();
    eprintln!("closed after {took:?} of {deadline:?}");
    assert!(took >= deadline - deadline / 10, "closed after {took:?}");
    // Not by another deadline, the next of which is 10 s.
    assert!(took < Duration::from_secs(5), "closed after {took:?}");
    drop((half, other));
    server.until("welcomed_connections_closed_total{reason=\"read_timeout\"}", 1.0);
    server.is_restored();
}

/// Bytes keep coming from 200 clients, and never a whole message: the deadline does not move, and
/// an honest client does not notice. `long::slow_senders` has 5,000.
#[test]
fn clients_that_drip_are_closed_at_their_deadline() {
    const CLIENTS: usize = 200;
    let server = Patient::with("[timeouts]\nmessage = \"700ms\"\n", &["--workers", "2"]);
    let mut drips: Vec<TcpStream> = (0..CLIENTS).map(|_| server.connect().socket).collect();
    let mut honest = server.connect();
    honest.expect("Welcome!");
    eventually("all are closed although bytes come", || {
        for drip in &mut drips {
            // One that is closed answers with a reset, later.
            drip.write_all(b"x").ok();
        }
        talk(&mut honest, &["not", "disturbed"]);
        let samples = server.scrape();
        samples["welcomed_connections_closed_total{reason=\"read_timeout\"}"] == CLIENTS as f64
    });
    drop((honest, drips));
    server.is_restored();
}

/// Sends a line that never ends, until the server has had enough; says how much that was.
pub fn endless_line(server: &Patient, most: usize) -> usize {
    let mut client = server.connect();
    client.expect("Welcome!");
    let mut sender = client.socket.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let (piece, mut sent) = ([b'a'; 64 << 10], 0);
        // It ends with a reset, when the server no longer reads even to throw away.
        while sent < most && sender.write_all(&piece).is_ok() {
            sent += piece.len();
        }
        sent
    });
    client.expect("Message too long (limit 65536 bytes).");
    // The stream's end comes before the reset.
    assert_eq!(client.line(), "");
    let sent = sending.join().unwrap();
    client.reader.read_to_end(&mut Vec::new()).ok();
    sent
}

#[test]
fn a_line_without_end_is_an_error_at_the_limit_and_takes_no_memory() {
    let server = Patient::new("");
    endless_line(&server, 64 << 20);
    let before = server.memory("VmHWM:");
    let sent: usize = (0..8).map(|_| endless_line(&server, 64 << 20)).sum();
    let grown = server.memory("VmHWM:") - before;
    eprintln!("{sent} bytes sent, {grown} bytes more memory");
    assert!(grown < SLACK, "{grown} bytes");
    assert_eq!(server.scrape()["welcomed_message_errors_total{reason=\"too_large\"}"], 9.0);
    server.is_restored();
}

/// A million messages are sent, or as many as fit, and no reply is read.
#[test]
fn a_client_that_reads_no_replies_is_held_back_and_cut() {
    let server = Patient::with("[timeouts]\nwrite = \"1s\"\n", &["--workers", "2"]);
    let before = server.memory("VmHWM:");
    let deaf = server.connect();
    let mut sender = deaf.socket.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let thousand = "a message of some length, so that it does not take long\n".repeat(1000);
        (0..1000).take_while(|_| sender.write_all(thousand.as_bytes()).is_ok()).count()
    });
    let mut honest = server.connect();
    honest.expect("Welcome!");
    eventually("it is cut", || {
        talk(&mut honest, &["not", "disturbed"]);
        server.scrape()["welcomed_connections_closed_total{reason=\"write_timeout\"}"] == 1.0
    });
    drop((deaf, honest));
    let thousands = sending.join().unwrap();
    let grown = server.memory("VmHWM:") - before;
    eprintln!("held back after {thousands} thousand messages, {grown} bytes more memory");
    assert!(thousands < 1000 && grown < SLACK, "{thousands} thousand, {grown} bytes");
    server.is_restored();
}

/// A full socket has room for more long before the poller says so.
#[test]
fn a_client_that_reads_slowly_and_steadily_is_not_cut() {
    const SENT: usize = 100;
    let config = "[timeouts]\nwrite = \"1s\"\n[service]\nmax_message = \"128KiB\"\n";
    let server = Patient::with(config, &["--service", "echo"]);
    let mut client = server.connect();
    let mut sender = client.socket.try_clone().unwrap();
    let message = [&[b'x'; 65_535][..], b"\n"].concat();
    let sending =
        thread::spawn(move || (0..SENT).for_each(|_| sender.write_all(&message).unwrap()));
    // Four times as long as what it has not read may be unsent without progress.
    let (began, mut read, mut some) = (Instant::now(), 0, [0; 16 << 10]);
    while began.elapsed() < Duration::from_secs(4) {
        read += client.reader.read(&mut some).unwrap();
        thread::sleep(Duration::from_millis(25));
    }
    assert!(read < SENT << 15, "it was to be slow, and has read {read} bytes");
    while read < SENT << 16 {
        read += client.reader.read(&mut some).unwrap();
    }
    sending.join().unwrap();
    drop(client);
    server.is_restored();
}

#[test]
fn a_client_that_ends_its_side_gets_what_it_is_owed() {
    for delay in ["0s", "20ms", "200ms"] {
        let server = Patient::with("", &["--work-delay", delay]);
        let mut client = server.connect();
        client.send("a\nb\nc\n").finish();
        assert_eq!(client.rest(), "Welcome!\nHello, a!\nHello, b!\nHello, c!\n", "{delay}");
        drop(client);
        server.is_restored();
    }
}

#[test]
fn a_reset_while_the_handler_runs_costs_its_result_alone() {
    let config = "[log]\nlevel = \"debug\"\n";
    let arguments = ["--work-delay", "2s", "--max-connections", "1", "--workers", "1"];
    let server = Patient::with(config, &arguments);
    let mut client = server.connect();
    client.expect("Welcome!").send("Ann\n");
    server.until("welcomed_connections{state=\"active\"}", 1.0);
    reset_client(client);
    server.until("welcomed_connections_closed_total{reason=\"io_error\"}", 1.0);
    eventually("its end is in the log", || server.log().contains("reason=io_error"));
    let log = server.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let mut next = server.connect();
    next.expect("Welcome!");
    talk(&mut next, &["the place is free"]);
    drop(next);
    server.is_restored();
}

/// 64 KiB are still on their way, 50 ms long, when the server closes: no reply may be lost.
#[test]
fn what_comes_after_exit_costs_no_reply_over_a_slow_network() {
    const CLIENTS: usize = 100;
    let server = Patient::new("");
    let weather = Weather { delay: Duration::from_millis(50), piece: 1460 };
    let address = relay(server.service, weather, CLIENTS);
    let talk = |client: usize| {
        let mut connection = Client::connect(address);
        connection.send("a\nb\nexit\n");
        connection.send(vec![b'x'; 64 << 10]);
        assert_eq!(connection.rest(), "Welcome!\nHello, a!\nHello, b!\n", "client {client}");
    };
    thread::scope(|scope| {
        for group in 0..10 {
            scope.spawn(move || (group * 10..group * 10 + 10).for_each(talk));
        }
    });
    server.until("welcomed_connections_closed_total{reason=\"exit\"}", CLIENTS as f64);
    server.is_restored();
}

/// As a balancer's health check does.
#[test]
fn probes_that_connect_and_close_hold_no_worker_and_fill_no_log() {
    const PROBES: usize = 1000;
    let server = Patient::with("", &["--workers", "1"]);
    let mut honest = server.connect();
    honest.expect("Welcome!");
    let before = server.log();
    for probe in 0..PROBES {
        drop(TcpStream::connect(server.service).unwrap());
        if probe % 100 == 0 {
            talk(&mut honest, &["not disturbed"]);
        }
    }
    server.until("welcomed_connections_accepted_total{listener=\"127.0.0.1:0\"}", 1001.0);
    drop(honest);
    server.is_restored();
    assert_eq!(server.log(), before);
}
