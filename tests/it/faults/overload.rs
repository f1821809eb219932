//! More than there is room for: an address that takes all places, a client that floods, clients
//! that come and go, and ten times the load.

use super::base::{Patient, connect_from};
use crate::support::{Client, eventually, talk};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const BUSY: &str = "Busy, try again later.\n";

#[test]
fn one_address_cannot_take_all_places() {
    let server = Patient::new("[limits]\nmax_connections_per_ip = 10\n");
    let connect = |last: u8| Client::of(connect_from([127, 0, 0, last], server.service));
    let many: Vec<Client> = (0..100).map(|_| connect(9)).collect();
    let mut other = connect(10);
    other.expect("Welcome!");
    talk(&mut other, &["Ann"]);
    let (mut served, mut refused) = (Vec::new(), 0);
    for mut client in many {
        match client.line().as_str() {
            "Welcome!\n" => served.push(client),
            line => {
                assert_eq!((line, client.rest().as_str()), (BUSY, ""));
                refused += 1;
            }
        }
    }
    assert_eq!((served.len(), refused), (10, 90));
    server.until("welcomed_connections_rejected_total{reason=\"per_ip\"}", 90.0);
    // A place is given back, whichever way its connection ended.
    assert_eq!(served.pop().unwrap().send("exit\n").rest(), "");
    eventually("its place is free", || connect(9).line() == "Welcome!\n");
    drop(served);
    server.until("welcomed_connections{state=\"parked\"}", 1.0);
    for _ in 0..10 {
        connect(9).expect("Welcome!").send("exit\n").rest();
    }
    drop(other);
    server.is_restored();
}

/// One client keeps its messages coming without waiting for replies, 50 wait for theirs.
#[test]
fn a_flooding_client_gets_no_more_than_its_share() {
    let (_, median) = shares(Duration::from_secs(2));
    // Far from the nothing that a pool without turns would leave, and from the whole, for a machine
    // that has other things to do than these clients.
    assert!(median > 0.1, "half of the honest have {median} of their fair share or less");
}

/// Clients that come together wait for each other, and their waits are in the histogram: the
/// poller's own list, which nobody counts, is not where they wait.
#[test]
fn what_waits_is_in_the_queue_however_short_the_turns() {
    let server = Patient::with("", &["--workers", "1"]);
    let mut clients: Vec<Client> = (0..2000).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("Welcome!");
    }
    server.until("welcomed_connections{state=\"parked\"}", 2000.0);
    let waits = || {
        let samples = server.scrape();
        ["sum", "count"].map(|of| samples[&format!("welcomed_queue_wait_seconds_{of}")])
    };
    let before = waits();
    server.signal("STOP");
    for client in &mut clients {
        client.send("Ann\n");
    }
    let began = Instant::now();
    server.signal("CONT");
    for client in &mut clients {
        client.expect("Hello, Ann!");
    }
    let took = began.elapsed().as_secs_f64();
    let after = waits();
    let mean = (after[0] - before[0]) / (after[1] - before[1]);
    eprintln!("2,000 at once: served in {took:.3} s, the mean wait in the queue {mean:.4} s");
    // Half of it, if the worker did nothing else.
    assert!(mean > took / 20.0, "served in {took} s, the mean wait in the queue {mean} s");
    drop(clients);
    server.is_restored();
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
    let server = Patient::with("", &["--workers", "1", "--work-delay", "1ms"]);
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

/// What clients that send one message per connection saw.
#[derive(Default)]
struct Seen {
    /// From the moment at which each was due to its reply.
    served: Vec<Duration>,
    refused: usize,
    /// How late they came themselves.
    late: Vec<Duration>,
}

