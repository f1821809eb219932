//! The arguments of `welcomed tune`, and the plan that they amount to. Starts nothing.

use super::super::Failure;
use super::super::load::{ArrivalsArg, ExpectArg, fit_open_files, more_than_zero, payload};
use super::super::serve::raise_open_files;
use super::super::settings::ServiceArgs;
use super::plan::{Plan, Wanted};
use crate::bench::{Pace, Payload};
use crate::server::MAX_WORKERS;
use crate::service::Service;
use crate::sizing::Target;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// More would take longer than anybody waits.
const MOST_SIZES: usize = 64;
/// Connections of an open loop must be enough that a message does not wait for one.
const OPEN_CONNECTIONS: usize = 256;
const CLOSED_CONNECTIONS: usize = 64;
/// The window is looked at every 100 ms; in a shorter one there would be nothing to see.
const SHORTEST: Duration = Duration::from_millis(300);

/// Finds the right size of the pool, by trying sizes under a load
///
/// Runs the service itself, in this process and on loopback, with each size of --sweep in turn.
/// Loads it, and prints for each size throughput, utilisation and the wait for a worker, as they
/// were measured and as they are predicted; then curves of them, and the lines for the
/// configuration with the reason. No running server is asked or changed.
///
/// Without --rate the load is a closed loop: each connection waits for its reply before it sends
/// again, and the number of connections is what loads the server. With --rate it is an open loop:
/// messages come at their times whatever the server does. A rate that a size cannot carry is
/// shown as `saturated`: its wait would grow for as long as one measures.
///
/// The service is the one that the settings name, with its delay, framing and limits of messages;
/// of file and environment, settings of addresses, admission, shedding and log have no part in
/// it. Server and load share the cores: it is said where they, and not the pool, were the limit.
///
/// Throughput, utilisation and the handler's time are the server's own counts. A wait is what a
/// client's latency has above the handler's mean time, so that it has all that a client waits
/// for; or, if the handler's times vary from message to message (cv2 above 0.1), what the server
/// counted in its run queue. Predictions rest on the time that a message
/// holds a worker, measured at the sizes that were less than 95 % busy: M/M/c//N for a closed
/// loop, which predicts a mean only, Allen-Cunneen's G/G/c for an open one.
///
/// The exit code is 0 if every message got its reply; 1 if one did not; 2 for wrong arguments; 3
/// if SIGINT or SIGTERM ended it. The first signal ends it in order, with a report of what was
/// measured; the second ends it at once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = JSON)]
pub(in super::super) struct TuneArgs {
    /// The numbers of workers to try, each 1 to 4096, at most 64 of them
    #[arg(short, long, value_name = "LIST", default_value = "1,2,4,8,16")]
    sweep: Sizes,

    /// How many connections [default: 64; with --rate 256]
    ///
    /// Without --rate as many messages are always unanswered or thought about.
    #[arg(short, long, value_name = "N")]
    connections: Option<usize>,

    /// Messages per second over all connections: an open loop
    #[arg(short, long, value_name = "R")]
    rate: Option<f64>,

    /// How an open loop's messages are spread: evenly, or as independent users send
    #[arg(long, value_enum, default_value = "poisson", requires = "rate")]
    arrivals: ArrivalsArg,

    /// How long to measure each size, as in `10s` or `1m`; at least 300ms
    #[arg(short, long, value_name = "DURATION", default_value = "5s", value_parser = window)]
    duration: Duration,

    /// How long to send before that, not measured
    #[arg(long, value_name = "DURATION", default_value = "1s",
          value_parser = humantime::parse_duration)]
    warmup: Duration,

    /// How long a connection waits between a reply and its next message
    #[arg(long, value_name = "DURATION", default_value = "0s", conflicts_with = "rate",
          value_parser = humantime::parse_duration)]
    think_time: Duration,

    /// How long messages may wait for a worker on average
    #[arg(long, value_name = "DURATION", default_value = "10ms",
          value_parser = humantime::parse_duration)]
    target_wait: Duration,

    /// How long 99 of 100 messages may wait, instead of a mean
    #[arg(long, value_name = "DURATION", conflicts_with = "target_wait",
          value_parser = humantime::parse_duration)]
    target_p99: Option<Duration>,

    /// What to send: messages of a size, as in `64` or `1KiB`, or a file of messages, one a line
    #[arg(short, long, value_name = "SIZE|FILE", default_value = "14", value_parser = payload)]
    payload: Payload,

    /// What reply is owed: `Hello, <message>!`, the message, or any [default: the service's own;
    /// any of a program's own service]
    #[arg(long, value_enum)]
    expect: Option<ExpectArg>,

    /// How long to wait for a connection or a reply
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = more_than_zero)]
    timeout: Duration,

    /// What random arrivals come from: the same seed, the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Write everything as JSON to a file; `-` is standard output, in place of the text
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,

    /// Write a page with charts, in one file
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,

    #[command(flatten)]
    service: ServiceArgs,
}

