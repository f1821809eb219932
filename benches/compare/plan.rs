//! What to measure: the arguments, and the servers, cases and rounds that they ask for.

use super::rivals::Rival;
use clap::ValueEnum;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Compares welcomed with other servers: CPU time per message, latency, memory.
#[derive(Debug, clap::Parser)]
#[command(bin_name = "cargo bench --bench compare --", max_term_width = 100)]
pub(super) struct Arguments {
    /// One short round, to see that everything works: its numbers say little.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Measure only these servers, separated by commas: welcomed, raw-epoll, tokio,
    /// tokio-current-thread, thread-per-client. Ratios need raw-epoll. Default: all.
    #[arg(long, value_name = "SERVERS", value_delimiter = ',')]
    only: Vec<Server>,
    /// Measure only these cases, as CONNECTIONSxINFLIGHT, separated by commas.
    #[arg(
        long,
        value_name = "CASES",
        value_delimiter = ',',
        default_value = "1x1,1x16,64x1,64x16,1000x1,1000x16"
    )]
    cases: Vec<Case>,
    /// How often each server is measured in each case, 1 to 20; the table has the median.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// How long each measurement is, in seconds, 0.1 to 60.
    #[arg(long, default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// Print the tables of the README.
    #[arg(long)]
    pub(super) markdown: bool,
    /// Compare the load generator itself with raw-epoll, on one core: what a message costs each.
    #[arg(long, conflicts_with_all = ["only", "cases", "markdown"])]
    pub(super) generator: bool,
    /// Be this server, until standard input ends.
    #[arg(long, hide = true)]
    pub(super) rival: Option<Rival>,
    /// What cargo tells every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Welcomed,
    Rival(Rival),
}

impl Server {
    /// What the others are compared with.
    pub(super) const LIMIT: Self = Self::Rival(Rival::RawEpoll);
    /// Whose latency is the target.
    pub(super) const TOKIO: Self = Self::Rival(Rival::Tokio);

    const ALL: [Self; 5] = [
        Self::Welcomed,
        Self::LIMIT,
        Self::TOKIO,
        Self::Rival(Rival::TokioCurrentThread),
        Self::Rival(Rival::ThreadPerClient),
    ];
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Welcomed => "welcomed, 2 workers",
            Self::Rival(Rival::RawEpoll) => "raw epoll, 1 thread",
            Self::Rival(Rival::Tokio) => "tokio, 2 workers",
            Self::Rival(Rival::TokioCurrentThread) => "tokio, current thread",
            Self::Rival(Rival::ThreadPerClient) => "thread per client",
        })
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "welcomed" {
            return Ok(Self::Welcomed);
        }
        Rival::from_str(text, false).map(Self::Rival).map_err(|_| {
            format!(
                "`{text}` is not a server; allowed are `welcomed`, `raw-epoll`, `tokio`, \
                 `tokio-current-thread` and `thread-per-client`"
            )
        })
    }
}

/// How many connections, with how many messages in flight on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) connections: usize,
    pub(super) in_flight: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} x {}", self.connections, self.in_flight))
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('x').and_then(|(connections, in_flight)| {
            Some(Self {
                connections: connections.parse().ok()?,
                in_flight: in_flight.parse().ok()?,
            })
        });
        let allowed = |case: &Self| {
            (1..=10_000).contains(&case.connections) && (1..=1_000).contains(&case.in_flight)
        };
        parts.filter(allowed).ok_or_else(|| {
            format!(
                "`{text}` is not a case; allowed are 1 to 10000 connections with 1 to 1000 \
                 messages in flight, as in `64x16`"
            )
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if !(0.1..=60.0).contains(&value) {
        return Err(format!("{value} is not between 0.1 and 60"));
    }
    Ok(Duration::from_secs_f64(value))
}

/// The arguments, resolved.
pub(super) struct Plan {
    pub(super) servers: Vec<Server>,
    pub(super) cases: Vec<Case>,
    pub(super) rounds: u32,
    /// How long each measurement is.
    pub(super) window: Duration,
}

impl Plan {
    pub(super) fn new(arguments: Arguments) -> Self {
        let Arguments { quick, mut only, mut cases, rounds, seconds, generator, .. } = arguments;
        if generator {
            only = vec![Server::LIMIT];
            cases.retain(|case| case.connections == 64);
        }
        let wanted = |server: &Server| only.is_empty() || only.contains(server);
        Self {
            servers: Server::ALL.into_iter().filter(wanted).collect(),
            cases,
            rounds: if quick { 1 } else { rounds },
            window: if quick { Duration::from_millis(500) } else { seconds },
        }
    }

    /// All measurements, in order: the servers of a case follow each other closely, and nobody is
    /// always the first.
    pub(super) fn turns(&self) -> impl Iterator<Item = (u32, Case, Server)> {
        let count = self.servers.len();
        (0..self.rounds).flat_map(move |round| {
            self.cases.iter().enumerate().flat_map(move |(nth, &case)| {
                let first = round as usize + nth;
                (0..count).map(move |turn| (round, case, self.servers[(first + turn) % count]))
            })
        })
    }

    /// Measurements and, once for each server, its memory.
    pub(super) fn steps(&self) -> usize {
        self.servers.len() * (self.cases.len() * self.rounds as usize + 1)
    }
}
