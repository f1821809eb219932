//! Starting and stopping: what the program says, and with which code it ends.

use crate::endpoint::{get, scrape};
use crate::services::Gate;
use crate::support::{CleanEnv, Client, Daemon, TestServer, count, eventually};
use crossbeam_channel::bounded;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use welcomed::protocol::Framing;
use welcomed::server::Options;
use welcomed::service::Hello;

fn serve(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
    command.arg("serve").args(arguments).clean_env().output().unwrap()
}

#[test]
fn a_port_in_use_is_one_line_with_the_address_and_exit_code_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = serve(&["--listen", &address, "--metrics-listen", "off"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        said,
        format!("welcomed: cannot listen on {address}: Address already in use (os error 98)\n")
    );
}

#[test]
fn a_metrics_port_in_use_stops_the_start_too() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = serve(&["--listen", "127.0.0.1:0", "--metrics-listen", &address]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    assert!(!said.contains("listening service="), "nothing is half started: {said}");
}

#[test]
fn a_bad_configuration_is_told_before_anything_listens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[pool]\nwrokers = 8\n").unwrap();
    let output = serve(&["--config", file.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("bad.toml:2") && said.contains("wrokers"), "{said}");
    assert!(!said.contains("listening"), "{said}");
}

#[test]
fn the_program_says_what_it_listens_on_and_how_many_workers_it_has() {
    let server = Daemon::serve(&["--workers", "3"]);
    server.connect().expect("Welcome!");
    server.signal("INT");
    let mut server = server;
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("3 workers"), "{said}");
}

#[test]
fn what_has_arrived_before_the_stop_is_answered_and_no_more() {
    let (release, gate) = bounded::<()>(0);
    let options = Options { workers: 2, framing: Framing::Line, ..Options::default() };
    let server = TestServer::start(options, Gate::new("wait", gate));
    let mut idle = server.connect();
    let mut busy = server.connect();
    busy.send("wait\nowed 1\nowed 2\nhal");
    let mut half = server.connect();
    half.send("whole\nhal").expect("whole");
    server
        .until("one is in a call, two are parked", |stats| (stats.active, stats.parked) == (1, 2));
    server.handle.stop();
    assert_eq!(idle.rest(), "");
    assert_eq!(half.rest(), "");
    release.send(()).unwrap();
    assert_eq!(busy.rest(), "wait\nowed 1\nowed 2\n");
    let handle = server.handle.clone();
    assert!(server.stop().is_clean());
    assert_eq!(count(&handle.stats().closed, "drain"), 3);
}

#[test]
fn a_client_in_the_kernels_queue_at_the_stop_is_served() {
    let (release, gate) = bounded::<()>(0);
    let options = Options { workers: 1, framing: Framing::Line, ..Options::default() };
    let server = TestServer::start(options, Gate::new("wait", gate));
    let mut blocks = server.connect();
    blocks.send("wait\n");
    server.until("the worker is in a call", |stats| stats.active == 1);
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("late\n");
    }
    server.handle.stop();
    release.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(client.rest(), "late\n");
    }
    assert!(server.stop().is_clean());
}

#[test]
fn a_drain_that_takes_too_long_cuts_off_and_says_how_many() {
    let (release, gate) = bounded::<()>(0);
    let options = Options {
        workers: 1,
        framing: Framing::Line,
        drain_timeout: Duration::from_millis(200),
        ..Options::default()
    };
    let server = TestServer::start(options, Gate::new("wait", gate));
    let mut client = server.connect();
    client.send("wait\n");
    server.until("the worker is in a call", |stats| stats.active == 1);
    let stopped = Instant::now();
    let report = server.stop();
    assert_eq!((report.cut, report.stuck), (1, 1));
    let took = stopped.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(release);
}

/// Its client was told its end and does not leave: it is closed and counted all the same.
#[test]
fn who_lingers_when_the_drains_time_is_over_is_counted() {
    let (release, gate) = bounded::<()>(0);
    let options = Options {
        workers: 1,
        framing: Framing::Line,
        max_message: 8,
        // Shorter than a socket may linger in a drain.
        drain_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    let server = TestServer::start(options, Gate::new("wait", gate));
    let mut lingers = server.connect();
    assert_eq!(lingers.send("much too long").rest(), "Message too long (limit 8 bytes).\n");
    server.until("it lingers", |stats| stats.closing == 1);
    let mut client = server.connect();
    client.send("wait\n");
    server.until("the worker is in a call", |stats| stats.active == 1);
    let handle = server.handle.clone();
    assert_eq!(server.stop().cut, 1);
    let stats = handle.stats();
    assert_eq!((stats.closing, count(&stats.closed, "message_too_large")), (0, 1));
    drop(release);
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let mut server = Daemon::serve(&["--work-delay", "1h", "--framing", "line"]);
    let mut client = server.connect();
    client.expect("Welcome!");
    client.send("blocks a worker\n");
    server.signal("TERM");
    // The drain has begun when the listener is closed.
    eventually("the listener is closed", || std::net::TcpStream::connect(server.service).is_err());
    // The metrics are there to the last moment.
    let metrics = server.metrics.unwrap();
    assert_eq!((get(metrics, "/healthz").0, get(metrics, "/readyz").0), (200, 503));
    assert_eq!(scrape(metrics)["welcomed_draining"], 1.0);
    server.signal("TERM");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(3), "{said}");
}

#[test]
fn a_flooding_client_cannot_hold_the_drain() {
    let options = Options { workers: 1, framing: Framing::Line, ..Options::default() };
    let server = TestServer::start(options, Hello);
    let flood = server.connect();
    let mut sender = flood.socket.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // Ends when the server's end of the linger resets the connection.
        while std::io::Write::write_all(&mut sender, b"more\n").is_ok() {}
    });
    let mut reader = flood.socket.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        std::io::copy(&mut reader, &mut std::io::sink()).ok();
    });
    server.until("it floods", |stats| stats.messages > 1000);
    assert!(server.stop().is_clean());
    flood.socket.shutdown(std::net::Shutdown::Both).ok();
    sending.join().unwrap();
    reading.join().unwrap();
}
