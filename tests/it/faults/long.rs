//! Truth and growth: the counters against what clients did, and what stays after a million of
//! anything. The full sizes are ignored; see `faults.rs`.

use super::base::{Books, Patient, connect_from, reset, reset_client};
use super::clients::endless_line;
use crate::support::{Client, PATIENCE, eventually, talk};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What clients of all sorts count is what the server counts.
#[test]
fn the_counters_tell_the_truth() {
    const CLIENTS: u64 = 400;
    let server = Patient::with("", &["--max-connections", "40"]);
    let (ends, served) = ([const { AtomicU64::new(0) }; 5], AtomicU64::new(0));
    let [refused, exit, ended, half, broken] = &ends;
    let (sent, read) = (AtomicU64::new(0), AtomicU64::new(0));
    let visit = |number: u64| {
        let mut client = server.connect();
        let told = client.line();
        read.fetch_add(told.len() as u64, Ordering::Relaxed);
        if told != "Welcome!\n" {
            assert_eq!(told + &client.rest(), "Busy, try again later.\n");
            return refused.fetch_add(1, Ordering::Relaxed);
        }
        for n in 0..number % 7 {
            let name = format!("n{n}");
            talk(&mut client, &[&name]);
            sent.fetch_add(name.len() as u64 + 1, Ordering::Relaxed);
            read.fetch_add(name.len() as u64 + 9, Ordering::Relaxed);
            served.fetch_add(1, Ordering::Relaxed);
        }
        match number % 4 {
            0 => {
                assert_eq!(client.send("exit\n").rest(), "");
                sent.fetch_add(5, Ordering::Relaxed);
                served.fetch_add(1, Ordering::Relaxed);
                exit.fetch_add(1, Ordering::Relaxed)
            }
            1 => ended.fetch_add(u64::from(client.finish().rest().is_empty()), Ordering::Relaxed),
            2 => {
                assert_eq!(client.send("half").finish().rest(), "");
                sent.fetch_add(4, Ordering::Relaxed);
                half.fetch_add(1, Ordering::Relaxed)
            }
            _ => {
                reset_client(client);
                broken.fetch_add(1, Ordering::Relaxed)
            }
        }
    };
    thread::scope(|scope| {
        for group in 0..60 {
            scope.spawn(move || {
                (0..CLIENTS).filter(|it| it % 60 == group).for_each(|it| {
                    visit(it);
                })
            });
        }
    });
    eventually("at rest", || Books::of(&server.scrape()).open == 0.0);
    let samples = server.scrape();
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
    // What the refused read is not the service's.
    let words = get(refused) * "Busy, try again later.\n".len() as f64;
    for (name, counted) in [
        ("welcomed_connections_accepted_total{listener=\"127.0.0.1:0\"}", CLIENTS as f64),
        ("welcomed_connections_rejected_total{reason=\"max_connections\"}", get(refused)),
        ("welcomed_connections_closed_total{reason=\"exit\"}", get(exit)),
        ("welcomed_connections_closed_total{reason=\"client\"}", get(ended) + get(half)),
        ("welcomed_connections_closed_total{reason=\"io_error\"}", get(broken)),
        ("welcomed_message_errors_total{reason=\"incomplete\"}", get(half)),
        ("welcomed_messages_total", get(&served)),
        ("welcomed_received_bytes_total", get(&sent)),
        ("welcomed_sent_bytes_total", get(&read) - words),
    ] {
        assert_eq!(samples[name], counted, "{name}");
    }
    server.is_restored();
}

#[test]
fn messages_and_addresses_make_no_series() {
    different(2000, 300);
}

#[test]
#[ignore = "takes minutes: see faults.rs"]
fn a_million_different_messages_and_addresses_make_no_series() {
    different(1_000_000, 1_000_000);
}

/// So many different messages, and clients from so many addresses.
fn different(messages: usize, addresses: usize) {
    // Addresses are counted one by one, and yet none is a label.
    let config = "[log]\nlevel = \"off\"\n[limits]\nmax_connections_per_ip = 100\n";
    let server = Patient::new(config);
    // One series waits until enough has been seen to recommend anything, whatever that was.
    let late = "welcomed_pool_recommended_workers";
    let names = || server.scrape().into_keys().filter(|name| name != late).collect::<Vec<_>>();
    let before = names();
    let mut client = server.connect();
    client.expect("Welcome!");
    let mut sender = client.socket.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for group in 0..messages / 100 {
                let lines: String = (0..100).map(|n| format!("n{group}.{n}\n")).collect();
                sender.write_all(lines.as_bytes()).unwrap();
            }
        });
        for n in 0..messages {
            client.expect(&format!("Hello, n{}.{}!", n / 100, n % 100));
        }
    });
    let visit = |number: usize| {
        let [.., high, middle, low] = (number + 2).to_be_bytes();
        let socket = connect_from([127, high + 1, middle, low], server.service);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut line = String::new();
        BufReader::new(&socket).read_line(&mut line).unwrap();
        assert_eq!(line, "Welcome!\n");
        // No port of a million stays taken for a minute.
        reset(socket);
    };
    thread::scope(|scope| {
        for group in 0..4 {
            let visit = &visit;
            scope.spawn(move || (group..addresses).step_by(4).for_each(visit));
        }
    });
    assert_eq!(names(), before);
    drop(client);
    server.is_restored();
}

