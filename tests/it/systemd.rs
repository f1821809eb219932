//! What systemd hears from the real program on a notification socket.

use crate::support::{CleanEnv, Daemon, PATIENCE, SERVE, talk};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The receiving end of `NOTIFY_SOCKET`.
struct Systemd {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
        command.args(SERVE).args(arguments).clean_env().stdin(Stdio::null());
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command
    }

    fn hear(&self) -> io::Result<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer)?;
        Ok(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// Hears messages until this one; returns those before it.
    fn until(&self, wanted: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            assert!(Instant::now() < deadline, "no {wanted}: {others:?}");
            match self.hear().unwrap() {
                message if message == wanted => return others,
                message => others.push(message),
            }
        }
    }

    /// Everything that it has not heard yet, from a program that is gone.
    fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut rest = Vec::new();
        loop {
            match self.hear() {
                Ok(message) => rest.push(message),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return rest;
                }
            }
        }
    }
}

#[test]
fn systemd_hears_of_the_start_the_pool_and_the_stop() {
    let systemd = Systemd::new();
    let server = Daemon::start(&mut systemd.command(&["--workers", "3"]));
    // Ready comes once; what was connected to before it would have waited.
    let before = systemd.until("READY=1\n");
    assert!(before.iter().all(|message| message.starts_with("STATUS=")), "{before:?}");
    let mut client = server.connect();
    client.expect("Welcome!");
    talk(&mut client, &["Ann"]);
    systemd.until("STATUS=3 workers, 0 busy, 1 connections\n");
    let (status, said) = server.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("systemd could not be told"), "{said}");
    let mut rest = systemd.rest();
    rest.retain(|message| !message.starts_with("STATUS="));
    assert_eq!(rest, ["STOPPING=1\n"], "and no watchdog that nobody asked for");
}

#[test]
fn the_watchdog_is_fed_while_the_server_lives_also_when_all_workers_are_blocked() {
    let systemd = Systemd::new();
    let mut command = systemd.command(&["--workers", "1", "--work-delay", "1h"]);
    // Before the start: what is sent while nobody listens yet is kept for later.
    let started = Instant::now();
    let mut server = Daemon::start(command.env("WATCHDOG_USEC", "40000"));
    for _ in 0..5 {
        systemd.until("WATCHDOG=1\n");
    }
    assert!(started.elapsed() >= Duration::from_millis(60), "each half of its time");
    let mut blocked = server.connect();
    blocked.expect("Welcome!");
    blocked.send("a worker is held\n");
    systemd.until("STATUS=1 workers, 1 busy, 1 connections\n");
    for _ in 0..5 {
        systemd.until("WATCHDOG=1\n");
    }
    server.signal("TERM");
    systemd.until("STOPPING=1\n");
    for _ in 0..5 {
        systemd.until("WATCHDOG=1\n");
    }
    systemd.until("STATUS=draining: 1 workers, 1 busy, 1 connections\n");
    server.signal("TERM");
    assert_eq!(server.wait().0.code(), Some(3));
}

#[test]
fn a_watchdog_that_is_for_another_process_is_not_fed() {
    let systemd = Systemd::new();
    let mut command = systemd.command(&["--workers", "4"]);
    command.env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let server = Daemon::start(&mut command);
    systemd.until("READY=1\n");
    let mut client = server.connect();
    client.expect("Welcome!");
    // It stays, so that whoever looks late sees it too.
    systemd.until("STATUS=4 workers, 0 busy, 1 connections\n");
    server.stop();
    assert!(systemd.rest().iter().all(|message| !message.starts_with("WATCHDOG")));
}

#[test]
fn a_socket_that_nobody_reads_from_does_not_keep_the_server_from_serving() {
    let systemd = Systemd::new();
    let mut command = systemd.command(&[]);
    command.env("NOTIFY_SOCKET", systemd.folder.path().join("gone"));
    let server = Daemon::start(&mut command);
    server.connect().expect("Welcome!");
    let (status, said) = server.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("systemd could not be told"), "{said}");
}

#[test]
fn systemd_hears_of_a_reload_and_of_its_end_also_when_it_is_refused() {
    let systemd = Systemd::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("welcomed.toml");
    std::fs::write(&file, "[pool]\nworkers = 2\n").unwrap();
    let server = Daemon::start(&mut systemd.command(&["--config", file.to_str().unwrap()]));
    systemd.until("READY=1\n");
    for text in ["[pool]\nworkers = 3\n", "[pool]\nworkers = 0\n"] {
        std::fs::write(&file, text).unwrap();
        server.signal("HUP");
        let before = systemd.until("READY=1\n");
        let told = before.iter().find(|message| message.starts_with("RELOADING=1\n"));
        assert!(told.unwrap().contains("MONOTONIC_USEC="), "{before:?}");
    }
    assert_eq!(server.stop().0.code(), Some(0));
}
