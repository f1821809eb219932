//! Every metric of the pool moves when what it counts happens, and says the truth.

use crate::services::{Gate, Obedient};
use crate::support::{Client, TestServer, eventually, talk};
use crossbeam_channel::bounded;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use welcomed::protocol::Framing;
use welcomed::server::Options;
use welcomed::service::{Delayed, Hello};

fn options(workers: usize) -> Options {
    Options { workers, framing: Framing::Line, ..Options::default() }
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Two workers, 100 ms of work, 20 clients: what the histogram says is what the clients feel.
#[test]
fn the_queue_wait_is_what_the_clients_measure() {
    const CLIENTS: u32 = 20;
    const MESSAGES: u32 = 4;
    let server = TestServer::start(options(2), Delayed::new(Hello, millis(100)));
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("Welcome!");
    }
    server.until("all are parked", |stats| stats.parked == u64::from(CLIENTS));
    let before = server.stats();
    let answered: Duration = thread::scope(|scope| {
        let talking: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    let mut answered = Duration::ZERO;
                    for n in 0..MESSAGES {
                        let sent = Instant::now();
                        talk(client, &[&format!("n{n}")]);
                        answered += sent.elapsed();
                    }
                    answered
                })
            })
            .collect();
        talking.into_iter().map(|client| client.join().unwrap()).sum()
    });
    server.until("all are parked again", |stats| stats.parked == u64::from(CLIENTS));
    let after = server.stats();
    let turns = after.queue_wait.count() - before.queue_wait.count();
    // One turn a message, and one more when the next came before the reply's worker was done.
    let messages = u64::from(CLIENTS * MESSAGES);
    assert!((messages..messages + messages / 10).contains(&turns), "{turns} turns");
    let said = (after.queue_wait.sum - before.queue_wait.sum) / turns as f64;
    // What the handler took of it is no wait.
    let handled = after.handler_time.sum - before.handler_time.sum;
    let felt = (answered.as_secs_f64() - handled) / f64::from(CLIENTS * MESSAGES);
    assert!((said / felt - 1.0).abs() < 0.1, "said {said} s, felt {felt} s");
    assert_eq!(after.handler_time.count(), after.messages);
    // No variance is negative, and that of sleeps of one length is small.
    let mean_square = after.handler_seconds_squared / after.messages as f64;
    let square = (after.handler_time.sum / after.messages as f64).powi(2);
    assert!((0.999..1.5).contains(&(mean_square / square)), "{mean_square} {square}");
    // The workers were busy with little but the handler, both for half of that, and saturated
    // for most of it.
    let busy = after.worker_busy_seconds - before.worker_busy_seconds;
    assert!((1.0..1.1).contains(&(busy / handled)), "busy {busy} s, handled {handled} s");
    let saturated = after.saturated_seconds - before.saturated_seconds;
    assert!((0.5..1.0).contains(&(saturated / (busy / 2.0))), "{saturated} of {busy} s");
}

#[test]
fn a_call_that_still_runs_counts_as_busy() {
    let (release, gate) = bounded::<()>(0);
    let server = TestServer::start(options(2), Gate::new("wait", gate));
    let mut client = server.connect();
    client.send("wait\n");
    server.until("it is seen while it runs", |stats| {
        stats.worker_busy_seconds > 0.05
            && stats.workers_busy == 1
            && stats.worker_turns_now.iter().flatten().any(|turn| turn.running > millis(50))
    });
    let mut last = 0.0;
    for _ in 0..1000 {
        let now = server.stats().worker_busy_seconds;
        assert!(now >= last, "a counter fell from {last} to {now}");
        last = now;
    }
    release.send(()).unwrap();
    client.expect("wait");
    server.until("idle", |stats| stats.worker_turns_now.iter().all(Option::is_none));
    assert!(server.stats().worker_busy_seconds >= last);
}

#[test]
fn busy_workers_without_a_queue_are_not_saturated() {
    let (release, gate) = bounded::<()>(0);
    let server = TestServer::start(options(1), Gate::new("wait", gate));
    let mut client = server.connect();
    client.send("wait\n");
    server.until("busy for a while", |stats| stats.worker_busy_seconds > 0.2);
    let calm = server.stats();
    assert_eq!((calm.saturated_seconds, calm.queued), (0.0, 0), "nobody waited");
    let waiting = server.connect();
    server.until("saturated", |stats| stats.saturated_seconds > 0.2 && stats.queued == 1);
    release.send(()).unwrap();
    client.expect("wait");
    server.until("calm again", |stats| stats.workers_busy == 0);
    let over = server.stats().saturated_seconds;
    drop(waiting);
    client.send("more\n").expect("more");
    assert!(server.stats().saturated_seconds <= over + 0.005, "a near miss is not counted");
}

#[test]
fn turns_parks_sizes_and_lifetimes_are_counted() {
    let server = TestServer::start(options(2), Obedient);
    let mut client = server.connect();
    for told in ["one", "two", "three"] {
        client.send(format!("{told}\n")).expect(told);
    }
    server.until("parked", |stats| stats.parked == 1);
    let stats = server.stats();
    // A message that comes before the turn is over is served in it; an event may bring a turn
    // for nothing.
    assert!((1..=8).contains(&stats.worker_turns), "{stats:?}");
    assert!((1..=stats.worker_turns).contains(&stats.parks), "{stats:?}");
    assert_eq!(stats.queue_wait.count(), stats.worker_turns);
    assert_eq!((stats.handler_time.count(), stats.write_time.count()), (3, 3));
    assert_eq!(stats.connection_duration.count(), 0);
    drop(client);
    server.until("gone", |stats| stats.connection_duration.count() == 1);
    assert!(server.stats().connection_duration.sum > 0.0);
}

#[test]
fn resizes_are_counted_when_they_are_done() {
    let server = TestServer::start(options(2), Hello);
    server.until("started", |stats| stats.ready && stats.workers == 2);
    assert_eq!(server.stats().resizes, [("grow", 0), ("shrink", 0)]);
    server.handle.resize(5).unwrap();
    server.until("grown", |stats| stats.workers == 5 && stats.resizes[0].1 == 1);
    server.handle.resize(1).unwrap();
    server.until("shrunk", |stats| stats.workers == 1 && stats.resizes[1].1 == 1);
    assert_eq!(server.stats().workers_limit, 1);
    assert_eq!(server.stats().resizes, [("grow", 1), ("shrink", 1)]);
}

#[test]
fn clients_in_the_kernels_queue_are_seen() {
    // Made, but not running: nobody accepts.
    let server = welcomed::server::Server::builder();
    let options = Options { backlog: 9, ..Options::default() };
    let server = server.options(options).listen("127.0.0.1:0").unwrap().build(Hello).unwrap();
    let handle = server.handle();
    let backlog = || handle.stats().accepted[0].backlog;
    assert_eq!(backlog(), Some((0, 9)));
    assert!(!handle.stats().ready);
    let address = crate::support::tcp(&handle.local_addrs()[0]);
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    eventually("three wait", || backlog() == Some((3, 9)));
    let running = thread::spawn(move || server.run().unwrap());
    eventually("all are accepted", || handle.stats().ready && backlog() == Some((0, 9)));
    drop(clients);
    handle.stop();
    assert!(running.join().unwrap().is_clean());
    assert_eq!((handle.stats().ready, backlog()), (false, None));
}