/// What a program finds in the JSON.
const JSON: &str = "\
The JSON is one object; times are seconds, rates per second, parts 0 to 1, and what is not known \
is null:

  recommended_workers, reason   the advice
  notes                         what limits it, a sentence each
  target                        {of: mean|p99, wait_seconds}
  load                          {loop: closed|open, connections, think_seconds,
                                rate_per_second, arrivals, warm_up_seconds, duration_seconds}
  service                       {seconds, cv2, cpu_seconds, from_workers}: what predictions rest on
  wait_from                     `clients` or `server`: see above
  cores, interrupted
  sizes[]                       workers, saturated, and
    .measured                   {seconds, messages, throughput_per_second, utilisation,
                                saturated_part, handler_seconds, handler_cv2, cpu_utilisation,
                                wait_seconds, client_wait_seconds, server_wait_seconds,
                                latency_seconds, errors, error_example}
    .predicted                  {throughput_per_second, utilisation, wait_seconds}

wait_seconds and its like are {mean, p50, p99}. saturated_part is the part of the time in which
every worker was busy and a connection waited.";

impl TuneArgs {
    /// The plan, checked as far as it can be before anything is started.
    pub(super) fn plan(&self, own: Option<Arc<dyn Service>>) -> Result<Plan, Failure> {
        let (pace, usual) = match self.rate {
            None => (Pace::Closed { in_flight: 1, think: self.think_time }, CLOSED_CONNECTIONS),
            Some(rate) => (Pace::Open { rate, arrivals: self.arrivals.into() }, OPEN_CONNECTIONS),
        };
        let connections = self.connections.unwrap_or(usual);
        fit_open_files(connections, 2, raise_open_files())?;
        let target = match self.target_p99 {
            Some(wait) => Target::P99Wait(wait.as_secs_f64()),
            None => Target::MeanWait(self.target_wait.as_secs_f64()),
        };
        let wanted = Wanted {
            sizes: self.sweep.0.clone(),
            pace,
            connections,
            warm_up: self.warmup,
            duration: self.duration,
            payload: self.payload.clone(),
            expect: self.expect.map(Into::into),
            patience: self.timeout,
            seed: self.seed,
            target,
        };
        Plan::new(wanted, &self.service.0.load()?, own).map_err(Failure::usage)
    }
}

fn window(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(window) if window < SHORTEST => Err(format!("it must be at least {SHORTEST:?}")),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

/// Numbers of workers, from the smallest on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sizes(Vec<usize>);

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |text: &str| match text.trim().parse::<usize>() {
            Ok(size) if (1..=MAX_WORKERS).contains(&size) => Ok(size),
            _ => Err(format!(
                "`{}` is no number of workers; allowed are 1 to {MAX_WORKERS}, separated by commas",
                text.trim()
            )),
        };
        let mut sizes = text.split(',').map(size).collect::<Result<Vec<_>, _>>()?;
        sizes.sort_unstable();
        if let Some(twice) = sizes.windows(2).find(|two| two[0] == two[1]) {
            return Err(format!("{} stands there twice", twice[0]));
        }
        if sizes.len() > MOST_SIZES {
            let count = sizes.len();
            return Err(format!("these are {count} sizes; allowed are at most {MOST_SIZES}"));
        }
        Ok(Self(sizes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_a_list_of_different_sizes() {
        assert_eq!("4, 1,4096".parse(), Ok(Sizes(vec![1, 4, 4096])));
        let most = (1..=64).map(|size| size.to_string()).collect::<Vec<_>>().join(",");
        assert!(most.parse::<Sizes>().is_ok());
        for (wrong, why) in [
            ("", "`` is no number of workers; allowed are 1 to 4096"),
            ("1,,2", "`` is no number"),
            ("0", "`0` is no number"),
            ("4097", "`4097` is no number"),
            ("1;2", "`1;2` is no number"),
            ("-1", "`-1` is no number"),
            ("1,2,1", "1 stands there twice"),
            (&format!("{most},65"), "these are 65 sizes; allowed are at most 64"),
        ] {
            let error = wrong.parse::<Sizes>().unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn a_window_has_room_for_a_few_looks() {
        assert_eq!(window("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(window("299ms"), Err("it must be at least 300ms".to_owned()));
        assert!(window("soon").is_err());
    }
}
