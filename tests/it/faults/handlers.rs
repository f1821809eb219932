//! Handlers with bugs: `examples/faulty.rs` does what it is told.

use super::base::Patient;
use super::clients::SLACK;
use crate::support::{Client, eventually};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn ten_thousand_panics_cost_a_connection_each_and_nothing_else() {
    const COUNT: usize = 10_000;
    let server = Patient::faulty("[pool]\nworkers = 4\n");
    let told = ["panic", "panic-with-a-number 7", "panic-when-dropped"];
    let workers = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for group in 0..8 {
            let (server, workers) = (&server, &workers);
            scope.spawn(move || {
                for n in (group..COUNT).step_by(8) {
                    let mut client = server.connect();
                    match told[n % 3] {
                        "panic-when-dropped" => {
                            client.send("panic-when-dropped\n").expect("");
                        }
                        order => {
                            client.send(format!("thread\n{order}\nafter\n"));
                            workers.lock().unwrap().insert(client.line());
                            assert_eq!(client.rest(), "Internal error.\n");
                        }
                    }
                }
            });
        }
    });
    assert_eq!(workers.into_inner().unwrap().len(), 4, "every worker had its part");
    server.until("welcomed_handler_panics_total", COUNT as f64);
    let errors = server.scrape()["welcomed_message_errors_total{reason=\"panic\"}"];
    assert_eq!(errors as usize, (0..COUNT).filter(|n| n % 3 != 2).count());
    server.is_restored();
}

#[test]
fn an_error_and_a_deep_recursion_are_answered() {
    let server = Patient::faulty("");
    let mut client = server.connect();
    client.send("recurse 500\n").expect("500");
    client.send("sleep-ms 5\n").expect("");
    client.send("fail\n").expect("Internal error.");
    assert_eq!(client.rest(), "");
    drop(client);
    server.is_restored();
}

#[test]
fn a_reply_of_100_megabytes_is_an_error_and_takes_no_memory() {
    let server = Patient::faulty("[pool]\nworkers = 2\n");
    let before = server.memory("VmHWM:");
    for _ in 0..4 {
        let mut client = server.connect();
        client.send("reply-mb 100\n");
        assert_eq!(client.rest(), "Internal error.\n");
    }
    let grown = server.memory("VmHWM:") - before;
    eprintln!("{grown} bytes more at most");
    assert!(grown < SLACK, "{grown} bytes");
    assert_eq!(server.scrape()["welcomed_message_errors_total{reason=\"reply_too_large\"}"], 4.0);
    server.is_restored();
}

/// A bug outside of the call costs the connection of the moment, and its worker begins anew.
#[test]
fn a_turn_that_breaks_is_counted_and_its_worker_goes_on() {
    let server = Patient::faulty("[pool]\nworkers = 1\n");
    for restarts in 1..=3 {
        let mut client = server.connect();
        client.send("break-the-turn\n").expect("Internal error.");
        assert_eq!(client.rest(), "");
        server.until("welcomed_worker_restarts_total", f64::from(restarts));
    }
    server.connect().send("served\n").expect("served");
    server.is_restored();
}

/// The bug is such that even its containment fails: the thread ends, and there is a new one.
#[test]
fn a_worker_thread_that_ends_is_replaced_and_counted() {
    let server = Patient::faulty("[pool]\nworkers = 2\n");
    let mut other = server.connect();
    for ended in 1..=5 {
        let mut client: Client = server.connect();
        client.send("end-the-worker\n").expect("Internal error.");
        assert_eq!(client.rest(), "");
        let told = Instant::now();
        server.until("welcomed_worker_restarts_total", f64::from(ended));
        eventually("as many as before", || server.scrape()["welcomed_workers"] == 2.0);
        assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
        other.send("served\n").expect("served");
    }
    drop(other);
    assert_eq!(server.scrape()["welcomed_pool_resizes_total{direction=\"grow\"}"], 0.0);
    server.is_restored();
    server.stop();
}

/// The accept loop closes a connection that is idle, and with it drops the service's state.
#[test]
fn a_state_that_panics_while_the_accept_loop_drops_it_costs_nothing() {
    let server = Patient::faulty("[timeouts]\nidle = \"300ms\"\n");
    for (panics, order) in (1..).zip(["panic-when-dropped", "panic-twice-when-dropped"]) {
        let mut client = server.connect();
        client.send(format!("{order}\n")).expect("");
        assert_eq!(client.rest(), "");
        server.until("welcomed_handler_panics_total", f64::from(panics));
        server.connect().send("served\n").expect("served");
    }
    server.is_restored();
    server.stop();
}
