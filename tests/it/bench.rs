//! `welcomed bench`, the real program: against servers of ours that do right, and against fakes
//! that stall, lie or leave.

use crate::browser::Browser;
use crate::support::{CleanEnv, PATIENCE, TestServer, count};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use welcomed::protocol::Framing;
use welcomed::server::Options;
use welcomed::service::{Echo, Hello};

/// `welcomed bench`, short unless the arguments say how long.
fn command(address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
    command.args(["bench", &address.to_string()]);
    for (name, value) in [("--duration", "300ms"), ("--warmup", "50ms")] {
        if !arguments.contains(&name) {
            command.args([name, value]);
        }
    }
    command.args(arguments).clean_env().stdin(Stdio::null());
    command
}

/// Runs `welcomed bench` to its end.
fn bench(address: SocketAddr, arguments: &[&str]) -> Output {
    command(address, arguments).output().unwrap()
}

fn bench_json(address: SocketAddr, arguments: &[&str]) -> (Value, Output) {
    let output = bench(address, &[arguments, &["--json", "-"]].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {output:?}");
    });
    (report, output)
}

fn hello(framing: Framing) -> TestServer {
    TestServer::start(Options { workers: 2, framing, ..Options::default() }, Hello)
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A server with a thread per connection: `talk` is told the number of a message on its
/// connection and the message, and what it returns is sent; nothing hangs up.
fn fake(talk: impl Fn(usize, &str) -> Option<String> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let talk = talk.clone();
            thread::spawn(move || converse(stream.unwrap(), &talk));
        }
    });
    address
}

fn converse(mut stream: TcpStream, talk: &impl Fn(usize, &str) -> Option<String>) {
    stream.write_all(b"Welcome!\n").unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    for (number, line) in lines.map_while(Result::ok).enumerate() {
        let Some(reply) = talk(number, &line) else { return };
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn every_framing_payload_and_service_is_answered() {
    let line = hello(Framing::Line);
    let raw = hello(Framing::Raw);
    let options = Options { framing: Framing::Line, ..Options::default() };
    let echo = TestServer::start(options, Echo);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "Michael\nTracy\r\n\nSarah\n").unwrap();
    let file = file.path().to_str().unwrap();
    let rows: [(&TestServer, &[&str]); 8] = [
        (&line, &["--in-flight", "16", "--threads", "2"]),
        (&line, &["--payload", "1KiB"]),
        (&line, &["--payload", file, "--in-flight", "3"]),
        (&line, &["--think-time", "1ms", "--ramp", "100ms"]),
        (&line, &["--rate", "500", "--arrivals", "constant"]),
        (&raw, &["--framing", "raw"]),
        (&echo, &["--expect", "echo", "--in-flight", "4"]),
        (&line, &["--expect", "any", "--rate", "500"]),
    ];
    for (server, arguments) in rows {
        let (report, output) =
            bench_json(server.address(), &[&["--connections", "8"], arguments].concat());
        assert_exit(&output, 0);
        assert_eq!(stderr(&output), "", "{arguments:?}");
        assert!(report["messages"].as_u64().unwrap() > 0, "{arguments:?}: {report}");
        let errors = report["errors"].as_object().unwrap();
        assert!(errors.len() > 5 && errors.values().all(|count| count == 0), "{report}");
    }
}

#[test]
fn the_text_tells_what_was_sent() {
    let server = hello(Framing::Line);
    for (arrivals, told) in [
        ("constant", "open loop, 200 messages/s, constant arrivals"),
        ("poisson", "open loop, 200 messages/s, Poisson arrivals"),
    ] {
        let open = ["--connections", "2", "--rate", "200", "--arrivals", arrivals];
        let output = bench(server.address(), &open);
        assert_exit(&output, 0);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(told), "{said}");
    }
}

