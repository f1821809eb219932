//! What the arguments of a load have in common.
//!
//! Called by the subcommands that load a server; starts nothing.

use super::Failure;
use crate::bench::{Arrivals, Expect, MAX_CONNECTIONS, MAX_MESSAGE, Payload};
use bytesize::ByteSize;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Open files of this process that are no connections, with some to spare.
const OTHER_FILES: u64 = 32;

/// How an open loop's messages are spread.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum ArrivalsArg {
    Constant,
    Poisson,
}

/// What reply is owed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum ExpectArg {
    Hello,
    Echo,
    Any,
}

impl From<ArrivalsArg> for Arrivals {
    fn from(arrivals: ArrivalsArg) -> Self {
        match arrivals {
            ArrivalsArg::Constant => Self::Constant,
            ArrivalsArg::Poisson => Self::Poisson,
        }
    }
}

impl From<ExpectArg> for Expect {
    fn from(expect: ExpectArg) -> Self {
        match expect {
            ExpectArg::Hello => Self::Hello,
            ExpectArg::Echo => Self::Echo,
            ExpectArg::Any => Self::Any,
        }
    }
}

/// Refuses more connections than the limit of open files has room for, if this process has so
/// many ends of each.
pub(super) fn fit_open_files(connections: usize, ends: u64, limit: u64) -> Result<(), Failure> {
    let room = limit.saturating_sub(OTHER_FILES) / ends;
    // Too many for any machine is the load's own error.
    if connections as u64 <= room || connections > MAX_CONNECTIONS {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{connections} connections need {} open files, the limit is {limit} (`ulimit -Hn`); \
         allowed are at most {room} connections",
        connections as u64 * ends + OTHER_FILES
    )))
}

pub(super) fn more_than_zero(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be more than zero".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

/// What to send: a size, or a file of messages.
pub(super) fn payload(text: &str) -> Result<Payload, String> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        let size = text.parse::<ByteSize>().ok().map(|size| size.as_u64());
        return match size {
            Some(size) if (1..=MAX_MESSAGE as u64).contains(&size) => {
                Ok(Payload::Size(size as usize))
            }
            _ => Err("a size is 1 to 1MiB; for a file of that name write `./`".to_owned()),
        };
    }
    let bytes = fs::read(Path::new(text)).map_err(|error| error.to_string())?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    Ok(Payload::Lines(bytes.split(|byte| *byte == b'\n').map(line).collect()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn only_a_number_is_a_size() {
        assert_eq!(payload("64"), Ok(Payload::Size(64)));
        assert_eq!(payload("1KiB"), Ok(Payload::Size(1024)));
        for wrong in ["0", "2MiB", "64x", "no-such-file"] {
            assert!(payload(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn more_connections_than_files_are_refused_with_the_numbers() {
        assert!(fit_open_files(968, 1, 1000).is_ok());
        assert!(fit_open_files(484, 2, 1000).is_ok() && fit_open_files(485, 2, 1000).is_err());
        let error = fit_open_files(969, 1, 1000).unwrap_err().to_string();
        assert_eq!(
            error,
            "969 connections need 1001 open files, the limit is 1000 (`ulimit -Hn`); allowed are \
             at most 968 connections"
        );
    }
}