impl Seen {
    /// Connects, says a name, hears its reply or the refusal.
    fn visit(&mut self, address: SocketAddr, due: Instant) {
        let mut client = Client::connect(address);
        client.send("Ann\n");
        let mut line = client.line();
        if line == "Welcome!\n" {
            line = client.line();
        }
        match line.as_str() {
            "Hello, Ann!\n" => self.served.push(due.elapsed()),
            line => {
                assert_eq!((line, client.rest().as_str()), (BUSY, ""));
                self.refused += 1;
            }
        }
    }

    fn add(&mut self, mut other: Self) {
        self.served.append(&mut other.served);
        self.late.append(&mut other.late);
        self.refused += other.refused;
    }
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// So many a second, at even distances, whatever becomes of those before: an open loop.
fn arrive(address: SocketAddr, per_second: f64, time: Duration) -> Seen {
    let (began, next) = (Instant::now(), AtomicUsize::new(0));
    let visitor = || {
        let mut seen = Seen::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed) as f64;
            let after = Duration::from_secs_f64(number / per_second);
            if after >= time {
                return seen;
            }
            let due = began + after;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            seen.late.push(due.elapsed());
            seen.visit(address, due);
        }
    };
    // Enough that one is free whenever one is due: nobody is there for as long as a second.
    join_all(per_second as usize, visitor)
}

/// As many a second as `clients` get through, each back as soon as it was served: a closed loop.
fn return_at_once(address: SocketAddr, clients: usize, time: Duration) -> Seen {
    let until = Instant::now() + time;
    join_all(clients, || {
        let mut seen = Seen::default();
        while Instant::now() < until {
            seen.visit(address, Instant::now());
        }
        seen
    })
}

fn join_all(count: usize, client: impl Fn() -> Seen + Sync) -> Seen {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..count).map(|_| scope.spawn(&client)).collect();
        let mut all = Seen::default();
        clients.into_iter().for_each(|client| all.add(client.join().unwrap()));
        all
    })
}

#[test]
#[ignore = "takes one and a half minutes: see faults.rs"]
fn ten_times_the_load_leaves_the_goodput_and_ends_without_a_trace() {
    const LONGEST: Duration = Duration::from_millis(200);
    const WORK: Duration = Duration::from_millis(40);
    let second = Duration::from_secs(1);
    let config = "[pool]\nworkers = 4\n[overload]\nmax_queue_wait = \"200ms\"\n";
    let server = Patient::with(config, &["--work-delay", "40ms"]);
    let address = server.service;
    // As many as there are workers, and one each that waits, keep them all busy.
    let peak = return_at_once(address, 8, 3 * second).served.len() as f64 / 3.0;
    let mut calm = arrive(address, peak / 2.0, 10 * second);
    let mut flood = arrive(address, 10.0 * peak, 60 * second);
    arrive(address, peak / 2.0, 2 * second);
    let mut after = arrive(address, peak / 2.0, 10 * second);
    let goodput = flood.served.len() as f64 / 60.0;
    let answered = flood.served.len() + flood.refused;
    let late = p99(&mut flood.late);
    let [calm, flood, after_p99] =
        [&mut calm, &mut flood, &mut after].map(|seen| p99(&mut seen.served));
    eprintln!(
        "peak {peak:.0}/s; ten times that: {goodput:.0}/s served ({:.2} of the peak), p99 \
         {flood:?} with at most {LONGEST:?} in the queue and {WORK:?} of work; p99 at half the \
         peak {calm:?} before, {after_p99:?} two seconds after; clients came {late:?} late (p99)",
        goodput / peak,
    );
    assert_eq!(answered, (600.0 * peak).ceil() as usize, "everyone is served or refused");
    assert!(late < WORK, "no open loop: clients came late by {late:?}");
    assert!(goodput >= 0.9 * peak, "{goodput} of {peak}");
    assert!(flood < 3 * (LONGEST + WORK) / 2, "{flood:?}");
    assert_eq!(after.refused, 0);
    assert!(after_p99 < 3 * calm / 2, "{after_p99:?} after, {calm:?} before");
    server.is_restored();
}
