//! The program's log as whoever collects it sees it: what stands in it, what a client cannot put
//! there, and that nobody has to read it.

use crate::endpoint::scrape;
use crate::faults::base::Base;
use crate::support::{CleanEnv, Client, Daemon, eventually, talk};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use tempfile::NamedTempFile;

/// Every way to end a line, to command a terminal, and to look like a line of ours.
const EVIL: &str = "\u{1b}[2J\u{9b}31m\u{7}Ann\r2026-01-01T00:00:00.000Z ERROR fake\u{2028}\
                    {\"level\":\"error\",\"message\":\"fake\"}\u{202e}level=error msg=fake\0";

/// A configuration of the log, and of short messages.
fn log(level: &str, format: &str, connections: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    let text = format!(
        "[service]
max_message = \"1KiB\"
[log]
level = \"{level}\"
format = \"{format}\"
\
         connections = \"{connections}\"
"
    );
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn serve(log: &NamedTempFile) -> Daemon {
    Daemon::serve(&["--config", log.path().to_str().unwrap(), "--framing", "line"])
}

/// A client comes, is answered, and goes.
fn visit(server: &Daemon) {
    let mut client = server.connect();
    client.expect("Welcome!");
    talk(&mut client, &["Ann"]);
    assert_eq!(client.send("exit\n").rest(), "");
}

fn lost(server: &Daemon) -> f64 {
    scrape(server.metrics.unwrap())["welcomed_log_dropped_total"]
}

/// A server whose log nobody reads, after so many visits that its lines have no place to go.
fn unread(arguments: &[&str], visit: fn(&Daemon)) -> Daemon {
    let server =
        Daemon::serve(&[&["--log-level", "debug", "--framing", "line"], arguments].concat());
    let base = Base::of(&server);
    assert_eq!(lost(&server), 0.0);
    eventually("lines are lost", || {
        (0..500).for_each(|_| visit(&server));
        lost(&server) > 0.0
    });
    base.is_restored(&server);
    server
}

#[test]
fn a_log_that_nobody_reads_holds_neither_the_service_nor_its_end() {
    let mut server = unread(&[], visit);
    let before = lost(&server);
    (0..500).for_each(|_| visit(&server));
    assert!(lost(&server) >= before + 1000.0, "two lines for each, and none gets out");
    server.signal("TERM");
    assert_eq!(server.wait_unread().code(), Some(0));
}

#[test]
fn a_reader_that_comes_back_is_told_what_it_missed() {
    let (status, said) = unread(&[], visit).stop();
    assert_eq!(status.code(), Some(0));
    let (before, after) = said.split_once(" lines of the log are missing here").expect(&said);
    assert!(before.lines().count() > 1000, "what the queue held comes first");
    let lost: u64 = after.split_once(" lost=").unwrap().1.lines().next().unwrap().parse().unwrap();
    assert!(lost > 0);
}

#[test]
fn a_second_signal_waits_for_no_reader() {
    let mut server = unread(&["--work-delay", "1h"], |server| {
        server.connect().expect("Welcome!");
    });
    let mut client = server.connect();
    client.expect("Welcome!").send("blocks a worker\n");
    server.signal("TERM");
    // The drain has begun when the listener is closed.
    eventually("the listener is closed", || TcpStream::connect(server.service).is_err());
    server.signal("TERM");
    assert_eq!(server.wait_unread().code(), Some(3));
}

#[test]
fn a_client_writes_no_line_in_any_format() {
    for format in ["text", "json", "logfmt", "plain"] {
        let server = serve(&log("trace", format, "info"));
        let mut client = server.connect();
        client.expect("Welcome!");
        client.send(EVIL).send("\n").expect(&format!("Hello, {EVIL}!"));
        client.send(EVIL).send("\r\n").expect(&format!("Hello, {EVIL}!"));
        // One that is refused, and one that is cut off in the middle.
        let rest = client.send(EVIL.repeat(20)).rest();
        assert!(rest.contains("too long"), "{format}: {rest}");
        server.connect().send(EVIL);
        let mut scraper = Client::connect(server.metrics.unwrap());
        scraper.send(format!("GET /{EVIL} HTTP/1.1\r\nHost: {EVIL}\r\n{EVIL}: a\r\n\r\n"));
        let rest = scraper.rest();
        assert!(rest.starts_with("HTTP/1.0 400 "), "{format}: {rest}");

        // Neither the service nor the endpoint need wait for them.
        drop((client, scraper));
        let (status, said) = server.stop();
        assert_eq!(status.code(), Some(0));
        let hidden = |it: char| it != '\n' && (it.is_control() || "\u{2028}\u{202e}".contains(it));
        assert!(!said.contains(hidden) && !said.contains("fake"), "{format}: {said:?}");
        assert!(said.contains("message_too_large") || format == "plain", "{format}: {said:?}");
        assert!(said.lines().count() > 6, "{format}: {said:?}");
        for line in said.lines() {
            let start = match format {
                "text" => "20",
                "json" => "{\"time\":\"20",
                "logfmt" => "time=20",
                _ => "",
            };
            assert!(line.starts_with(start), "{format}: {line:?}");
            assert!(format != "json" || serde_json::from_str::<Value>(line).is_ok(), "{line:?}");
        }
    }
}

#[test]
fn json_tells_of_a_connection_in_fields() {
    let server = serve(&log("debug", "json", "debug"));
    visit(&server);
    let said = server.stop().1;
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |start: &str| {
        let of = |line: &&Value| line["message"].as_str().unwrap().starts_with(start);
        lines.iter().find(of).expect(&said)
    };
    let (opened, closed) = (find("Accept new connection"), find("Connection from"));
    for line in [opened, closed] {
        assert_eq!(line["level"], "debug");
        assert!(line["target"].as_str().unwrap().starts_with("welcomed::server"), "{line}");
        assert_eq!(line["peer"], opened["peer"]);
        assert!(line["id"].is_u64() && line["id"] == opened["id"], "{line}");
    }
    assert!(opened["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{opened}");
    assert_eq!(closed["reason"], "exit", "{closed}");
    let duration = closed["duration"].as_str().unwrap();
    assert!(duration.starts_with(|it: char| it.is_ascii_digit()) && duration.ends_with('s'));
}

#[test]
fn logfmt_tells_of_a_connection_in_pairs() {
    let server = serve(&log("debug", "logfmt", "debug"));
    visit(&server);
    let said = server.stop().1;
    let line = |start: &str| said.lines().find(|line| line.contains(start)).expect(&said);
    let opened = line("msg=\"Accept new connection from 127.0.0.1:");
    let pairs = opened.split_once("...\" ").expect(opened).1;
    let peer = pairs.split_once(" peer=127.0.0.1:").expect(pairs).1;
    let closed = line("msg=\"Connection from 127.0.0.1:");
    let expected = format!("closed.\" {pairs} reason=exit duration=");
    assert!(closed.contains(&expected) && peer.parse::<u16>().is_ok(), "{expected} in {closed}");
}

#[test]
fn a_flood_of_one_warning_is_limited_and_counted() {
    const CLIENTS: u64 = 500;
    let server = serve(&log("warn", "text", "warn"));
    (0..CLIENTS).for_each(|_| visit(&server));
    eventually("all are closed", || {
        let now = scrape(server.metrics.unwrap());
        // What is held back is a message all the same, and not lost.
        assert_eq!(now["welcomed_log_dropped_total"], 0.0);
        assert_eq!(now["welcomed_log_messages_total{level=\"info\"}"], 0.0);
        now["welcomed_log_messages_total{level=\"warn\"}"] >= 2.0 * CLIENTS as f64
    });
    let said = server.stop().1;
    for what in ["Accept new connection from", "Connection from"] {
        let (mut written, mut suppressed) = (0, 0);
        for line in said.lines().filter(|line| line.contains(what)) {
            match line.rsplit_once(" suppressed=") {
                Some((_, count)) => suppressed += count.parse::<u64>().unwrap(),
                None => written += 1,
            }
        }
        assert_eq!(written + suppressed, CLIENTS, "{what}: {said}");
        assert!(written >= 10 && suppressed > 0, "{what}: {said}");
    }
}

#[test]
fn the_journal_gets_priorities_in_place_of_times() {
    let stream = NamedTempFile::new().unwrap();
    let (file, log) = (stream.as_file().metadata().unwrap(), log("info", "text", "info"));
    let run = |journal: String| {
        stream.as_file().set_len(0).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_welcomed"))
            .args(["serve", "--listen=127.0.0.1:0", "--metrics-listen=off", "--config"])
            .arg(log.path())
            .clean_env()
            .env("JOURNAL_STREAM", journal)
            .stderr(Stdio::from(File::options().append(true).open(stream.path()).unwrap()))
            .spawn()
            .unwrap();
        let said = || fs::read_to_string(stream.path()).unwrap();
        eventually("it runs", || said().contains("Waiting for connection"));
        let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success() && child.wait().unwrap().success());
        said()
    };
    let said = run(format!("{}:{}", file.dev(), file.ino()));
    assert!(said.contains("\n<6>INFO  Waiting for connection...\n"), "{said}");
    assert!(said.lines().all(|it| it.starts_with("<6>") || it.starts_with("listening")), "{said}");
    // Inherited from a parent whose output is another one.
    let said = run(format!("{}:{}", file.dev(), file.ino() + 1));
    assert!(!said.contains('<') && said.contains("Z INFO  Waiting"), "{said}");
}