#[test]
fn cycles_of_connect_message_exit_leave_nothing() {
    cycles(4000);
}

#[test]
#[ignore = "takes minutes: see faults.rs"]
fn a_million_cycles_leave_nothing() {
    cycles(1_000_000);
}

fn cycles(count: usize) {
    let server = Patient::new("");
    let some = |count: usize| {
        thread::scope(|scope| {
            for place in 0..4 {
                let service = server.service;
                scope.spawn(move || {
                    for n in 0..count / 4 {
                        // Many source addresses: one has only so many ports a minute.
                        let from = [127, 1, place, 1 + (n % 250) as u8];
                        let mut socket = connect_from(from, service);
                        socket.set_read_timeout(Some(PATIENCE)).unwrap();
                        socket.write_all(b"Ann\nexit\n").unwrap();
                        let mut all = String::new();
                        socket.read_to_string(&mut all).unwrap();
                        assert_eq!(all, "Welcome!\nHello, Ann!\n");
                    }
                });
            }
        });
        eventually("all are gone", || Books::of(&server.scrape()).open == 0.0);
    };
    some(count / 10);
    let (memory, series) = (server.memory("VmRSS:"), server.scrape().len());
    let began = Instant::now();
    some(count);
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let grown = server.memory("VmRSS:").saturating_sub(memory);
    eprintln!("{count} cycles, {rate:.0} a second, {grown} bytes more memory");
    assert!(grown <= 1 << 20, "{grown} bytes");
    assert_eq!(server.scrape().len(), series);
    server.is_restored();
}

/// 5,000 clients that send a byte each 5 s and never a whole message, beside one that is honest.
#[test]
#[ignore = "takes a minute: see faults.rs"]
fn slow_senders() {
    const CLIENTS: usize = 5000;
    let server = Patient::new("[pool]\nworkers = 2\n[timeouts]\nmessage = \"12s\"\n");
    let mut honest = server.connect();
    honest.expect("Welcome!");
    let percentile = |honest: &mut Client, time: Duration| {
        let (began, mut times) = (Instant::now(), Vec::new());
        while began.elapsed() < time {
            let sent = Instant::now();
            talk(honest, &["Ann"]);
            times.push(sent.elapsed());
        }
        times.sort_unstable();
        times[times.len() * 99 / 100]
    };
    let calm = percentile(&mut honest, Duration::from_secs(10));
    let mut slow: Vec<TcpStream> = (0..CLIENTS).map(|_| server.connect().socket).collect();
    let began = Instant::now();
    let mut crowded = Vec::new();
    let closed = "welcomed_connections_closed_total{reason=\"read_timeout\"}";
    // Bytes keep coming until the last is closed, which none would be if they moved the deadline.
    while server.scrape()[closed] < CLIENTS as f64 {
        assert!(began.elapsed() < PATIENCE, "bytes keep connections open");
        for socket in &mut slow {
            socket.write_all(b"x").ok();
        }
        crowded.push(percentile(&mut honest, Duration::from_secs(5)));
    }
    eprintln!("honest p99 {calm:?} before, {crowded:?} beside; closed in {:?}", began.elapsed());
    drop((honest, slow));
    server.is_restored();
}

#[test]
#[ignore = "a gigabyte, takes half a minute: see faults.rs"]
fn a_gigabyte_of_lines_without_end() {
    let server = Patient::new("");
    endless_line(&server, 64 << 20);
    let (before, mut sent) = (server.memory("VmHWM:"), 0);
    while sent < 1 << 30 {
        sent += endless_line(&server, 64 << 20);
    }
    let grown = server.memory("VmHWM:") - before;
    eprintln!("{sent} bytes sent, {grown} bytes more memory");
    assert!(grown < 4 << 20, "{grown} bytes");
    server.is_restored();
}
