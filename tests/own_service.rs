//! A program around a service of its own, as `cli::serve_with` makes one, whose handler fails and
//! panics with the words of its clients: what then stands in the log.
//!
//! With the argument `serve` this file is that program, with `tune` one around a service that
//! takes its time; without, it runs them and is the test.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // tests
#![allow(missing_docs, unreachable_pub, dead_code)] // no API, and more support than needed

#[path = "it/support.rs"]
mod support;

use std::env;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;
use support::{CleanEnv, Client, Daemon, eventually};
use welcomed::service::{Context, Flow, Reply, Service, ServiceError};

/// Fails with what it is sent; panics with it, if it begins so.
struct Fragile;

impl Service for Fragile {
    fn call(
        &self,
        _: &mut Context<'_>,
        message: &[u8],
        _: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        let text = String::from_utf8_lossy(message).into_owned();
        if text.starts_with("panic") {
            std::panic::panic_any(text);
        }
        Err(text.into())
    }
}

/// Greets nobody, and takes a few milliseconds.
struct Slow;

impl Service for Slow {
    fn call(
        &self,
        _: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        thread::sleep(Duration::from_millis(3));
        reply.push(&message.to_ascii_uppercase());
        Ok(Flow::Continue)
    }
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some("serve") => return welcomed::cli::serve_with(Fragile),
        Some("tune") => return welcomed::cli::serve_with(Slow),
        // What a runner of tests asks first; there is no list to choose from.
        Some("--list") => return ExitCode::SUCCESS,
        _ => {}
    }
    for (name, test) in TESTS {
        println!("test {name} ...");
        test();
    }
    ExitCode::SUCCESS
}

const TESTS: [(&str, fn()); 4] = [
    ("a client's words stay inside their line", words_stay_inside_their_line),
    ("a log that nobody reads holds no panic", nobody_has_to_read_of_panics),
    ("a flood of failures is limited by place", a_flood_is_limited),
    ("its pool is tuned as it is", it_is_tuned),
];

fn serve(level: &str) -> Daemon {
    let arguments = ["--framing", "line", "--log-level", level];
    Daemon::serve_by(&env::current_exe().unwrap(), &arguments)
}

/// Says this, and is told that the handler failed.
fn say(server: &Daemon, words: &str) {
    let rest = server.connect().send(format!("{words}\n")).rest();
    assert_eq!(rest, "Internal error.\n");
}

fn words_stay_inside_their_line() {
    let server = serve("info");
    let evil = "\u{1b}[2J\u{9b}31mAnn\r2026-01-01T00:00:00.000Z ERROR fake\u{2028}fake \"=\0";
    say(&server, evil);
    say(&server, &format!("panic {evil}"));
    let (status, said) = server.stop();
    assert_eq!(status.code(), Some(0));
    let hidden = |it: char| it != '\n' && (it.is_control() || it == '\u{2028}');
    assert!(!said.contains(hidden), "{said:?}");
    // An error; a panic as the hook tells it, and as the engine does.
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("fake")).collect();
    let [error, hook, engine] = lines[..] else { panic!("{said}") };
    let escaped = "\\u001b[2J\\u009b31mAnn\\r2026-01-01T00:00:00.000Z ERROR fake\\u2028fake";
    assert!(error.contains(&format!(" WARN  the handler failed: {escaped}")), "{error}");
    assert!(hook.contains(" ERROR thread work-") && hook.contains(escaped), "{hook}");
    assert!(hook.contains(" panicked at tests/own_service.rs:"), "{hook}");
    let expected = format!(" ERROR the handler panicked: panic {escaped}");
    assert!(engine.contains(&expected), "{engine}");
}

fn nobody_has_to_read_of_panics() {
    let mut server = serve("debug");
    let lines_are_lost = || {
        let mut scrape = Client::connect(server.metrics.unwrap());
        let text = scrape.send("GET /metrics HTTP/1.0\r\n\r\n").rest();
        let lost = text.lines().find_map(|line| line.strip_prefix("welcomed_log_dropped_total "));
        lost.unwrap() != "0"
    };
    // The panics themselves are limited; their connections' lines at debug level are not.
    eventually("lines are lost", || {
        (0..500).for_each(|_| say(&server, "panic"));
        lines_are_lost()
    });
    (0..100).for_each(|_| say(&server, "panic"));
    server.signal("TERM");
    assert_eq!(server.wait_unread().code(), Some(0));
}

fn a_flood_is_limited() {
    let server = serve("info");
    for _ in 0..200 {
        say(&server, "it burns");
    }
    let said = server.stop().1;
    let written = said.lines().filter(|line| line.contains("failed: it burns id="));
    let counts = said.lines().filter_map(|line| line.rsplit_once(" suppressed="));
    let suppressed: usize = counts.map(|(_, count)| count.parse::<usize>().unwrap()).sum();
    assert_eq!(written.count() + suppressed, 200, "{said}");
    assert!(suppressed > 0 && said.contains("more like this suppressed: the handler failed: it"));
}

fn it_is_tuned() {
    let arguments = ["tune", "--sweep", "1,2", "--connections", "4", "--duration", "500ms"];
    let mut tune = Command::new(env::current_exe().unwrap());
    let output = tune.args(arguments).args(["--warmup", "100ms"]).clean_env().output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("the program's own service, line framing; 4 connections"), "{text}");
    assert!(text.contains("\n[pool]\nworkers = "), "{text}");
}
