//! Stopping at any moment: what was owed is sent once and in order, nothing more, and it ends.

use crate::endpoint::{get, scrape};
use crate::faults::base::Patient;
use crate::support::{CleanEnv, Client, Daemon, PATIENCE, SERVE, TestServer, eventually, short};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use welcomed::protocol::Framing;
use welcomed::server::Options;
use welcomed::service::Hello;

fn options() -> Options {
    Options { workers: 3, framing: Framing::Line, ..Options::default() }
}

/// What a client does until the server stops.
#[derive(Debug, Clone, Copy)]
enum Habit {
    /// Nothing.
    Idle,
    /// One message after the other.
    Busy,
    /// Twenty messages at a time.
    Pipelining,
    /// A message and a half.
    Half,
}

/// What a client's book says at the end.
struct Book {
    /// Messages whose last byte was with the kernel before the stop.
    owed: usize,
    sent: usize,
    answered: usize,
}

/// A client that keeps a book. `owed` is told what it has sent for sure.
fn live(mut client: Client, habit: Habit, sure: &AtomicUsize, stopped: impl Fn() -> usize) -> Book {
    let mut sent = 0;
    let mut writing = client.socket.try_clone().unwrap();
    let mut say = |count: usize, end: &str| {
        let words: String = (sent..sent + count).map(|n| format!("{n}\n")).collect();
        let written = writing.write_all((words + end).as_bytes()).is_ok();
        sent += count;
        if written {
            sure.store(sent, Ordering::SeqCst);
        }
        written
    };
    client.expect("Welcome!");
    let mut answered = 0;
    let mut hear = |count: usize| {
        for _ in 0..count {
            match client.line() {
                line if line.is_empty() => return false,
                line => assert_eq!(line, format!("Hello, {answered}!\n"), "{habit:?}"),
            }
            answered += 1;
        }
        true
    };
    match habit {
        Habit::Idle => {}
        Habit::Busy => while say(1, "") && hear(1) {},
        Habit::Pipelining => while say(20, "") && hear(20) {},
        Habit::Half => {
            say(1, "half");
        }
    }
    // Up to the end of the stream, which is one and no reset.
    while hear(1) {}
    Book { owed: stopped(), sent, answered }
}

/// One server and twelve clients, of which three have each habit, told to end after `pause`. Says
/// how long that took, and how many messages were owed then.
fn stop_after(pause: Duration, delay: Duration) -> (Duration, usize) {
    const HABITS: [Habit; 4] = [Habit::Idle, Habit::Busy, Habit::Pipelining, Habit::Half];
    let delay = format!("{}us", delay.as_micros());
    let mut server =
        Daemon::serve(&["--framing", "line", "--workers", "3", "--work-delay", &delay]);
    let sure: Vec<AtomicUsize> = (0..12).map(|_| AtomicUsize::new(0)).collect();
    let owed: Vec<AtomicUsize> = (0..12).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..12)
            .map(|n| {
                let (client, sure, owed) = (server.connect(), &sure[n], &owed[n]);
                let stopped = move || owed.load(Ordering::SeqCst);
                scope.spawn(move || live(client, HABITS[n % 4], sure, stopped))
            })
            .collect();
        thread::sleep(pause);
        for (owed, sure) in owed.iter().zip(&sure) {
            owed.store(sure.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        server.signal("TERM");
        let (told, mut owed) = (Instant::now(), 0);
        for (n, client) in clients.into_iter().enumerate() {
            let book = client.join().unwrap();
            assert!(book.answered >= book.owed, "{:?}: {} owed", HABITS[n % 4], book.owed);
            assert!(book.answered <= book.sent, "{:?}: more than asked", HABITS[n % 4]);
            owed += book.owed;
        }
        let (status, said) = server.wait();
        assert_eq!(status.code(), Some(0), "{said}");
        (told.elapsed(), owed)
    })
}

