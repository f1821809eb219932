//! Bounds and deadlines: what a client can do to the server, and what it gets for it.

use crate::services::{Gate, Obedient};
use crate::support::{Client, TestServer, count, eventually, short, talk};
use crossbeam_channel::bounded;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;
use welcomed::protocol::Framing;
use welcomed::server::{Listener, Options, Server};
use welcomed::service::{
    Context, Delayed, Echo, Flow, Hello, Refusal, Reply, Service, ServiceError,
};

/// Line framing and few workers.
fn options() -> Options {
    Options { workers: 2, framing: Framing::Line, ..Options::default() }
}

#[test]
fn above_max_connections_clients_read_the_refusal_and_the_end_of_the_stream() {
    let server = TestServer::start(Options { max_connections: 10, ..options() }, Hello);
    let mut admitted: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    for client in &mut admitted {
        client.expect("Welcome!");
    }
    for _ in 0..50 {
        let mut refused = server.connect();
        refused.send("unread input would make a plain close a reset\n");
        assert_eq!(refused.rest(), "Busy, try again later.\n");
    }
    assert_eq!(count(&server.stats().rejected, "max_connections"), 50);
    assert_eq!(admitted.pop().unwrap().send("exit\n").rest(), "");
    server.connect().expect("Welcome!");
    talk(&mut admitted[0], &["Ann"]);
}

#[test]
fn an_idle_connection_is_closed_and_a_talking_one_is_not() {
    let server = TestServer::start(Options { idle_timeout: short(300), ..options() }, Hello);
    let mut idle = server.connect();
    idle.expect("Welcome!");
    let mut talking = server.connect();
    talking.expect("Welcome!");
    while count(&server.stats().closed, "idle") == 0 {
        talk(&mut talking, &["Ann"]);
    }
    assert_eq!(idle.rest(), "");
    talk(&mut talking, &["still", "here"]);
}

/// More than are looked at in one turn of the accept loop.
#[test]
fn all_who_are_idle_at_once_are_closed() {
    const CLIENTS: usize = 1500;
    let server = TestServer::start(Options { max_connections: CLIENTS, ..options() }, Hello);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    server.until("all parked", |stats| stats.parked == CLIENTS as u64);
    server.handle.reload(Options { idle_timeout: short(1), ..server.handle.options() }).unwrap();
    for client in &mut clients {
        client.expect("Welcome!");
        assert_eq!(client.rest(), "");
    }
    drop(clients);
    server.until("for that", |stats| count(&stats.closed, "idle") == CLIENTS as u64);
}

#[test]
fn dripping_bytes_does_not_extend_a_messages_deadline() {
    let server = TestServer::start(Options { message_timeout: short(300), ..options() }, Hello);
    let mut client = server.connect();
    client.expect("Welcome!");
    talk(&mut client, &["a whole message first"]);
    let mut dripping = client.socket.try_clone().unwrap();
    let drips = thread::spawn(move || {
        // Fewer than `max_message`, and for far longer than the deadline.
        for _ in 0..30_000 {
            if dripping.write_all(b"x").is_err() {
                return true;
            }
            thread::sleep(short(1));
        }
        false
    });
    server.until("closed at the deadline", |stats| count(&stats.closed, "read_timeout") == 1);
    // It may have dripped into a socket that is gone: then this read is a reset.
    client.socket.read_to_end(&mut Vec::new()).ok();
    drop(client);
    assert!(drips.join().unwrap(), "closed although bytes kept coming");
}

#[test]
fn half_a_message_then_silence_holds_no_worker() {
    let options = Options { workers: 1, message_timeout: short(300), ..options() };
    let server = TestServer::start(options, Hello);
    let mut half = server.connect();
    half.expect("Welcome!");
    half.send("An");
    let mut other = server.connect();
    other.expect("Welcome!");
    talk(&mut other, &["served meanwhile"]);
    assert_eq!(half.rest(), "");
    server.until("closed", |stats| count(&stats.closed, "read_timeout") == 1);
}