/// In an open loop all that was due while the server stalled is late; a closed loop, which would
/// have sent nothing meanwhile, sees it once on each connection.
#[test]
fn a_stall_is_seen_by_every_message_that_was_due_meanwhile() {
    let stall = Duration::from_millis(400);
    let rate = 1000;
    // The one connection's 300th message comes 300 ms after the first.
    let server = || {
        fake(move |number, name| {
            if number == 300 {
                thread::sleep(stall);
            }
            Some(format!("Hello, {name}!\n"))
        })
    };
    let rate_text = rate.to_string();
    let one = ["--connections", "1", "--duration", "2s", "--warmup", "0s", "--csv", "-"];
    let open = ["--rate", &rate_text, "--arrivals", "constant"];
    let output = bench(server(), &[&one[..], &open].concat());
    assert_exit(&output, 0);
    let number = |output: &Output, what: &str, at: &str| {
        let table = String::from_utf8(output.stdout.clone()).unwrap();
        let start = format!("{what},{at},");
        let row = table.lines().find_map(|row| row.strip_prefix(&start)?.parse::<f64>().ok());
        row.unwrap_or_else(|| panic!("no {start} in {table}"))
    };
    // 400 of 2,000 messages were due during the stall, evenly from its begin to its end: the
    // longest waited for all of it, and a tenth of all for half of it or more.
    let open_max = number(&output, "latency_seconds", "1");
    let open_p90 = number(&output, "latency_seconds", "0.9");
    assert!(open_max >= stall.as_secs_f64(), "{open_max}");
    assert!(open_p90 / open_max > 0.3, "p90 {open_p90}, max {open_max}");

    let output = bench(server(), &one);
    assert_exit(&output, 0);
    let closed_max = number(&output, "latency_seconds", "1");
    let closed_p99 = number(&output, "latency_seconds", "0.99");
    assert!(closed_max >= stall.as_secs_f64(), "{closed_max}");
    assert!(closed_p99 / closed_max < 0.3, "p99 {closed_p99}, max {closed_max}");
}

