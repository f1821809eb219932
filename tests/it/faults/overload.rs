//! More than there is room for: a client that floods, and clients that come and go.

use super::base::Patient;
use crate::support::{Client, eventually, talk};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// One client keeps its messages coming without waiting for replies, 50 wait for theirs.
#[test]
fn a_flooding_client_gets_no_more_than_its_share() {
    let (_, median) = shares(Duration::from_secs(2));
    // Half is far from the nothing that a pool without turns would leave.
    assert!(median > 0.5, "half of the honest have {median} of their fair share or less");
}

#[test]
#[ignore = "takes a minute: see faults.rs"]
fn the_share_of_the_honest_beside_a_flood() {
    let (least, _) = shares(Duration::from_secs(60));
    assert!(least > 0.8, "the least of the honest has {least} of its fair share");
}

/// What the honest clients got, as parts of their fair share: the least, and the median.
fn shares(time: Duration) -> (f64, f64) {
    const HONEST: usize = 50;
    let server = Patient::with("", &["--workers", "2", "--work-delay", "1ms"]);
    let over = AtomicBool::new(false);
    let mut flood = server.connect();
    let mut sender = flood.socket.try_clone().unwrap();
    let mut counts: Vec<usize> = thread::scope(|scope| {
        scope.spawn(|| {
            let thousand = "more\n".repeat(1000);
            while !over.load(Ordering::Relaxed) {
                if sender.write_all(thousand.as_bytes()).is_err() {
                    break; // ended while it was held back
                }
            }
        });
        scope.spawn(|| {
            // It reads as fast as it can; the end comes as a shutdown.
            while flood.socket.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
        });
        let honest: Vec<_> = (0..HONEST)
            .map(|_| {
                scope.spawn(|| {
                    let mut client: Client = server.connect();
                    client.expect("Welcome!");
                    let mut count = 0;
                    while !over.load(Ordering::Relaxed) {
                        talk(&mut client, &["honest"]);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        thread::sleep(time); // the measurement's length
        over.store(true, Ordering::Relaxed);
        let counts = honest.into_iter().map(|client| client.join().unwrap()).collect();
        flood.reader.get_ref().shutdown(std::net::Shutdown::Both).ok();
        counts
    });
    drop(flood);
    let all = server.scrape()["welcomed_messages_total"];
    server.is_restored();
    let fair = all / (HONEST + 1) as f64;
    counts.sort_unstable();
    let [least, median] = [counts[0], counts[HONEST / 2]].map(|count| count as f64 / fair);
    let flood = (all - counts.iter().sum::<usize>() as f64) / fair;
    eprintln!("fair are {fair:.0}: the least {least:.2}, median {median:.2}, flood {flood:.2}");
    (least, median)
}

#[test]
fn clients_that_come_and_go_leave_nothing() {
    churn(3000);
}

#[test]
#[ignore = "takes half a minute: see faults.rs"]
fn twenty_thousand_connections_leave_nothing() {
    churn(20_000);
}

fn churn(connections: usize) {
    let server = Patient::new("");
    let some = |count: usize| {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..count / 8 {
                        let mut client = server.connect();
                        client.expect("Welcome!");
                        talk(&mut client, &["Ann"]);
                        if n % 2 == 0 {
                            assert_eq!(client.send("exit\n").rest(), "");
                        }
                    }
                });
            }
        });
        eventually("all are gone", || {
            let samples = server.scrape();
            super::base::Books::of(&samples).open == 0.0
        });
    };
    // The first fill what is kept: the table's memory, the workers' buffers.
    some(connections / 10);
    let before = server.memory("VmRSS:");
    let began = Instant::now();
    some(connections);
    let rate = connections as f64 / began.elapsed().as_secs_f64();
    let grown = server.memory("VmRSS:").saturating_sub(before);
    eprintln!("{connections} connections, {rate:.0} a second, {grown} bytes more memory");
    assert!(grown < 4 << 20, "{grown} bytes");
    server.is_restored();
}
