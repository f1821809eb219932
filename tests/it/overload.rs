//! More clients than the server wants: by number, by address, by network, by time in the queue.

use crate::services::Gate;
use crate::support::{Client, PATIENCE, TestServer, count, eventually, short, talk};
use crossbeam_channel::bounded;
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};
use welcomed::protocol::Framing;
use welcomed::server::{Options, Overload, Server};
use welcomed::service::{Delayed, Hello};

const BUSY: &str = "Busy, try again later.\n";

fn options(workers: usize) -> Options {
    Options { workers, framing: Framing::Line, ..Options::default() }
}

/// A client with an address of its own; all of 127.0.0.0/8 is this machine.
fn connect_from(source: &str, server: SocketAddr) -> Client {
    let source: IpAddr = source.parse().unwrap();
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect_timeout(&server.into(), PATIENCE).unwrap();
    Client::of(socket.into())
}

#[test]
fn ipv6_clients_are_counted_by_their_network() {
    let options = Options { max_connections_per_ip: Some(1), ..options(1) };
    let server = Server::builder().options(options).listen("[::1]:0").unwrap();
    let server = TestServer::run(server.build(Hello).unwrap());
    let mut first = server.connect();
    first.expect("Welcome!");
    assert_eq!(server.connect().rest(), BUSY);
    talk(&mut first, &["Ann"]);
}

#[test]
fn networks_are_let_in_and_kept_out() {
    let networks = |text: &str| vec![text.parse().unwrap()];
    let lists =
        Options { allow: networks("127.0.0.0/24"), deny: networks("127.0.0.8/29"), ..options(1) };
    let server = TestServer::start(lists, Hello);
    for (source, welcome) in [("127.0.0.7", true), ("127.0.0.9", false), ("127.0.1.1", false)] {
        let mut client = connect_from(source, server.address());
        let line = client.line();
        assert_eq!(line, if welcome { "Welcome!\n" } else { "" }, "{source}");
    }
    assert_eq!(count(&server.stats().rejected, "denied"), 2);
}

#[test]
fn those_who_wait_get_their_turn_and_nobody_is_refused() {
    const CLIENTS: usize = 50;
    let wait = Options { max_connections: 5, overload: Overload::Wait, ..options(2) };
    let builder = Server::builder().options(wait).listen("127.0.0.1:0").unwrap();
    let server = builder.listen("127.0.0.1:0").unwrap().build(Hello).unwrap();
    let server = TestServer::run(server);
    let addresses = server.addresses();
    let talking: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let address = addresses[n % 2];
            thread::spawn(move || {
                let mut client = Client::connect(address);
                client.expect("Welcome!");
                talk(&mut client, &["Ann", "Bob"]);
                thread::sleep(short(5));
                assert_eq!(client.send("exit\n").rest(), "");
            })
        })
        .collect();
    let mut most = 0;
    while !talking.iter().all(thread::JoinHandle::is_finished) {
        let now = server.stats();
        most = most.max(now.parked + now.queued + now.active);
        thread::yield_now();
    }
    for client in talking {
        client.join().unwrap();
    }
    assert!(most <= 5, "{most} at a time");
    let stats = server.stats();
    assert_eq!(count(&stats.rejected, "max_connections"), 0);
    assert!(stats.accepted.iter().all(|one| one.accepted == CLIENTS as u64 / 2), "{stats:?}");
    assert!(count(&stats.accept_pauses, "limit") > 0);
    assert!(stats.accept_paused_seconds > 0.0);
    server.until("it accepts again", |stats| stats.open() == 0);
    let paused = server.stats().accept_paused_seconds;
    server.connect().expect("Welcome!");
    assert_eq!(server.stats().accept_paused_seconds, paused, "no pause any more");
}

