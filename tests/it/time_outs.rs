//! Reloads of time-outs: for those who wait already, talk, linger, or are in a call.

use crate::services::Gate;
use crate::support::{Client, TestServer, count, eventually, short, talk};
use crossbeam_channel::bounded;
use std::thread;
use std::time::{Duration, Instant};
use welcomed::protocol::Framing;
use welcomed::server::Options;
use welcomed::service::Hello;

fn options(workers: usize) -> Options {
    Options { workers, framing: Framing::Line, ..Options::default() }
}

#[test]
fn a_longer_time_out_is_a_reprieve() {
    let server = TestServer::start(Options { idle_timeout: short(2000), ..options(1) }, Hello);
    let mut client = server.connect();
    client.expect("Welcome!");
    server.until("parked", |stats| stats.parked == 1);
    server.handle.reload(options(1)).unwrap();
    let mut other = server.connect();
    other.expect("Welcome!");
    // A connection of the short time-out would be gone by the time one that came later is.
    let witness = TestServer::start(Options { idle_timeout: short(2500), ..options(1) }, Hello);
    assert_eq!(witness.connect().expect("Welcome!").rest(), "");
    talk(&mut client, &["still here"]);
}

/// A worker has the new options sooner than the accept loop, and parks by them.
#[test]
fn a_shorter_idle_time_cuts_nobody_who_talks() {
    let long = Options { max_connections: 300, ..options(2) };
    let brief = Options { idle_timeout: short(2000), ..long.clone() };
    let server = TestServer::start(long.clone(), Hello);
    let mut clients: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("Welcome!");
    }
    let until = Instant::now() + Duration::from_secs(4);
    thread::scope(|scope| {
        for group in clients.chunks_mut(100) {
            scope.spawn(move || {
                while Instant::now() < until {
                    for client in group.iter_mut() {
                        client.send("Ann\n");
                    }
                    for client in group.iter_mut() {
                        client.expect("Hello, Ann!");
                    }
                }
            });
        }
        while Instant::now() < until {
            server.handle.reload(brief.clone()).unwrap();
            server.handle.reload(long.clone()).unwrap();
            thread::sleep(short(10));
        }
    });
    assert_eq!(count(&server.stats().closed, "idle"), 0);
}

/// What a client has waited for already counts against its idle time, not against its age.
#[test]
fn a_new_age_is_reached_no_sooner_by_those_who_were_idle() {
    let server = TestServer::start(options(1), Hello);
    let began = Instant::now();
    let mut client = server.connect();
    client.expect("Welcome!");
    let witness = TestServer::start(Options { idle_timeout: short(500), ..options(1) }, Hello);
    assert_eq!(witness.connect().expect("Welcome!").rest(), "");
    server.handle.reload(Options { max_age: Some(short(1000)), ..options(1) }).unwrap();
    assert_eq!(client.rest(), "");
    // Ages are spread from 90 to 110 %.
    assert!(began.elapsed() >= short(900), "{:?}", began.elapsed());
    drop(client);
    server.until("for its age", |stats| count(&stats.closed, "max_age") == 1);
}

#[test]
fn a_shorter_linger_holds_for_sockets_that_linger_already() {
    let long = Options { linger_timeout: Duration::from_secs(3600), max_message: 3, ..options(1) };
    let server = TestServer::start(long.clone(), Hello);
    let mut client = server.connect();
    client.expect("Welcome!");
    assert_eq!(client.send("Michael").rest(), "Message too long (limit 3 bytes).\n");
    server.until("it lingers", |stats| stats.closing == 1);
    server.handle.reload(Options { linger_timeout: short(10), ..long }).unwrap();
    server.until("it is closed", |stats| stats.open() == 0);
}

#[test]
fn new_time_outs_hold_for_those_in_a_call_too() {
    let (release, gate) = bounded::<()>(0);
    let server = TestServer::start(options(2), Gate::new("wait", gate));
    let mut client = server.connect();
    client.send("wait\n");
    server.until("it is in its call", |stats| stats.workers_busy == 1);
    let shorter = Options { idle_timeout: short(300), ..server.handle.options() };
    server.handle.reload(shorter).unwrap();
    // The accept loop has taken the options when it answers.
    let asked = server.handle.ping();
    eventually("the options are taken", || server.handle.pong() >= asked);
    release.send(()).unwrap();
    client.expect("wait");
    server.until("it is closed", |stats| count(&stats.closed, "idle") == 1);
    assert_eq!(client.rest(), "");
}
