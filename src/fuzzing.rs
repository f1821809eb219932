//! Ways in for the fuzz targets in `fuzz/`, to parts that read or write what strangers send and
//! are no part of the API: how `fetch` reads an answer, and how the program writes its log.
//!
//! Behind the feature `fuzzing`, which nothing but `fuzz/Cargo.toml` turns on: the targets are a
//! crate of their own, as cargo-fuzz wants it, and would see the public items only. Nothing here
//! is promised to stay.

use crate::config::LogFormat;
use crate::fetch::{Error, Head, Observer};
use log::Record;
use std::io::Read;
use std::time::SystemTime;

/// Reads an answer from `stream`, as [`fetch`](crate::fetch::fetch) does once it has asked: the
/// head, then the body, which goes to `observer`.
///
/// # Errors
///
/// As those of a fetch.
pub fn read_answer(
    stream: impl Read,
    max_size: Option<u64>,
    observer: &mut dyn Observer,
) -> Result<Head, Error> {
    crate::fetch::read_answer(stream, max_size, observer)
}

/// A record as the program's log writes it, with its end; `journal` for the systemd journal.
#[must_use]
pub fn log_line(format: LogFormat, journal: bool, time: SystemTime, record: &Record<'_>) -> String {
    crate::cli::log_line(format, journal, time, record)
}