#[test]
fn a_client_that_reads_nothing_is_held_back_and_then_cut() {
    let options = Options { write_timeout: short(500), ..options() };
    let server = TestServer::start(options, Echo);
    let mut deaf = server.connect();
    let line = [vec![b'x'; 999], vec![b'\n']].concat();
    deaf.socket.set_write_timeout(Some(short(200))).unwrap();
    let mut sent = 0_usize;
    while sent < 1 << 30 && deaf.socket.write_all(&line).is_ok() {
        sent += line.len();
    }
    assert!(sent < 1 << 30, "back-pressure reaches the client");
    let mut other = server.connect();
    other.send("honest\n").expect("honest");
    server.until("cut", |stats| count(&stats.closed, "write_timeout") == 1);
}

#[test]
fn a_slow_reader_gets_every_reply_in_order() {
    const LINES: usize = 20_000;
    let server = TestServer::start(options(), Echo);
    let mut client = server.connect();
    let mut sender = client.socket.try_clone().unwrap();
    let sending = thread::spawn(move || {
        for n in 0..LINES {
            // The replies alone are far more than the sockets' buffers hold.
            writeln!(sender, "{n:0500}").unwrap();
        }
        sender.shutdown(std::net::Shutdown::Write).unwrap();
    });
    // Nothing is read until the server has stopped reading.
    let seen = || server.stats().received_bytes;
    let mut last = seen();
    eventually("back-pressure", || {
        thread::sleep(short(50)); // a state that is the absence of change has no event
        std::mem::replace(&mut last, seen()) == seen() && last > 0
    });
    for n in 0..LINES {
        client.expect(&format!("{n:0500}"));
    }
    assert_eq!(client.rest(), "");
    sending.join().unwrap();
}

/// Says more than a socket takes, to a client that does not read.
struct Talker;

impl Service for Talker {
    fn call(
        &self,
        _: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        reply.push(&vec![b'x'; TALK]);
        Ok(if message == b"farewell" { Flow::Close } else { Flow::Continue })
    }
}

/// A reply of this length waits for room in any socket of ours.
const TALK: usize = 32 << 20;

fn talkative() -> Options {
    Options { max_pending_output: 2 * TALK, ..options() }
}

