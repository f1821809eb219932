//! The arguments of `welcomed bench`, and the load that they ask for. Resolves names and reads
//! the file of messages; starts nothing.

use super::super::Failure;
use super::super::serve::raise_open_files;
use super::threshold::Threshold;
use crate::bench::{
    self, Arrivals, Expect, Framing, Load, MAX_CONNECTIONS, MAX_MESSAGE, Pace, Payload, Stop,
};
use bytesize::ByteSize;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Open files of this process that are no connections, with some to spare.
const OTHER_FILES: u64 = 32;

/// Loads a server and tells how long its replies took
///
/// Opens connections, sends messages, compares every reply with the one that is owed, and prints
/// throughput, latency by quantile and errors by kind.
///
/// Without --rate it is a closed loop: each connection keeps --in-flight messages unanswered, so
/// that a slow server is asked less. With --rate it is an open loop: messages are due at their
/// times whatever the server does, and their latency counts from when they were due. An open
/// loop's message takes an idle connection; if none is idle it waits, and that counts.
///
/// The exit code is 0 if every message got its reply; 1 if one did not, a connection failed or
/// --fail-above was exceeded; 2 for wrong arguments; 3 if SIGINT or SIGTERM ended the run. The
/// first signal ends it in order, with a report of what was measured; the second ends it at once.
#[derive(Debug, clap::Args)]
pub(in super::super) struct BenchArgs {
    /// The server: `host:port` or `[::1]:9999`
    ///
    /// Only addresses of this machine or of a private network are allowed (loopback, RFC 1918,
    /// link-local, fc00::/7); a host's name must have no other.
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:9999")]
    target: String,

    /// Allow any address: you own the host, or its owner knows
    #[arg(long)]
    i_own_this_host: bool,

    /// How many connections, 1 to 100000
    #[arg(short, long, value_name = "N", default_value_t = 64)]
    connections: usize,

    /// Messages without a reply on each connection, 1 to 10000; 1 in `raw`
    #[arg(short = 'k', long, value_name = "K", default_value_t = 1, conflicts_with = "rate")]
    in_flight: usize,

    /// Messages per second over all connections: an open loop
    #[arg(short, long, value_name = "R")]
    rate: Option<f64>,

    /// How an open loop's messages are spread: evenly, or as independent users send
    #[arg(long, value_enum, default_value = "poisson", requires = "rate")]
    arrivals: ArrivalsArg,

