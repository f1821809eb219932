//! What goes wrong before a client is let in.

use super::base::{Patient, has, limit_files, reset, reset_client, total};
use super::strace::{Injector, Threads};
use crate::support::{CleanEnv, Client, eventually, talk};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

/// 50 clients come when there are descriptors for 5: it costs no processor time and no flood of
/// lines, and those who are in are served. `endpoint::without_descriptors_...` has two listeners.
#[test]
fn without_descriptors_the_server_waits_calmly() {
    let server = Patient::new("");
    let mut old = server.connect();
    old.expect("Welcome!");
    let said_before = server.log().lines().count();
    limit_files(server.pid(), server.files() + 5);
    let clients: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    let complaints = || server.log().matches("accepting pauses").count();
    eventually("it complains", || complaints() > 0);
    let (began, cpu) = (Instant::now(), server.cpu());
    thread::sleep(Duration::from_secs(2)); // calm is the absence of events
    let (lasted, cpu) = (began.elapsed(), server.cpu() - cpu);
    talk(&mut old, &["still", "served"]);
    assert!(cpu < lasted / 20, "{cpu:?} of processor time in {lasted:?}");
    let lines = server.log().lines().count() - said_before;
    assert!(lines as f64 <= 2.0 + began.elapsed().as_secs_f64(), "{}", server.log());
    limit_files(server.pid(), 20000);
    let returned = Instant::now();
    for mut client in clients {
        client.expect("Welcome!");
    }
    let served = returned.elapsed();
    eprintln!("{cpu:?} in {lasted:?}; all are in {served:?} after the limit");
    // A pause is half a second at most; the rest is for a machine that has other things to do.
    assert!(served < Duration::from_secs(5), "{served:?}");
    drop(old);
    let samples = server.scrape();
    assert!(samples["welcomed_accept_errors_total{code=\"emfile\"}"] >= 2.0);
    assert_eq!(total(&samples, "welcomed_accept_errors_total"), {
        samples["welcomed_accept_errors_total{code=\"emfile\"}"]
    });
    server.is_restored();
}

#[test]
fn errors_of_the_machine_pause_accepting() {
    // 100 + 200 + 400 ms: no loop that hammers the kernel.
    machine_errors(3, Duration::from_millis(700));
}

#[test]
#[ignore = "takes half a minute: see faults.rs"]
fn twenty_errors_of_the_machine() {
    // And from then on each half a second.
    machine_errors(20, Duration::from_millis(700 + 17 * 500));
}

/// So many errors in a row, of each of three kinds, keep a client waiting for `pauses`.
fn machine_errors(count: u32, pauses: Duration) {
    for (errno, cause) in [("ENFILE", "fd"), ("ENOBUFS", "pressure"), ("ENOMEM", "pressure")] {
        let server = Patient::new("");
        let fault = format!("error={errno}:when=1..{count}");
        let faults = [("accept4", fault.as_str())];
        let Some(injector) = Injector::attach(&server, Threads::First, &faults) else { return };
        let began = Instant::now();
        let mut client = server.connect();
        client.expect("Welcome!");
        let waited = began.elapsed();
        eprintln!("{errno}: {waited:?} of pauses, {pauses:?} expected");
        // A pause is a few microseconds shorter seen from here.
        assert!(waited > pauses - pauses / 50, "{errno}: {waited:?}");
        // 500 ms each at most, in spite of a machine that has other things to do.
        assert!(waited < pauses + Duration::from_secs(5), "{errno}: {waited:?}");
        drop(client);
        let samples = server.scrape();
        let code = format!("welcomed_accept_errors_total{{code=\"{}\"}}", errno.to_lowercase());
        assert_eq!(samples[&code], f64::from(count), "{errno}");
        let pauses = format!("welcomed_accept_pauses_total{{cause=\"{cause}\"}}");
        assert_eq!(samples[&pauses], f64::from(count), "{errno}");
        server.is_restored();
        assert_eq!(injector.end()["accept4"], count as usize);
    }
}

#[test]
fn errors_of_one_client_cost_the_next_one_nothing() {
    let server = Patient::new("");
    for (round, errno) in (1..).zip(["ECONNABORTED", "EPROTO", "EHOSTUNREACH"]) {
        let fault = format!("error={errno}:when=1");
        let faults = [("accept4", fault.as_str())];
        let Some(injector) = Injector::attach(&server, Threads::First, &faults) else { return };
        let began = Instant::now();
        let mut client = server.connect();
        client.expect("Welcome!");
        eprintln!("{errno}: the next client is greeted after {:?}", began.elapsed());
        drop(client);
        assert_eq!(injector.end()["accept4"], 1);
        let samples = server.scrape();
        assert_eq!(total(&samples, "welcomed_accept_errors_total"), f64::from(round));
        assert_eq!(total(&samples, "welcomed_accept_pauses_total"), 0.0, "{errno}");
    }
    server.is_restored();
}