#[test]
fn last_words_that_wait_for_room_are_sent_whole_before_the_end() {
    let server = TestServer::start(talkative(), Talker);
    let mut client = server.connect();
    client.send("farewell\nnever seen\n");
    server.until("they wait for room", |stats| stats.messages == 1 && stats.parked == 1);
    assert_eq!(client.rest().len(), TALK + 1);
    drop(client);
    server.until("closed by the service", |stats| count(&stats.closed, "exit") == 1);
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_when_the_drains_time_is_over() {
    let server = TestServer::start(Options { drain_timeout: short(200), ..talkative() }, Talker);
    let mut client = server.connect();
    client.send("more\n");
    server.until("it waits for room", |stats| stats.messages == 1 && stats.parked == 1);
    let handle = server.handle.clone();
    let report = server.stop();
    assert_eq!((report.cut, report.stuck), (1, 0));
    assert_eq!(count(&handle.stats().closed, "drain"), 1);
    // Whatever the sockets held, and then an end or a reset.
    let mut held = Vec::new();
    client.socket.read_to_end(&mut held).ok();
    assert!(held.len() < TALK, "{}", held.len());
}

#[test]
fn a_message_too_long_is_said_so_and_closes() {
    let server = TestServer::start(Options { max_message: 100, ..options() }, Hello);
    let mut client = server.connect();
    client.expect("Welcome!");
    talk(&mut client, &[&"x".repeat(100)]);
    client.send("y".repeat(5000));
    assert_eq!(client.rest(), "Message too long (limit 100 bytes).\n");
    server.until("closed", |stats| count(&stats.closed, "message_too_large") == 1);
    assert_eq!(count(&server.stats().message_errors, "too_large"), 1);
}

#[test]
fn a_long_message_in_many_pieces_is_one_message() {
    let options = Options { max_message: 4 << 20, max_pending_output: 8 << 20, ..options() };
    let server = TestServer::start(options, Echo);
    let mut client = server.connect();
    let long = "z".repeat(4 << 20);
    let mut sender = client.socket.try_clone().unwrap();
    let text = long.clone();
    let sending = thread::spawn(move || {
        for piece in text.as_bytes().chunks(10_000) {
            sender.write_all(piece).unwrap();
        }
        sender.write_all(b"\n").unwrap();
    });
    client.expect(&long);
    sending.join().unwrap();
}

/// Finds no words for a message that is too long.
struct Speechless;

impl Service for Speechless {
    fn call(
        &self,
        ctx: &mut Context<'_>,
        _: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        reply.push(ctx.id().to_string().as_bytes());
        Ok(Flow::Continue)
    }

    fn refuse(&self, refusal: Refusal, reply: &mut Reply<'_>) {
        reply.push(b"half a sen");
        assert!(refusal == Refusal::Busy, "as told");
    }
}

#[test]
fn a_service_that_panics_over_its_last_words_says_nothing() {
    let server = TestServer::start(Options { max_message: 8, ..options() }, Speechless);
    let mut client = server.connect();
    client.send("who?\n").expect("1");
    assert_eq!(client.send("far too long\n").rest(), "\n");
    server.connect().send("who?\n").expect("2");
    assert_eq!(server.stats().worker_restarts, 0);
}

#[test]
fn a_panic_costs_one_connection_and_no_worker() {
    let server = TestServer::start(options(), Obedient);
    for told in ["panic", "panic number", "panic"] {
        let mut client = server.connect();
        client.send(format!("before\n{told}\nafter\n"));
        assert_eq!(client.rest(), "before\nInternal error.\n");
    }
    let stats = server.stats();
    assert_eq!((stats.handler_panics, count(&stats.message_errors, "panic")), (3, 3));
    assert_eq!((stats.workers, stats.messages), (2, 6));
    server.connect().send("fine\n").expect("fine");
}

#[test]
fn a_state_that_panics_when_it_is_dropped_costs_nobody_anything() {
    // By a worker when the client leaves, and by the accept loop at the deadline.
    let server = TestServer::start(Options { idle_timeout: short(300), ..options() }, Obedient);
    let mut leaves = server.connect();
    assert_eq!(leaves.send("panic later\n").finish().rest(), "\n");
    let mut idle = server.connect();
    idle.send("panic later\n").expect("");
    assert_eq!(idle.rest(), "");
    server.until("both are counted", |stats| stats.handler_panics == 2 && stats.open() == 0);
    assert_eq!(count(&server.stats().closed, "idle"), 1);
    server.connect().send("fine\n").expect("fine");
    assert_eq!(server.stats().worker_restarts, 0);
}

#[test]
fn a_panic_that_escapes_a_turn_costs_its_connection_and_the_worker_begins_anew() {
    let server = TestServer::start(Options { workers: 1, ..options() }, Obedient);
    let mut other = server.connect();
    other.send("before\n").expect("before");
    for restarts in 1..=3 {
        let mut client = server.connect();
        client.send("break the turn\n").expect("Internal error.");
        assert_eq!(client.rest(), "");
        server.until("begun anew", |stats| stats.worker_restarts == restarts);
        other.send("after\n").expect("after");
    }
    server.until("all are closed but one", |stats| {
        (stats.open(), count(&stats.closed, "handler")) == (1, 3)
    });
    assert_eq!(server.stats().workers, 1);
}

#[test]
fn a_failing_handler_and_a_reply_too_long_end_the_connection() {
    let server = TestServer::start(options(), Obedient);
    for told in ["fail", "big"] {
        let mut client = server.connect();
        client.send(format!("{told}\n"));
        assert_eq!(client.rest(), "Internal error.\n");
    }
    let stats = server.stats();
    assert_eq!(count(&stats.message_errors, "handler"), 1);
    assert_eq!(count(&stats.message_errors, "reply_too_large"), 1);
    server.until("closed", |stats| count(&stats.closed, "handler") == 2);
}

#[test]
fn a_service_closes_with_last_words_and_keeps_a_state_per_connection() {
    let server = TestServer::start(options(), Obedient);
    let (mut one, mut two) = (server.connect(), server.connect());
    one.send("count\ncount\n").expect("1").expect("2");
    two.send("count\n").expect("1");
    one.send("count\nclose\ncount\n").expect("3");
    assert_eq!(one.rest(), "bye\n");
}

#[test]
fn the_pool_grows_under_blocked_calls_and_shrinks_when_they_return() {
    let (release, gate) = bounded::<()>(0);
    let server = TestServer::start(options(), Gate::new("wait", gate));
    let mut blocked: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut blocked {
        client.send("wait\n");
    }
    server.until("all workers blocked", |stats| stats.workers_busy == 2 && stats.active == 2);
    let mut waiting = server.connect();
    waiting.send("now\n");
    server.handle.resize(4).unwrap();
    waiting.expect("now");
    server.handle.resize(1).unwrap();
    server.until("idle ones leave", |stats| stats.workers == 2);
    release.send(()).unwrap();
    release.send(()).unwrap();
    for client in &mut blocked {
        client.expect("wait");
    }
    server.until("one is left", |stats| stats.workers == 1);
    waiting.send("served by the one\n").expect("served by the one");
    assert!(server.handle.resize(0).is_err());
}

#[test]
fn a_burst_of_probes_that_connect_and_close_leaves_nothing() {
    let server = TestServer::start(options(), Hello);
    for _ in 0..1000 {
        drop(TcpStream::connect(server.address()).unwrap());
    }
    server.until("all are gone", |stats| stats.open() == 0 && stats.accepted[0].accepted == 1000);
}

#[test]
fn an_old_connection_is_closed_when_it_has_its_replies() {
    let options = Options { max_age: Some(short(300)), ..options() };
    let server = TestServer::start(options, Delayed::new(Hello, short(1)));
    let mut idle = server.connect();
    idle.expect("Welcome!");
    let mut half = server.connect();
    half.expect("Welcome!").send("hal");
    // One that never stops talking, each message sent before the last reply is read.
    let mut busy = server.connect();
    busy.expect("Welcome!");
    busy.socket.write_all(b"0\n1\n").unwrap();
    let mut answered = 0;
    for n in 2.. {
        let sent = busy.socket.write_all(format!("{n}\n").as_bytes());
        let line = busy.line();
        if line.is_empty() {
            break;
        }
        assert_eq!(line, format!("Hello, {answered}!\n"));
        answered += 1;
        assert!(sent.is_ok(), "a reset before the end of the stream");
    }
    assert!(answered > 2);
    assert_eq!(idle.rest(), "");
    assert_eq!(half.rest(), "");
    drop((idle, half, busy));
    server.until("all for their age", |stats| count(&stats.closed, "max_age") == 3);
}

#[test]
fn ages_are_spread() {
    let age = short(1000);
    let server = TestServer::start(Options { max_age: Some(age), ..options() }, Hello);
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = server.connect();
            client.expect("Welcome!");
            let connected = std::time::Instant::now();
            thread::spawn(move || {
                assert_eq!(client.rest(), "");
                connected.elapsed()
            })
        })
        .collect();
    let mut lived: Vec<Duration> = clients.into_iter().map(|it| it.join().unwrap()).collect();
    lived.sort();
    assert!(lived[0] > short(850), "{:?}", lived[0]);
    assert!(lived[39] - lived[0] > short(100), "from {:?} to {:?}", lived[0], lived[39]);
}

/// The kernel's timers are set for accepted sockets, and follow a reload.
#[test]
fn the_kernel_probes_silent_clients() {
    use socket2::SockRef;
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 16).unwrap();
    // Another descriptor of the same socket, to look at its options.
    let look = listener.as_fd().try_clone_to_owned().unwrap();
    let kept = |idle: u64| {
        let socket = SockRef::from(&look);
        socket.keepalive().unwrap() && socket.tcp_keepalive_time().unwrap().as_secs() == idle
    };
    let builder = Server::builder().options(options()).listener(listener);
    let server = TestServer::run(builder.build(Hello).unwrap());
    server.connect().expect("Welcome!");
    assert!(kept(60));
    server.handle.reload(Options { tcp_keepalive: Some(short(7000)), ..options() }).unwrap();
    eventually("the new time", || kept(7));
    server.handle.reload(Options { tcp_keepalive: None, ..options() }).unwrap();
    eventually("off", || !SockRef::from(&look).keepalive().unwrap());
    drop(look);
}