#[test]
fn stopped_at_any_moment_every_message_is_answered_once_and_in_order() {
    // As many moments as have time; each run is another interleaving.
    let run = |run: u64| {
        stop_after(Duration::from_micros(run * 137 % 5000), Duration::from_micros(run * 7 % 400))
    };
    let (times, owed): (Vec<Duration>, Vec<usize>) = (0..100).map(run).unzip();
    let (longest, owed) = (times.iter().max().unwrap(), owed.iter().sum::<usize>());
    eprintln!("{owed} messages were owed, the longest of 100 drains took {longest:?}");
    assert!(owed > 0, "the clients had sent nothing yet");
    // A call takes 0.4 ms at most; no time-out of a client's, the first of which is 10 s, is met.
    assert!(*longest < Duration::from_secs(5), "{longest:?}");
}

/// Who is impatient does not wait for clients who never stop: they lose what is left, and nothing
/// that they get is wrong.
#[test]
fn a_second_signal_ends_a_busy_drain_at_once() {
    let mut server =
        Daemon::serve(&["--framing", "line", "--workers", "2", "--work-delay", "30ms"]);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let mut client = server.connect();
                client.expect("Welcome!");
                client.send((0..2000).map(|n| format!("{n}\n")).collect::<String>());
                // Cut off, with a reset or an end, amid a minute of replies.
                scope.spawn(move || {
                    let mut read = Vec::new();
                    client.reader.read_to_end(&mut read).ok();
                    String::from_utf8(read).unwrap()
                })
            })
            .collect();
        let metrics = server.metrics.unwrap();
        eventually("all are at work", || scrape(metrics)["welcomed_messages_total"] > 16.0);
        server.signal("TERM");
        eventually("it drains", || scrape(metrics)["welcomed_draining"] == 1.0);
        server.signal("TERM");
        let told = Instant::now();
        let (status, said) = server.wait();
        assert_eq!(status.code(), Some(3), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        // The drain alone would have had 30 s and taken them.
        assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
        for client in clients {
            let read = client.join().unwrap();
            let whole = read.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            for (n, line) in whole.enumerate() {
                assert_eq!(line, format!("Hello, {n}!\n"));
            }
        }
    });
}

#[test]
fn a_balancer_has_time_to_notice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("welcomed.toml");
    fs::write(&file, "[drain]\ndelay = '1h'\n").unwrap();
    let server = Daemon::serve(&["--config", file.to_str().unwrap(), "--framing", "line"]);
    let metrics = server.metrics.unwrap();
    let mut early = server.connect();
    early.expect("Welcome!");
    server.signal("TERM");
    eventually("not ready", || get(metrics, "/readyz").0 == 503);
    assert!(get(metrics, "/readyz").1.contains("draining"));
    let samples = scrape(metrics);
    assert_eq!((samples["welcomed_draining"], samples["welcomed_ready"]), (1.0, 0.0));
    // And yet it serves, also who comes now.
    server.connect().expect("Welcome!").send("Ann\n").expect("Hello, Ann!");
    early.send("Bob\n").expect("Hello, Bob!");
    let mut server = server;
    server.signal("TERM");
    assert_eq!(server.wait().0.code(), Some(3), "a second signal ends the delay, and all");
}

#[test]
fn the_delay_ends_and_the_drain_begins() {
    let server = TestServer::start(Options { drain_delay: short(200), ..options() }, Hello);
    let mut client = server.connect();
    client.expect("Welcome!");
    let stopped = Instant::now();
    server.handle.stop();
    assert!(!server.handle.is_ready() && server.handle.is_stopping());
    assert_eq!(client.rest(), "");
    assert!(stopped.elapsed() >= short(200), "after {:?}", stopped.elapsed());
    assert!(TcpStream::connect(server.address()).is_err(), "the listener is closed");
}

