//! Workers that do not come back: noticed, reported, and what a stuck server still does.

use crate::endpoint::{get, scrape};
use crate::services::Gate;
use crate::support::{Client, Daemon, TestServer, count, eventually};
use crossbeam_channel::bounded;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use welcomed::protocol::Framing;
use welcomed::server::{Options, Server};

fn impatient(workers: usize) -> Options {
    let stuck_after = Duration::from_millis(100);
    Options { workers, stuck_after, framing: Framing::Line, ..Options::default() }
}

#[test]
fn a_stuck_worker_is_seen_and_all_of_them_end_the_readiness() {
    let (release, gate) = bounded::<()>(0);
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    let builder = Server::builder().options(impatient(2)).listen("127.0.0.1:0").unwrap();
    let builder = builder.on_stuck(move || {
        called.fetch_add(1, Ordering::SeqCst);
    });
    let server = TestServer::run(builder.build(Gate::new("wait", gate)).unwrap());
    let mut first = server.connect();
    first.send("wait\n");
    server.until("one is overdue", |stats| stats.workers_overdue == 1);
    assert!(server.handle.is_ready() && !server.handle.is_stuck(), "the other one works");
    server.connect().send("a\n").expect("a");
    let mut second = server.connect();
    second.send("wait\n");
    server.until("both are", |stats| stats.workers_overdue == 2 && !stats.ready);
    assert!(server.handle.is_stuck());
    eventually("it was told", || calls.load(Ordering::SeqCst) == 1);
    for client in [&mut first, &mut second] {
        release.send(()).unwrap();
        client.expect("wait");
    }
    server.until("none is", |stats| stats.workers_overdue == 0 && stats.ready);
    // It happens again, and is told again.
    let mut again: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut again {
        client.send("wait\n");
    }
    eventually("it was told again", || calls.load(Ordering::SeqCst) == 2);
    drop(release);
}

/// What the owner does about it is code of the owner's.
#[test]
fn a_panic_of_what_is_called_when_all_are_stuck_costs_nothing() {
    let (release, gate) = bounded::<()>(0);
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    let builder = Server::builder().options(impatient(1)).listen("127.0.0.1:0").unwrap();
    let builder = builder.on_stuck(move || {
        called.fetch_add(1, Ordering::SeqCst);
        panic!("planted");
    });
    let server = TestServer::run(builder.build(Gate::new("wait", gate)).unwrap());
    let mut client = server.connect();
    client.send("wait\n");
    eventually("it was told", || calls.load(Ordering::SeqCst) == 1);
    release.send(()).unwrap();
    client.expect("wait");
    server.connect().send("a\n").expect("a");
}

/// Two of three are stuck, and there shall be two: not the one leaves that still serves.
#[test]
fn a_smaller_pool_keeps_those_who_are_not_stuck() {
    let (release, gate) = bounded::<()>(0);
    let server = TestServer::start(impatient(3), Gate::new("wait", gate));
    let mut stuck: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut stuck {
        client.send("wait\n");
    }
    server.until("two are stuck", |stats| stats.workers_overdue == 2);
    // So does the watchdog, at the end of the accept loop's next turn.
    for _ in 0..2 {
        let asked = server.handle.ping();
        eventually("the accept loop answers", || server.handle.pong() >= asked);
    }
    server.handle.resize(2).unwrap();
    for _ in 0..100 {
        server.connect().send("a\n").expect("a");
    }
    assert_eq!(server.stats().workers, 3);
    for _ in &stuck {
        release.send(()).unwrap();
    }
    for client in &mut stuck {
        client.expect("wait");
    }
    server
        .until("one has left", |stats| stats.workers == 2 && count(&stats.resizes, "shrink") == 1);
    server.connect().send("a\n").expect("a");
}

/// A worker is stuck long after the server went to rest: the watchdog sleeps then, and must wake.
#[test]
fn a_call_after_a_long_silence_is_watched_too() {
    let (release, gate) = bounded::<()>(0);
    let server = TestServer::start(impatient(2), Gate::new("wait", gate));
    let mut client = server.connect();
    client.send("a\n").expect("a");
    // Longer than the two looks after which it rests.
    thread::sleep(Duration::from_millis(500));
    client.send("wait\n");
    server.until("overdue", |stats| stats.workers_overdue == 1);
    drop(release);
    client.expect("wait");
}