#[test]
fn a_wrong_a_missing_and_a_lost_reply_are_failures() {
    let wrong = fake(|number, name| {
        let name = if number == 5 { "<b>nobody</b>\x1b[2J" } else { name };
        Some(format!("Hello, {name}!\n"))
    });
    let missing = fake(|number, name| {
        Some(if number == 5 { String::new() } else { format!("Hello, {name}!\n") })
    });
    let closed = fake(|number, name| (number < 5).then(|| format!("Hello, {name}!\n")));
    for (server, kind, expected) in
        [(wrong, "wrong", 3), (missing, "missing", 3), (closed, "lost", 3)]
    {
        let (report, output) = bench_json(server, &["--connections", "3", "--timeout", "500ms"]);
        assert_exit(&output, 1);
        assert_eq!(report["errors"][kind], expected, "{report}");
        assert!(stderr(&output).starts_with("welcomed: bench: errors: 3 "), "{output:?}");
        assert!(!stderr(&output).contains('\x1b'), "{output:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = bench(nobody, &[]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("64 connect (Connection refused"), "{output:?}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_sent() {
    let server = hello(Framing::Line);
    let rows: [(&[&str], &str); 9] = [
        (&["--framing", "auto"], "allowed are `line` and `raw`"),
        (&["--connections", "100000"], "open files, the limit is"),
        (&["--connections", "0"], "cannot open 0 connections"),
        (&["--framing", "raw", "--in-flight", "2"], "one message in flight"),
        (&["--rate", "0"], "cannot send 0 messages per second"),
        (&["--threads", "65"], "65 threads for 64 connections"),
        (&["--payload", "no-such-file"], "No such file"),
        (&["--html", "/no/such/place.html"], "cannot write `/no/such/place.html`"),
        (&["--json", "-", "--csv", "-"], "only one of the files can be `-`"),
    ];
    for (arguments, expected) in rows {
        let output = bench(server.address(), arguments);
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(expected), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    let unix = Command::new(env!("CARGO_BIN_EXE_welcomed"))
        .args(["bench", "unix:/run/welcomed.sock"])
        .clean_env()
        .output()
        .unwrap();
    assert_exit(&unix, 2);
    assert!(stderr(&unix).contains("only TCP is loaded; allowed is `host:port`"), "{unix:?}");
    // Addresses for documentation, which belong to nobody: refused before any packet.
    for foreign in ["192.0.2.1:9", "[2001:db8::1]:9"] {
        let output = bench(foreign.parse().unwrap(), &[]);
        assert_exit(&output, 2);
        assert!(stderr(&output).contains("--i-own-this-host"), "{output:?}");
    }
    assert_eq!(server.stats().accepted[0].accepted, 0);
}

#[test]
fn connections_come_from_the_addresses_that_are_given() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accept = thread::spawn(move || {
        let accepted: Vec<_> = (0..6).map(|_| listener.accept().unwrap()).collect();
        let mut peers: Vec<_> = accepted.iter().map(|(_, peer)| peer.ip().to_string()).collect();
        peers.sort();
        peers
    });
    let arguments = ["--source", "127.0.0.2-127.0.0.4", "--connections", "6", "--timeout", "1s"];
    assert_exit(&bench(address, &arguments), 1);
    let [a, b, c] = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
    assert_eq!(accept.join().unwrap(), [a, a, b, b, c, c]);
}

#[test]
fn a_threshold_fails_the_run_and_the_report_is_there_all_the_same() {
    let server = hello(Framing::Line);
    let most = ["--fail-above", "p50=1ns", "--fail-above", "max=1h"];
    let output = bench(server.address(), &most);
    assert_exit(&output, 1);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    for part in ["closed loop", "throughput", "p99.99", "errors      none"] {
        assert!(text.contains(part), "{text}");
    }
    let complaint = stderr(&output);
    assert!(complaint.starts_with("welcomed: bench: p50 is "), "{complaint}");
    assert!(!complaint.contains("max"), "{complaint}");
}

#[test]
fn a_signal_ends_the_run_with_its_report() {
    let server = hello(Framing::Line);
    let mut child = command(server.address(), &["--json", "-", "--duration", "1h"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.until("it is loaded", |stats| stats.messages > 1000);
    // Longer than the warm-up, so that there is something to report.
    let before = server.stats().messages;
    let begun = Instant::now();
    server.until("it goes on", |stats| {
        stats.messages > before && begun.elapsed() > Duration::from_millis(200)
    });
    let sent = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it goes on");
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 3);
    assert_eq!(stderr(&output), "welcomed: bench: interrupted\n");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["messages"].as_u64().unwrap() > 0, "{report}");
    // All that was sent was answered: the connections were closed at rest.
    server.until("all are gone", |stats| stats.open() == 0);
    assert_eq!(count(&server.stats().closed, "client"), 64);
}

/// `script` gives the program a terminal.
#[test]
fn a_terminal_gets_a_bar_and_a_pipe_does_not() {
    let server = hello(Framing::Line);
    let address = server.address().to_string();
    let program = env!("CARGO_BIN_EXE_welcomed");
    let line = format!("{program} bench {address} --warmup 0s --duration 4s");
    let shown = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_exit(&shown, 0);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("messages/s, p99"), "{shown:?}");
    let piped = bench(server.address(), &["--duration", "1s"]);
    assert_exit(&piped, 0);
    assert_eq!(stderr(&piped), "");
}

#[test]
fn the_page_is_whole_and_a_browser_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let hostile = fake(|number, name| {
        let name = if number == 5 { "<script>document.title='evil'</script>" } else { name };
        Some(format!("Hello, {name}!\n"))
    });
    let arguments = ["--html", path.to_str().unwrap(), "--duration", "2s"];
    assert_exit(&bench(hostile, &arguments), 1);
    let page = fs::read_to_string(&path).unwrap();
    assert!(!page.contains("<script"), "{page}");
    assert_eq!(page.matches("<figure").count(), 3);
    assert_eq!(page.matches("<polyline").count(), 4, "{page}");
    for number in ["NaN", "inf"] {
        assert!(!page.contains(&format!("{number},")), "{page}");
    }

    let Some(browser) = Browser::start() else { return };
    browser.look(1240, 900, true);
    browser.open(&format!("file://{}", path.display()));
    let facts = browser.run(
        "const box = (it) => it.getBoundingClientRect();
         const inside = [...document.querySelectorAll('polyline')].every((line) => {
             const [it, plot] = [box(line), box(line.closest('svg'))];
             return it.width > 50 && it.top >= plot.top - 1 && it.bottom <= plot.bottom + 1;
         });
         const source = new XMLSerializer().serializeToString(document);
         const parsed = new DOMParser().parseFromString(source, 'application/xhtml+xml');
         return { title: document.title, inside,
                  back: getComputedStyle(document.body).backgroundColor,
                  notice: document.querySelector('.notice').textContent,
                  wellFormed: parsed.querySelector('parsererror') === null,
                  wide: document.documentElement.scrollWidth <= innerWidth }",
        "",
    );
    assert_eq!(facts["inside"], true, "{facts}");
    assert_eq!(facts["wellFormed"], true, "{facts}");
    assert_eq!(facts["wide"], true, "{facts}");
    assert_eq!(facts["back"], "rgb(16, 21, 28)", "dark as the browser likes it: {facts}");
    assert!(facts["title"].as_str().unwrap().starts_with("Load on 127."), "{facts}");
    assert!(facts["notice"].as_str().unwrap().contains("<script>"), "{facts}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    if let Some(folder) = std::env::var_os("WELCOMED_SCREENSHOTS_BENCH") {
        browser.screenshot(&std::path::Path::new(&folder).join("bench.png"));
    }
}
