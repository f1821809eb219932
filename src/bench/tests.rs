//! The load generator against servers that do right, do wrong, and go away.

use super::{Error, Load, Mark, run};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Serves each client on a thread of its own; `answer` makes a line's reply, or hangs up.
fn server(answer: fn(usize, &str) -> Option<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            thread::spawn(move || serve(socket.unwrap(), answer));
        }
    });
    address
}

fn serve(mut socket: TcpStream, answer: fn(usize, &str) -> Option<String>) {
    let lines = BufReader::new(socket.try_clone().unwrap()).lines();
    socket.write_all(b"Welcome!\n").unwrap();
    for (count, line) in lines.map_while(Result::ok).enumerate() {
        match answer(count, &line) {
            // The client may be gone when the run is over.
            Some(reply) if socket.write_all(reply.as_bytes()).is_ok() => {}
            _ => return,
        }
    }
}

fn load(target: SocketAddr) -> Load {
    let (warm_up, duration) = (Duration::from_millis(20), Duration::from_millis(200));
    Load { target, connections: 3, in_flight: 4, warm_up, duration }
}

fn hello(_: usize, name: &str) -> Option<String> {
    Some(format!("Hello, {name}!\n"))
}

#[test]
fn right_replies_are_counted_and_timed() {
    let mut marks = Vec::new();
    let report = run(&load(server(hello)), |mark| marks.push(mark)).unwrap();
    assert_eq!((report.wrong, report.lost), (0, 0));
    assert!(report.messages > 0 && report.throughput() > 0.0);
    assert!(report.latency(0.5) <= report.latency(0.99));
    assert!(report.latency(0.5) > Duration::ZERO);
    assert_eq!(marks, [Mark::Begins, Mark::Ends]);
}

#[test]
fn a_wrong_reply_is_seen() {
    let address = server(|count, name| {
        let name = if count == 7 { "somebody else" } else { name };
        Some(format!("Hello, {:.12}!\n", name))
    });
    let report = run(&load(address), |_| ()).unwrap();
    assert_eq!(report.wrong, 3, "one on each connection");
}

#[test]
fn a_server_that_hangs_up_is_told_from_one_that_answers() {
    let outcome = run(&load(server(|_, _| None)), |_| ());
    assert!(matches!(outcome, Err(Error::Silent)), "{outcome:?}");
}

#[test]
fn nothing_but_loopback_is_loaded() {
    let outcome = run(&load("192.0.2.1:9999".parse().unwrap()), |_| ());
    assert!(matches!(outcome, Err(Error::NotLoopback(_))), "{outcome:?}");
}