/// The pause is over, but one of two listeners cannot be watched: the next try begins anew.
#[test]
fn a_listener_that_cannot_be_watched_is_tried_again() {
    let server = Patient::with("", &["--listen", "127.0.0.2:0"]);
    // The first thread's calls: two listeners leave the poller, the first is in again.
    let faults = [("accept4", "error=ENFILE:when=1"), ("epoll_ctl", "error=ENOSPC:when=4")];
    let Some(injector) = Injector::attach(&server, Threads::First, &faults) else { return };
    let both = [server.service, server.others[0]];
    for address in both {
        Client::connect(address).expect("Welcome!");
    }
    assert!(server.log().contains("a listener could not be watched"), "{}", server.log());
    let injected = injector.end();
    assert_eq!((injected["accept4"], injected["epoll_ctl"]), (1, 1));
    server.is_restored();
}

#[test]
fn clients_that_are_gone_before_they_are_accepted_cost_nothing() {
    const CLIENTS: usize = 500;
    let server = Patient::new("");
    let before = server.log();
    server.signal("STOP");
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(server.service).unwrap();
        client.write_all(b"Ann\n").unwrap();
        reset(client);
    }
    server.signal("CONT");
    eventually("all are accounted for", || {
        let samples = server.scrape();
        let accepted = total(&samples, "welcomed_connections_accepted_total");
        accepted + total(&samples, "welcomed_accept_errors_total") == CLIENTS as f64
    });
    server.is_restored();
    assert_eq!(server.log(), before, "no line above debug");
}

/// The 20 that are in stay; the 50 at the same time who are not read why, and an end of the
/// stream: no reset, although what they sent was not read.
#[test]
fn above_the_maximum_everyone_is_told_and_a_freed_place_is_free_at_once() {
    let server = Patient::with("", &["--max-connections", "20"]);
    let mut clients: Vec<Client> = (0..70).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("unread\n");
    }
    let mut admitted = Vec::new();
    for mut client in clients {
        match client.line().as_str() {
            "Welcome!\n" => {
                client.expect("Hello, unread!");
                admitted.push(client);
            }
            told => {
                assert_eq!(told, "Busy, try again later.\n");
                assert_eq!(client.rest(), "");
            }
        }
    }
    assert_eq!(admitted.len(), 20);
    for round in 0..50 {
        assert_eq!(admitted.remove(0).send("exit\n").rest(), "", "round {round}");
        let mut next = server.connect();
        next.expect("Welcome!");
        admitted.push(next);
    }
    let samples = server.scrape();
    assert_eq!(samples["welcomed_connections_rejected_total{reason=\"max_connections\"}"], 50.0);
    admitted.into_iter().for_each(reset_client);
    server.is_restored();
}

#[test]
fn the_kernels_queue_is_as_long_as_configured() {
    if !has("ss") {
        return;
    }
    let server = Patient::new("[server]\nbacklog = 77\n");
    let port = server.service.port().to_string();
    let output = Command::new("ss").args(["-ltnH", "sport", "=", &port]).output().unwrap();
    let listening = String::from_utf8(output.stdout).unwrap();
    let columns: Vec<&str> = listening.split_whitespace().collect();
    assert_eq!(columns[..3], ["LISTEN", "0", "77"], "{listening}");
}

/// Runs `serve` where it cannot listen: exit code 2, one line. A port in use: `stop::a_port...`.
fn refused(mut command: Command, addresses: &str) -> String {
    let arguments = ["serve", "--metrics-listen", "off", "--listen", addresses];
    let Output { status, stderr, .. } = command.args(arguments).clean_env().output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn an_address_that_cannot_be_had_is_one_line_and_nothing_is_left() {
    let program = env!("CARGO_BIN_EXE_welcomed");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("first.sock");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let both = format!("unix:{},{taken}", socket.display());
    let said = refused(Command::new(program), &both);
    assert!(said.contains(&format!("{taken}: Address already in use")), "{said}");
    assert!(!socket.exists(), "the first listener went with the second");
    drop(holder);
    // An address of the block for documentation is nobody's.
    let said = refused(Command::new(program), "192.0.2.1:9999");
    assert!(said.contains("192.0.2.1:9999: Cannot assign requested address"), "{said}");
}

#[test]
fn a_port_that_is_not_allowed_is_one_line() {
    let least = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let free = TcpListener::bind("127.0.0.1:80");
    if !has("setpriv") || least.trim().parse::<u16>().unwrap() <= 80 || free.is_err() {
        eprintln!("SKIPPED: everyone may listen on port 80 here, or somebody does");
        return;
    }
    drop(free);
    let mut command = Command::new("setpriv");
    // Root without the one capability that it takes, who may still read the program.
    command.args(["--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]);
    command.arg(env!("CARGO_BIN_EXE_welcomed"));
    let said = refused(command, "127.0.0.1:80");
    assert!(said.contains("cannot listen on 127.0.0.1:80: Permission denied (os error 13)"));
}
