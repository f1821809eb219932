//! The backend as a whole, its thread played by the test.

use super::backend::Backend;
use super::*;
use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};

fn backend(level: LevelFilter) -> Backend {
    Backend::new(level, LogFormat::Plain, false, false)
}

fn log(backend: &Backend, level: Level, line: u32, text: &str) {
    let mut record = Record::builder();
    record.level(level).target("t").file(Some("f.rs")).line(Some(line));
    backend.log(&record.args(format_args!("{text}")).build());
}

/// Standard error as a place where a test can look, and that takes nothing before it is let.
struct Output {
    gate: Receiver<()>,
    written: Sender<String>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A test that is over lets everything through.
        self.gate.recv().ok();
        let text = String::from_utf8(bytes.to_vec()).expect("lines are UTF-8");
        self.written.send(text).ok();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A backend with its thread; nothing is written before the sender is dropped or used.
fn running(level: LevelFilter) -> (&'static Backend, Sender<()>, Receiver<String>) {
    let backend: &'static Backend = Box::leak(Box::new(backend(level)));
    let ((open, gate), (written, read)) = (channel(), channel());
    thread::spawn(move || backend.write_to(Output { gate, written }));
    (backend, open, read)
}

const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_reader_that_stops_costs_lines_and_no_time_and_is_told_of_them() {
    let (backend, open, read) = running(LevelFilter::Debug);
    for number in 0..20_000 {
        log(backend, Level::Debug, 1, &number.to_string());
    }
    let lost = backend.lost();
    assert!((10_000..20_000).contains(&lost), "{lost}");
    assert!(!backend.flush_within(Duration::from_millis(1)), "nobody reads");

    drop(open);
    assert!(backend.flush_within(SOON));
    log(backend, Level::Debug, 1, "after");
    assert!(backend.flush_within(SOON));
    let said: String = read.try_iter().collect();
    let lines: Vec<&str> = said.lines().collect();
    let kept = usize::try_from(20_000 - lost).expect("small");
    let expected: Vec<String> = (0..kept).map(|number| number.to_string()).collect();
    assert_eq!(lines[..kept], expected, "in order, and the gap behind them");
    let gap = "lines of the log are missing here: its reader was too slow";
    assert_eq!(lines[kept..], [gap, "after"]);
    assert_eq!(backend.lost(), lost);
}

/// How many warnings were written, and how many suppressed. Of a second that a slow machine takes
/// for a flood, each has its own.
fn written_and_suppressed(said: &str) -> (u64, u64) {
    let suppressed = |line: &str| -> Option<u64> {
        line.split_once(" more like this suppressed: ")?.0.parse().ok()
    };
    let written = said.lines().filter(|line| line.starts_with("warning "));
    (written.count() as u64, said.lines().filter_map(suppressed).sum())
}

#[test]
fn a_flood_of_equal_warnings_is_a_few_lines_and_a_count_that_comes_by_itself() {
    let (backend, open, read) = running(LevelFilter::Debug);
    drop(open);
    for number in 0..1000 {
        log(backend, Level::Warn, 1, &format!("warning {number}"));
        log(backend, Level::Info, 2, "info");
    }
    log(backend, Level::Error, 3, "another");
    let mut said = String::new();
    // Nothing but the clock makes it come.
    let (written, suppressed) = loop {
        said += &read.recv_timeout(SOON).expect("the count comes");
        let (written, suppressed) = written_and_suppressed(&said);
        if written + suppressed == 1000 {
            break (written, suppressed);
        }
    };
    assert!(written >= 10 && suppressed > 500, "{said}");
    assert_eq!(said.lines().filter(|line| *line == "info").count(), 1000, "{said}");
    assert_eq!(said.lines().filter(|line| *line == "another").count(), 1, "{said}");
    assert!(said.contains(" more like this suppressed: warning "), "{said}");
    // Held back is not lost, and counts.
    assert_eq!((backend.counts(), backend.lost()), ([1, 1000, 1000], 0));
}

#[test]
fn at_the_end_a_count_does_not_wait_for_its_window() {
    let (backend, open, read) = running(LevelFilter::Warn);
    drop(open);
    for _ in 0..1000 {
        log(backend, Level::Error, 1, "warning of a flood");
    }
    assert!(backend.flush_within(SOON));
    let said: String = read.try_iter().collect();
    let (written, suppressed) = written_and_suppressed(&said);
    assert_eq!(written + suppressed, 1000, "{said}");
}

#[test]
fn level_and_format_change_while_it_runs() {
    let (backend, open, read) = running(LevelFilter::Warn);
    drop(open);
    log(backend, Level::Info, 1, "too early");
    log(backend, Level::Warn, 1, "plain");
    backend.set(LevelFilter::Debug, LogFormat::Json);
    log(backend, Level::Debug, 1, "json");
    log(backend, Level::Trace, 1, "too fine");
    backend.set(LevelFilter::Off, LogFormat::Text);
    log(backend, Level::Error, 1, "too late");
    assert!(backend.flush_within(SOON));
    let said: String = read.try_iter().collect();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "plain"), "{said}");
    assert!(lines[1].ends_with(r#""level":"debug","target":"t","message":"json"}"#), "{said}");
    assert_eq!(backend.counts(), [0, 1, 0], "what the level keeps out is not counted");
}

#[test]
fn what_standard_error_does_not_take_is_lost() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let backend: &'static Backend = Box::leak(Box::new(backend(LevelFilter::Info)));
    thread::spawn(|| backend.write_to(Gone));
    log(backend, Level::Info, 1, "nobody hears it");
    assert!(backend.flush_within(SOON), "nor does the exit wait for it");
    assert_eq!(backend.lost(), 1);
}

#[test]
fn a_line_that_logs_while_it_is_shown_comes_through() {
    struct Talkative<'a>(&'a Backend);
    impl std::fmt::Display for Talkative<'_> {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            log(self.0, Level::Warn, 2, "inner");
            out.write_str("outer")
        }
    }
    let backend = backend(LevelFilter::Info);
    // Beyond the limit too, where the example is made.
    for _ in 0..20 {
        let mut record = Record::builder();
        record.level(Level::Warn).target("t").line(Some(1));
        backend.log(&record.args(format_args!("{}", Talkative(&backend))).build());
    }
    assert_eq!(backend.counts()[1], 20 + 11, "ten are written, one is the example");
}
