//! The program's log: lines on standard error that nobody who logs waits for.
//!
//! ```text
//! a record -> backend: level, counter -> limit -> format -> queue -> thread `log` -> stderr
//! ```
//!
//! Installed by `serve`; the library logs through the facade and knows nothing of it. A reader
//! that stops reading costs lines, which are counted, and never holds the service or the exit.

mod backend;
mod format;
mod journal;
mod limit;
mod meters;
mod queue;
#[cfg(test)]
mod tests;

use self::backend::{Backend, PATIENCE};
use crate::config::LogFormat;
use crate::server::panic_words;
use log::{Level, LevelFilter, Log, Record};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::env;
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

pub(super) use self::meters::export;

/// Once there is a thread that writes.
static BACKEND: OnceLock<&'static Backend> = OnceLock::new();

/// How long the program waits for the log when it has to be quick.
const HASTE: Duration = Duration::from_millis(100);

/// Makes this the process's log, and what tells of panics.
pub(super) fn init(level: LevelFilter, format: LogFormat) -> io::Result<()> {
    // https://no-color.org: set and not empty.
    let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colour = wanted && io::stderr().is_terminal();
    let journal = journal::is_standard_error();
    let backend: &Backend = Box::leak(Box::new(Backend::new(level, format, colour, journal)));
    let write = || backend.write_to(io::stderr());
    thread::Builder::new().name("log".to_owned()).spawn(write)?;
    log::set_logger(backend).map_err(io::Error::other)?;
    BACKEND.get_or_init(|| backend);
    set(level, format);
    // The hook that a program begins with writes to standard error itself, and waits for it.
    panic::set_hook(Box::new(|panic| tell_panic(backend, panic)));
    Ok(())
}

/// Changes level and format of the running log, both at once.
pub(super) fn set(level: LevelFilter, format: LogFormat) {
    if let Some(backend) = BACKEND.get() {
        backend.set(level, format);
    }
}

/// A record as the log writes it to anything but a terminal.
#[cfg(feature = "fuzzing")]
pub(crate) fn log_line(
    format: LogFormat,
    journal: bool,
    time: std::time::SystemTime,
    record: &Record<'_>,
) -> String {
    format::line(format::Style { format, colour: false, journal }, time, record)
}

/// An error of the program itself, for its user: in line with the log, if there is one.
pub(super) fn say(line: &str) {
    match BACKEND.get() {
        Some(backend) => backend.say(Level::Error, line),
        None => say_now(line),
    }
}

/// Writes a line to standard error itself, past the log: it comes out though the log is off or
/// loses lines, and waits for a reader that is slow.
pub(super) fn say_now(line: &str) {
    // `eprintln!` panics where standard error is a file on a full disk, and that is no reason not
    // to serve.
    io::stderr().write_all(format!("{line}\n").as_bytes()).ok();
}

/// Has all of the log written, if that takes no more than a second: for the end of the program.
pub(super) fn flush() {
    flush_within(PATIENCE);
}

/// As [`flush`], for an end that has to come at once.
pub(super) fn flush_quickly() {
    flush_within(HASTE);
}

fn flush_within(patience: Duration) {
    if let Some(backend) = BACKEND.get() {
        // What is left then is lost with the process.
        backend.flush_within(patience);
    }
}

/// Logs a panic, of whichever thread, as an error of the place where it happened.
fn tell_panic(backend: &Backend, panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let words = panic_words(panic.payload());
    backend.log(
        &Record::builder()
            .level(Level::Error)
            .target("panic")
            .file(panic.location().map(|place| place.file()))
            .line(panic.location().map(|place| place.line()))
            .args(format_args!("thread {name} panicked at {place}: {words}"))
            .build(),
    );
    // RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        backend.say(Level::Error, &backtrace.to_string());
    }
    // A panic of the main thread is the end; one of a worker costs a connection, and must not
    // cost it time.
    if name == "main" {
        backend.flush_within(HASTE);
    }
}
