//! The backend of the `log` facade: a record passes level, counter and limit, becomes a line, and
//! waits in the queue for the thread `log`, which writes it.
//!
//! Called by every thread that logs, none of which it lets wait for standard error.

use super::format::{self, Style};
use super::limit::{Limit, Suppressed, Verdict};
use super::queue::{Entry, Queue};
use crate::config::LogFormat;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The levels that are counted.
pub(super) const COUNTED: [(&str, Level); 3] =
    [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info)];
/// What the backend's own lines have as their target.
const TARGET: &str = "welcomed::log";
/// How long a line may take at the end of the program.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Backend {
    /// Level and format, which change together.
    look: RwLock<(LevelFilter, LogFormat)>,
    colour: bool,
    journal: bool,
    /// In the order of [`COUNTED`].
    counts: [AtomicU64; COUNTED.len()],
    limit: Mutex<Limit>,
    queue: Queue,
}

impl Backend {
    pub(super) fn new(level: LevelFilter, format: LogFormat, colour: bool, journal: bool) -> Self {
        Self {
            look: RwLock::new((level, format)),
            colour,
            journal,
            counts: Default::default(),
            limit: Mutex::default(),
            queue: Queue::default(),
        }
    }

    /// Changes level and format; a line is of the old pair or of the new one.
    pub(super) fn set(&self, level: LevelFilter, format: LogFormat) {
        let mut look = self.look.write().unwrap_or_else(PoisonError::into_inner);
        *look = (level, format);
        // Inside the lock, so that of two changes one is the last for both.
        log::set_max_level(level);
    }

    /// Records of this level so far: those that the limit held back and those that were lost
    /// included.
    pub(super) fn counts(&self) -> [u64; COUNTED.len()] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Lines lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.queue.lost()
    }

    /// A line of its own making, without time or level.
    pub(super) fn say(&self, level: Level, line: &str) {
        let priority = if self.journal { format::priority(level) } else { "" };
        self.queue.push(format!("{priority}{line}\n"));
    }

    /// Waits until all is written, but no longer than this; says whether it is.
    pub(super) fn flush_within(&self, patience: Duration) -> bool {
        self.tell_suppressed(true);
        self.queue.flush(patience)
    }

    /// What the thread `log` does, for ever.
    pub(super) fn write_to(&self, mut output: impl Write) {
        loop {
            self.turn(&mut output);
        }
    }

    /// Waits for something to do, and writes a batch.
    fn turn(&self, output: &mut impl Write) {
        let due = self.limit().due();
        let mut batch = Vec::new();
        self.queue.take(&mut batch, due);
        self.tell_suppressed(false);
        if batch.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        let mut lines = 0;
        for entry in batch {
            match entry {
                Entry::Line(line) => {
                    lines += 1;
                    bytes.extend_from_slice(line.as_bytes());
                }
                Entry::Gap(lost) => bytes.extend_from_slice(self.gap(lost).as_bytes()),
            }
        }
        // Its reader is gone, or the disk is full: there is nobody to tell but the counter.
        if write_all(output, &bytes).is_err() {
            self.queue.count_lost(lines);
        }
        self.queue.done();
    }

    fn gap(&self, lost: u64) -> String {
        self.line(
            self.look().1,
            &Record::builder()
                .level(Level::Warn)
                .target(TARGET)
                .args(format_args!("lines of the log are missing here: its reader was too slow"))
                .key_values(&[("lost", lost)])
                .build(),
        )
    }

    /// Puts the counts of what the limit held back into the queue.
    fn tell_suppressed(&self, all: bool) {
        let told = self.limit().collect(Instant::now(), all);
        for Suppressed { level, target, example, count } in told {
            let line = self.line(
                self.look().1,
                &Record::builder()
                    .level(level)
                    .target(&target)
                    .args(format_args!("{count} more like this suppressed: {example}"))
                    .key_values(&[("suppressed", count)])
                    .build(),
            );
            self.queue.push(line);
        }
    }

    /// Whether the limit lets a record pass.
    fn passes(&self, record: &Record<'_>) -> bool {
        if record.level() > Level::Warn {
            return true;
        }
        let verdict = self.limit().judge(record, Instant::now());
        if let Verdict::First(key) = verdict {
            // Made outside of the lock: what a record displays may log, too.
            let example = format::message(record);
            self.limit().set_example(key, example);
            self.queue.call();
        }
        verdict == Verdict::Pass
    }

    fn line(&self, format: LogFormat, record: &Record<'_>) -> String {
        let style = Style { format, colour: self.colour, journal: self.journal };
        format::line(style, SystemTime::now(), record)
    }

    fn look(&self) -> (LevelFilter, LogFormat) {
        *self.look.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Backend {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.look().0
    }

    fn log(&self, record: &Record<'_>) {
        let (level, format) = self.look();
        if record.level() > level {
            return;
        }
        if let Some(counted) = COUNTED.iter().position(|(_, level)| *level == record.level()) {
            self.counts[counted].fetch_add(1, Ordering::Relaxed);
        }
        if self.passes(record) {
            self.queue.push(self.line(format, record));
        }
    }

    fn flush(&self) {
        self.flush_within(PATIENCE);
    }
}

/// As `Write::write_all`, but standard error may be shared with a program that made it
/// non-blocking: then a full one is waited for.
fn write_all(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