/// How a program ended that was sent `signals`, the first `pause` after its start.
fn ended(pause: Duration, signals: &[&str], config: &str) -> (ExitStatus, String) {
    // What the tests' own parent had it ignore, as a shell does for what runs in its background,
    // would be ignored until the program heeds it.
    let mut child = Command::new("env")
        .args(["--default-signal", env!("CARGO_BIN_EXE_welcomed")])
        .args(SERVE)
        .args(["--config", config])
        .clean_env()
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(pause);
    for signal in signals {
        // It may be over by now.
        Command::new("kill").args(["-s", signal, &child.id().to_string()]).output().unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "{signals:?} after {pause:?}: it hangs");
        thread::sleep(short(1));
    }
    let output = child.wait_with_output().unwrap();
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// At the start, twice, and amid reloads: it ends, by itself, and cleanly or not at all begun.
fn signalled_at_bad_moments(runs: u64) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("welcomed.toml");
    fs::write(&file, "[pool]\nworkers = 2\n").unwrap();
    let config = file.to_str().unwrap();
    for run in 0..runs {
        let pause = Duration::from_micros(run * 379 % 20_000);
        for signals in [&["TERM"][..], &["TERM", "TERM"], &["HUP", "TERM"], &["HUP", "HUP", "INT"]]
        {
            let (status, said) = ended(pause, signals, config);
            let code = status.code();
            // Killed by SIGHUP, SIGINT or SIGTERM, before there was anything to end; by no other.
            let killed = status.signal().is_some_and(|signal| [1, 2, 15].contains(&signal));
            let begun = said.contains("listening");
            let clean = matches!(code, Some(0)) || (code == Some(3) && signals == ["TERM", "TERM"]);
            assert!(clean || (killed && !begun), "{signals:?} {pause:?} {status:?}: {said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
}

#[test]
fn a_signal_at_a_bad_moment_ends_the_program_all_the_same() {
    signalled_at_bad_moments(25);
}

#[test]
#[ignore = "takes half a minute: cargo test --release --test it drain -- --ignored"]
fn a_thousand_signals_at_bad_moments() {
    signalled_at_bad_moments(250);
}

/// A process that was stopped for longer than every time-out finds the bytes that wait for it
/// before it looks at the clock.
#[test]
fn a_stopped_and_continued_process_closes_only_who_said_nothing() {
    stopped_for(Duration::from_secs(5), "[timeouts]\nidle = '4s'\nmessage = '4s'\n");
}

#[test]
#[ignore = "takes 70 s: see faults.rs"]
fn a_process_that_was_stopped_for_70_seconds() {
    stopped_for(Duration::from_secs(70), "[timeouts]\nidle = '30s'\n");
}

/// Stopped for a time that is longer than the time-outs of this configuration.
fn stopped_for(time: Duration, config: &str) {
    let server = Patient::new(config);
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("Welcome!");
    }
    let [mut silent, mut speaks, mut half, mut whole] = clients.try_into().ok().unwrap();
    half.send("An");
    whole.send("Bo");
    server.until("welcomed_received_bytes_total", 4.0);
    server.until("welcomed_connections{state=\"parked\"}", 4.0);
    server.signal("STOP");
    speaks.send("Ann\n");
    whole.send("b\n");
    // Longer than the time-outs: this is what is waited for.
    thread::sleep(time);
    server.signal("CONT");
    speaks.expect("Hello, Ann!");
    whole.expect("Hello, Bob!");
    for late in [&mut silent, &mut half] {
        late.socket.set_read_timeout(Some(time + PATIENCE)).unwrap();
        assert_eq!(late.rest(), "");
    }
    server.until("welcomed_connections_closed_total{reason=\"read_timeout\"}", 1.0);
    eventually("the silent one is counted", || {
        server.scrape()["welcomed_connections_closed_total{reason=\"idle\"}"] >= 1.0
    });
    drop((silent, speaks, half, whole));
    server.is_restored();
}
