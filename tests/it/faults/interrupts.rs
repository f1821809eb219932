//! System calls that fail although nothing is wrong with the connection.

use super::base::{Patient, total};
use super::strace::{Injector, Threads, of};
use crate::support::eventually;
use std::io::{Read, Write};
use std::thread;

/// What 8 clients at a time read, each of whom sends 60 lines in three ways.
fn transcripts(server: &Patient) -> Vec<String> {
    thread::scope(|scope| {
        let talking: Vec<_> = (0..8)
            .map(|client| {
                scope.spawn(move || {
                    let mut connection = server.connect();
                    let mut read = connection.line();
                    for n in 0..20 {
                        connection.send(format!("a{client}.{n}\n"));
                        read += &connection.line();
                    }
                    let rest: String = (0..40).map(|n| format!("b{client}.{n}\n")).collect();
                    connection.send(&rest[..100]);
                    connection.send(&rest[100..]).finish();
                    read + &connection.rest()
                })
            })
            .collect();
        talking.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// Every fifth call of each kind is interrupted, in every thread.
#[test]
fn interrupted_calls_change_nothing() {
    const ACCEPT: &str = "accept4";
    const WAIT: &str = "epoll_wait,epoll_pwait,epoll_pwait2";
    const READ: &str = "read,readv,recvfrom,recvmsg";
    const WRITE: &str = "write,writev,sendto,sendmsg";
    let server = Patient::new("");
    let expected = transcripts(&server);
    let fifth = "error=EINTR:when=5+5";
    let calls = [ACCEPT, WAIT, READ, WRITE];
    let faults = calls.map(|calls| (calls, fifth));
    let Some(injector) = Injector::attach(&server, Threads::All, &faults) else { return };
    for _ in 0..3 {
        assert_eq!(transcripts(&server), expected);
    }
    server.is_restored();
    let injected = injector.end();
    for calls in calls {
        let calls: Vec<&str> = calls.split(',').collect();
        assert!(of(&injected, &calls) > 0, "nothing of {calls:?} in {injected:?}");
    }
    eprintln!("interrupted: {injected:?}");
    assert_eq!(server.scrape()["welcomed_worker_restarts_total"], 0.0);
    server.stop();
}

/// Registering a socket fails now and then, and so does taking it out: that connection ends, its
/// worker and the loop go on.
#[test]
fn a_socket_that_cannot_be_watched_is_closed_alone() {
    const CLIENTS: usize = 60;
    let server = Patient::with("", &["--workers", "1"]);
    let faults = [("epoll_ctl", "error=ENOSPC:when=3+7")];
    let Some(injector) = Injector::attach(&server, Threads::All, &faults) else { return };
    let mut served = 0;
    for _ in 0..CLIENTS {
        let mut client = server.connect();
        // One that is not watched is closed ungreeted, and what it sends may then be reset.
        client.socket.write_all(b"Ann\nexit\n").ok();
        let mut read = String::new();
        client.reader.read_to_string(&mut read).ok();
        served += usize::from(read == "Welcome!\nHello, Ann!\n");
    }
    // A scrape's connection has to be watched too.
    let injected = injector.end();
    eventually("all are accounted for", || {
        total(&server.scrape(), "welcomed_connections_closed_total") == CLIENTS as f64
    });
    let broken = server.scrape()["welcomed_connections_closed_total{reason=\"io_error\"}"];
    assert!(injected["epoll_ctl"] > 0);
    assert!(broken >= 1.0 && served + broken as usize == CLIENTS, "{broken} and {served}");
    server.is_restored();
}
