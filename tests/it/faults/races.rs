//! Moments at which an event may be lost, or meet the wrong connection.

use super::base::{Patient, reset_client};
use super::strace::{Injector, Threads, of};
use crate::support::Client;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn no_reply_reaches_another_client() {
    reuse(Duration::from_secs(1));
}

#[test]
#[ignore = "takes a minute: see faults.rs"]
fn no_reply_reaches_another_client_in_a_minute() {
    reuse(Duration::from_secs(60));
}

/// Four clients connect and leave as fast as they can, some before their reply, so that a place
/// and a descriptor have a new owner while the old one's events are still about.
fn reuse(time: Duration) {
    let arguments = ["--service", "echo", "--work-delay", "1ms", "--workers", "4"];
    let server = Patient::with("", &arguments);
    let (until, checked) = (Instant::now() + time, AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..4 {
            let (server, checked) = (&server, &checked);
            scope.spawn(move || {
                for round in (0..).take_while(|_| Instant::now() < until) {
                    let said = format!("client {client} round {round}");
                    let mut connection = server.connect();
                    connection.send(format!("{said}\n"));
                    match round % 4 {
                        0 => drop(connection),
                        1 => reset_client(connection),
                        _ => {
                            connection.expect(&said).finish();
                            assert_eq!(connection.rest(), "");
                            checked.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    eprintln!("{} replies checked", checked.into_inner());
    server.is_restored();
}

#[test]
fn the_second_half_of_a_message_is_never_overlooked() {
    let server = Patient::with("", &["--service", "echo", "--workers", "2"]);
    halves(&server, 5_000);
    server.is_restored();
}

#[test]
#[ignore = "takes half a minute: see faults.rs"]
fn a_hundred_thousand_second_halves() {
    let server = Patient::with("", &["--service", "echo", "--workers", "2"]);
    let latest = halves(&server, 100_000);
    eprintln!("100,000 messages, the latest answered after {latest:?}");
    let faults = [("epoll_ctl", "delay_enter=50000")];
    let Some(injector) = Injector::attach(&server, Threads::Workers, &faults) else { return };
    // Each connection is registered, and taken out again, 50 ms too late.
    let latest = (0..100).map(|_| halves(&server, 1_000)).max().unwrap();
    eprintln!("100,000 more with delays, the latest answered after {latest:?}");
    assert!(injector.end()["epoll_ctl"] >= 100);
    server.is_restored();
}

/// The second half comes at any moment of the hand-back that the first one led to. Returns the
/// longest wait for an answer.
fn halves(server: &Patient, messages: u32) -> Duration {
    let mut client = server.connect();
    // Each half at once, and not after the kernel's acknowledgement of the first.
    client.socket.set_nodelay(true).unwrap();
    let mut latest = Duration::ZERO;
    for number in 0..messages {
        client.send("first, ");
        let pause = Duration::from_micros(u64::from(number % 100));
        let sent = Instant::now();
        while sent.elapsed() < pause {
            std::hint::spin_loop();
        }
        client.send("second\n").expect("first, second");
        latest = latest.max(sent.elapsed());
    }
    // A lost wake-up would be found by the message's deadline, in 10 s, or by somebody else's.
    assert!(latest < Duration::from_secs(5), "{latest:?}");
    latest
}

/// The kernel has told a worker of a message in good time, and the worker has not said so yet when
/// the connection's time is over, as on a machine that is busy, or after SIGCONT.
#[test]
fn a_message_that_only_a_worker_knows_of_is_no_reason_to_close() {
    let server = Patient::with("[timeouts]\nidle = \"3s\"\n", &["--workers", "2"]);
    let faults = [("epoll_wait,epoll_pwait", "delay_exit=2000000")];
    let Some(injector) = Injector::attach(&server, Threads::Workers, &faults) else { return };
    let mut client = server.connect();
    client.expect("Welcome!");
    // Idle for two of the three seconds; the worker will know two later.
    thread::sleep(Duration::from_secs(2));
    client.send("Ann\n").expect("Hello, Ann!");
    drop(client);
    assert!(of(&injector.end(), &["epoll_wait", "epoll_pwait"]) >= 2);
    server.is_restored();
}

/// A worker has read the middle of a message before its time was over, and gets no further until it
/// is. The message's end came meanwhile, and in time.
#[test]
fn a_message_whose_end_came_after_the_read_is_no_reason_to_close() {
    let server = Patient::with("[timeouts]\nmessage = \"3s\"\n", &["--workers", "2"]);
    let mut client = server.connect();
    client.expect("Welcome!").send("Ann\n").expect("Hello, Ann!");
    let faults = [("recvfrom", "delay_exit=2000000")];
    let Some(injector) = Injector::attach(&server, Threads::Workers, &faults) else { return };
    client.send("A");
    // The worker says after 2 s that half a message is there, which has 3 s from then.
    thread::sleep(Duration::from_secs(4));
    client.send("n");
    thread::sleep(Duration::from_millis(200));
    client.send("n\n").expect("Hello, Ann!");
    drop(client);
    assert!(injector.end()["recvfrom"] >= 3);
    server.is_restored();
}

/// The message is there before the socket is watched, or when its worker has not gone on yet.
#[test]
fn what_comes_while_a_socket_is_being_watched_is_seen() {
    let server = Patient::with("", &["--workers", "2"]);
    for when in ["delay_enter", "delay_exit"] {
        let delay = format!("{when}=20000");
        let faults = [("epoll_ctl", delay.as_str())];
        let Some(injector) = Injector::attach(&server, Threads::All, &faults) else { return };
        let mut clients: Vec<Client> = (0..10).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send("An");
            thread::yield_now();
            client.send("n\nexit\n");
        }
        for client in &mut clients {
            assert_eq!(client.rest(), "Welcome!\nHello, Ann!\n");
        }
        drop(clients);
        assert!(injector.end()["epoll_ctl"] >= 10);
    }
    server.is_restored();
}