#[test]
fn a_stuck_program_is_alive_not_ready_and_names_its_workers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("welcomed.toml");
    fs::write(
        &file,
        "[pool]\nworkers = 2\nstuck_after = '200ms'\n[drain]\ntimeout = '500ms'\n\
         [service]\nwork_delay = '1h'\nframing = 'line'\n",
    )
    .unwrap();
    let server = Daemon::serve(&["--config", file.to_str().unwrap()]);
    let metrics = server.metrics.unwrap();
    let mut clients: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("Welcome!").send("never answered\n");
    }
    eventually("not ready", || get(metrics, "/readyz").0 == 503);
    let (_, reason) = get(metrics, "/readyz");
    assert!(reason.contains("every worker has been in one call for longer than 200ms"), "{reason}");
    assert_eq!(get(metrics, "/healthz").0, 200);
    let samples = scrape(metrics);
    assert_eq!(samples["welcomed_workers_overdue"], 2.0);
    assert_eq!(samples["welcomed_ready"], 0.0);
    server.signal("USR1");
    let mut server = server;
    server.signal("TERM");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(3), "{said}");
    for worker in ["work-01", "work-02"] {
        let reported = said.lines().filter(|line| line.contains(worker));
        let reported: Vec<_> = reported.filter(|line| line.contains("has not come back")).collect();
        assert_eq!(reported.len(), 1, "once: {said}");
        assert!(reported[0].contains("id=") && reported[0].contains("duration="), "{said}");
        let busy = format!("a worker is busy worker={worker}");
        assert!(said.contains(&busy), "SIGUSR1 says it too: {said}");
        let left = format!("a worker is left behind in its call worker={worker}");
        assert!(said.contains(&left), "{said}");
    }
    assert!(said.contains("2 connections cut off, 2 workers still in a call"), "{said}");
}

#[test]
fn a_stuck_program_ends_at_once_if_it_shall() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("welcomed.toml");
    fs::write(
        &file,
        "[pool]\nworkers = 1\nstuck_after = '200ms'\nstuck_action = 'abort'\n\
         [service]\nwork_delay = '1h'\n",
    )
    .unwrap();
    let mut server = Daemon::serve(&["--config", file.to_str().unwrap()]);
    let mut client = server.connect();
    client.expect("Welcome!").send("never answered\n");
    let (status, said) = server.wait();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(6), "{said}");
    assert!(said.contains("pool.stuck_action is `abort`"), "{said}");
}

#[test]
fn the_state_on_demand() {
    let server = Daemon::serve(&["--workers", "3", "--framing", "line"]);
    let mut client = server.connect();
    client.expect("Welcome!").send("Ann\n").expect("Hello, Ann!");
    server.signal("USR1");
    // Signals are seen to one after the other.
    let (status, said) = server.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("state: ready workers=3"), "{said}");
    assert!(said.contains("totals since the start accepted=1"), "{said}");
    assert!(said.contains("messages=1"), "{said}");
}

/// A pool that shall be smaller keeps its signal up until a worker has time for it: that must not
/// keep the accept loop.
#[test]
fn a_smaller_pool_whose_workers_are_all_in_calls_has_a_living_accept_loop() {
    let (release, gate) = bounded::<()>(0);
    let options = Options { idle_timeout: Duration::from_millis(300), ..impatient(2) };
    let server = TestServer::start(options, Gate::new("wait", gate));
    let mut idle = server.connect();
    let mut busy: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut busy {
        client.send("wait\n");
    }
    server.until("both work", |stats| stats.workers_busy == 2);
    server.handle.resize(1).unwrap();
    server.until("the idle one is closed", |stats| count(&stats.closed, "idle") == 1);
    assert_eq!(idle.rest(), "");
    let asked = server.handle.ping();
    eventually("the accept loop answers", || server.handle.pong() >= asked);
    // Either of them may be the first that is let go.
    for _ in &busy {
        release.send(()).unwrap();
    }
    for client in &mut busy {
        client.expect("wait");
    }
    server.until("one has left", |stats| stats.workers == 1);
}