/// A waiting client is let in even if nothing else ever happens.
#[test]
fn a_place_that_becomes_free_is_given_to_who_waits() {
    let wait = Options { max_connections: 1, overload: Overload::Wait, ..options(1) };
    let server = TestServer::start(wait, Hello);
    for _ in 0..200 {
        let mut first = server.connect();
        first.expect("Welcome!");
        let mut second = server.connect();
        drop(first);
        second.expect("Welcome!");
    }
}

#[test]
fn a_server_that_makes_clients_wait_still_drains() {
    let wait = Options { max_connections: 1, overload: Overload::Wait, ..options(1) };
    let server = TestServer::start(wait, Hello);
    let mut first = server.connect();
    first.expect("Welcome!");
    let mut waiting = server.connect();
    server.until("paused", |stats| count(&stats.accept_pauses, "limit") == 1);
    assert!(server.stop().is_clean());
    assert_eq!(first.rest(), "");
    assert_eq!(waiting.rest(), BUSY, "no reset for who was in the kernel's queue");
}

/// Ten times more work than the pool can do, from connections that send one message each.
#[test]
fn an_overloaded_pool_refuses_the_late_and_serves_the_others_in_time() {
    const LONGEST: u64 = 100;
    let shedding = Options { max_queue_wait: Some(short(LONGEST)), ..options(2) };
    let server = TestServer::start(shedding, Delayed::new(Hello, short(10)));
    let until = Instant::now() + Duration::from_secs(3);
    let address = server.address();
    let clients: Vec<_> = (0..200)
        .map(|_| {
            thread::spawn(move || {
                let (mut served, mut refused) = (0_u32, 0_u32);
                while Instant::now() < until {
                    let mut client = Client::connect(address);
                    match client.line().as_str() {
                        "Welcome!\n" => {}
                        line => {
                            assert_eq!(line, BUSY);
                            refused += 1;
                            continue;
                        }
                    }
                    client.send("Ann\n");
                    match client.line().as_str() {
                        "Hello, Ann!\n" => served += 1,
                        line => {
                            assert_eq!((line, client.rest().as_str()), (BUSY, ""));
                            refused += 1;
                        }
                    }
                }
                (served, refused)
            })
        })
        .collect();
    let outcomes: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let served: u32 = outcomes.iter().map(|(served, _)| served).sum();
    let refused: u32 = outcomes.iter().map(|(_, refused)| refused).sum();
    server.until("at rest", |stats| stats.open() == 0);
    let stats = server.stats();
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    assert_eq!(stats.queue_shed, u64::from(refused));
    // One that broke before it could read the refusal is closed for that reason.
    let closed = count(&stats.closed, "shed");
    assert!(closed > 0 && closed <= stats.queue_shed, "{stats:?}");
    // It goes on working: the workers' time went into calls, not into refusals.
    let calls = stats.handler_time.sum;
    assert!(calls > 0.1 * stats.worker_busy_seconds, "{calls} s of {}", stats.worker_busy_seconds);
    // And when the load is gone, nobody is refused.
    let mut client = server.connect();
    client.expect("Welcome!");
    talk(&mut client, &["Ann", "Bob"]);
}

#[test]
fn without_overload_nobody_is_refused_however_long_one_call_takes() {
    let (release, gate) = bounded::<()>(0);
    let shedding = Options { max_queue_wait: Some(short(10)), ..options(1) };
    let server = TestServer::start(shedding, Gate::new("wait", gate));
    let mut first = server.connect();
    first.send("wait\n");
    server.until("the worker is in a call", |stats| stats.active == 1);
    let mut others: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    for client in &mut others {
        client.send("a\n");
    }
    server.until("all wait", |stats| stats.queued == 20);
    // Far beyond the longest wait: but the queue was empty before, so this is a burst.
    let waiting_since = Instant::now();
    eventually("they have waited", || waiting_since.elapsed() > short(50));
    release.send(()).unwrap();
    first.expect("wait");
    for client in &mut others {
        client.expect("a");
    }
    assert_eq!(server.stats().queue_shed, 0);
}