    /// How long to measure, as in `500ms` or `1m`
    #[arg(short, long, value_name = "DURATION", default_value = "5s",
          value_parser = more_than_zero)]
    duration: Duration,

    /// How long to send before that, not measured
    #[arg(long, value_name = "DURATION", default_value = "500ms",
          value_parser = humantime::parse_duration)]
    warmup: Duration,

    /// How long connections, or the rate, take to grow to their full number
    ///
    /// Counts from the beginning of the warm-up; what is longer than that is measured.
    #[arg(long, value_name = "DURATION", default_value = "0s",
          value_parser = humantime::parse_duration)]
    ramp: Duration,

    /// How long a connection waits between a reply and its next message
    #[arg(long, value_name = "DURATION", default_value = "0s", conflicts_with = "rate",
          value_parser = humantime::parse_duration)]
    think_time: Duration,

    /// What to send: messages of a size, as in `64` or `1KiB`, or a file of messages, one a line
    ///
    /// Messages of 14 bytes or more never repeat. `./64` is a file of that name.
    #[arg(short, long, value_name = "SIZE|FILE", default_value = "14", value_parser = payload)]
    payload: Payload,

    /// What reply is owed: `Hello, <message>!`, the message, or any
    #[arg(long, value_enum, default_value = "hello")]
    expect: ExpectArg,

    /// Expect no greeting; with --expect echo none is expected anyway
    #[arg(long)]
    no_greeting: bool,

    /// How messages are told apart: `line` or `raw`
    ///
    /// In `raw` a message is what one write sends, and a reply is whole when all that is owed has
    /// come; so only one message is in flight on a connection.
    #[arg(long, value_parser = framing, default_value_t = Framing::Line)]
    framing: Framing,

    /// Threads, each with its part of connections and rate; one loads most servers fully
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// Where connections come from, as in `127.0.0.2-127.0.0.9` or `10.0.0.5,10.0.0.6`
    ///
    /// One address has local ports for 28000 connections. On loopback more are taken as needed.
    #[arg(long, value_name = "ADDRESSES", value_parser = sources)]
    source: Option<Sources>,

    /// How long to wait for a connection, a reply, or in an open loop an idle connection
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = more_than_zero)]
    timeout: Duration,

    /// What random arrivals come from: the same seed, the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Exit with 1 if a latency is above this, as in `p99=10ms`; may be given several times
    ///
    /// `p` and a percentage, `mean` or `max`.
    #[arg(long, value_name = "QUANTILE=DURATION")]
    pub(super) fail_above: Vec<Threshold>,

    /// Write everything as JSON to a file; `-` is standard output, in place of the text
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,

    /// Write quantiles and seconds as CSV, a row for each number: `what,at,value`
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,

    /// Write a page with charts, in one file
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ArrivalsArg {
    Constant,
    Poisson,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ExpectArg {
    Hello,
    Echo,
    Any,
}

/// A list as one argument.
#[derive(Debug, Clone)]
struct Sources(Vec<IpAddr>);

impl BenchArgs {
    /// The load, checked as far as it can be before anything is connected.
    pub(super) fn load(&self) -> Result<Load, Failure> {
        let target = resolve(&self.target, self.i_own_this_host)?;
        let pace = match self.rate {
            None => Pace::Closed { in_flight: self.in_flight, think: self.think_time },
            Some(rate) => Pace::Open {
                rate,
                arrivals: match self.arrivals {
                    ArrivalsArg::Constant => Arrivals::Constant,
                    ArrivalsArg::Poisson => Arrivals::Poisson,
                },
            },
        };
        let expect = match self.expect {
            ExpectArg::Hello => Expect::Hello,
            ExpectArg::Echo => Expect::Echo,
            ExpectArg::Any => Expect::Any,
        };
        fit_open_files(self.connections, raise_open_files())?;
        Ok(Load {
            any_target: self.i_own_this_host,
            sources: self.source.as_ref().map(|sources| sources.0.clone()).unwrap_or_default(),
            connections: self.connections,
            threads: self.threads,
            pace,
            ramp: self.ramp,
            payload: self.payload.clone(),
            expect,
            greeting: !self.no_greeting && expect != Expect::Echo,
            framing: self.framing,
            warm_up: self.warmup,
            measured: Stop::After(self.duration),
            patience: self.timeout,
            seed: self.seed,
            ..Load::new(target)
        })
    }
}

/// The address to load: of several, all of which must be allowed, the first that answers.
fn resolve(text: &str, any: bool) -> Result<SocketAddr, Failure> {
    let refuse = |message: String| Failure::usage(format!("bench {text}: {message}"));
    if text.starts_with("unix:") {
        return Err(refuse("only TCP is loaded; allowed is `host:port`".to_owned()));
    }
    let found = text.to_socket_addrs().map_err(|error| refuse(format!("look up: {error}")))?;
    let found: Vec<SocketAddr> = found.collect();
    if let Some(foreign) = found.iter().find(|it| !any && !bench::is_private(it.ip())) {
        return Err(refuse(format!(
            "{} is not a loopback or private address; a load there may be an attack. \
             --i-own-this-host allows it",
            foreign.ip()
        )));
    }
    let answers = |it: &&SocketAddr| TcpStream::connect_timeout(it, Duration::from_secs(1)).is_ok();
    let first = found.first().copied();
    let answering = if found.len() > 1 { found.iter().find(answers).copied() } else { None };
    answering.or(first).ok_or_else(|| refuse("it has no address".to_owned()))
}

fn fit_open_files(connections: usize, limit: u64) -> Result<(), Failure> {
    let room = limit.saturating_sub(OTHER_FILES);
    // Too many for any machine is the load's own error.
    if connections as u64 <= room || connections > MAX_CONNECTIONS {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{connections} connections need {} open files, the limit is {limit} (`ulimit -Hn`); \
         allowed are at most {room} connections",
        connections as u64 + OTHER_FILES
    )))
}

fn more_than_zero(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be more than zero".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

fn payload(text: &str) -> Result<Payload, String> {
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

fn framing(text: &str) -> Result<Framing, String> {
    match text.parse() {
        Ok(framing @ (Framing::Line | Framing::Raw)) => Ok(framing),
        _ => Err("allowed are `line` and `raw`".to_owned()),
    }
}

fn sources(text: &str) -> Result<Sources, String> {
    const MOST: usize = 256;
    let address =
        |text: &str| text.parse::<IpAddr>().map_err(|_| format!("`{text}` is not an address"));
    let mut all = Vec::new();
    for item in text.split(',') {
        let Some((first, last)) = item.split_once('-') else {
            all.push(address(item)?);
            continue;
        };
        let (IpAddr::V4(first), IpAddr::V4(last)) = (address(first)?, address(last)?) else {
            return Err("a range is of IPv4 addresses".to_owned());
        };
        let range = u32::from(first)..=u32::from(last);
        if range.is_empty() {
            return Err(format!("the range `{item}` is empty"));
        }
        all.extend(range.take(MOST + 1).map(|bits| IpAddr::V4(Ipv4Addr::from(bits))));
    }
    if all.len() > MOST { Err(format!("at most {MOST} addresses")) } else { Ok(Sources(all)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn sources_are_lists_and_ranges() {
        let show = |text| {
            let all: Vec<String> = sources(text).unwrap().0.iter().map(IpAddr::to_string).collect();
            all.join(" ")
        };
        assert_eq!(show("127.0.0.2-127.0.0.4"), "127.0.0.2 127.0.0.3 127.0.0.4");
        assert_eq!(show("10.0.0.1,10.0.1.1-10.0.1.2"), "10.0.0.1 10.0.1.1 10.0.1.2");
        assert_eq!(show("::1"), "::1");
        for wrong in ["", "x", "127.0.0.9-127.0.0.2", "127.0.0.1-127.9.9.9", "::1-::2"] {
            assert!(sources(wrong).is_err(), "{wrong}");
        }
    }

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
        assert!(fit_open_files(968, 1000).is_ok());
        let error = fit_open_files(969, 1000).unwrap_err().to_string();
        assert_eq!(
            error,
            "969 connections need 1001 open files, the limit is 1000 (`ulimit -Hn`); allowed are \
             at most 968 connections"
        );
    }
}
