//! `welcomed advise`: looks at a running server, and says how large its pool should be.
//!
//! Arguments and exit codes here, what is seen in `scrape` and `past`, what is said in
//! `report`; the mathematics are `sizing`'s.

mod past;
mod report;
mod scrape;

use self::past::Source;
use self::report::{Report, Stretch};
use super::Failure;
use super::terminal::{print, printable};
use crate::fetch::{self, Head, Observer, Options, Url};
use crate::sizing::{DEFAULT_TARGET, Limit, Target};
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;

/// A page that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);
/// A server's metrics are some 20 KB, a day by the hour of Prometheus less.
const LARGEST_PAGE: u64 = 16 << 20;

/// Says how large the pool of a running server should be
///
/// Watches the server for a while, or asks a Prometheus that has, and prints what arrived, what
/// it cost, how long messages wait with other numbers of workers, and the smallest number that
/// keeps the wait you ask for. It changes nothing.
///
/// The exit code is 0 if there is advice, which may be that more workers cannot help, and 1 if
/// the server cannot be read or too little was seen of it.
#[derive(Debug, clap::Args)]
pub(super) struct AdviseArgs {
    /// The server to watch: its `metrics.listen`, as `host:port` or a URL
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9998/metrics",
          value_parser = metrics_url)]
    metrics: Url,

    /// How long to watch it, at least 2s; choose a time in which it is busy
    #[arg(long, value_name = "DURATION", default_value = "60s", conflicts_with = "prometheus",
          value_parser = window)]
    window: Duration,

    /// Ask this Prometheus for the past instead, as `host:port` or a URL
    #[arg(long, value_name = "URL", requires = "instance", conflicts_with = "metrics",
          value_parser = base_url)]
    prometheus: Option<Url>,

    /// The label `instance` of the server there, `10.0.0.1:9998` for example
    #[arg(long, requires = "prometheus")]
    instance: Option<String>,

    /// How far to look back there
    #[arg(long, value_name = "DURATION", default_value = "24h", requires = "prometheus",
          value_parser = stretch)]
    range: Duration,

    /// In stretches of this length; the busiest one decides
    #[arg(long, value_name = "DURATION", default_value = "1h", requires = "prometheus",
          value_parser = stretch)]
    step: Duration,

    /// How long messages may wait for a worker on average [default: 10ms]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    target_wait: Option<Duration>,

    /// How long 99 of 100 messages may wait, instead of a mean
    #[arg(long, value_name = "DURATION", conflicts_with = "target_wait",
          value_parser = humantime::parse_duration)]
    target_p99: Option<Duration>,

    /// How many cores the server may use [default: this machine's for a server on it; else not
    /// known, and the CPU is not looked at]
    #[arg(long, value_name = "N")]
    cores: Option<NonZeroU32>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: AdviseArgs) -> Result<(), Failure> {
    let target = match (args.target_p99, args.target_wait) {
        (Some(wait), _) => Target::P99Wait(wait.as_secs_f64()),
        (None, Some(wait)) => Target::MeanWait(wait.as_secs_f64()),
        (None, None) => DEFAULT_TARGET,
    };
    let report = match (&args.prometheus, &args.instance) {
        (Some(url), Some(instance)) => {
            let cores = args.cores.map(|cores| f64::from(cores.get()));
            let source = Source { url, instance, range: args.range, step: args.step };
            past(&source, cores, target)?
        }
        _ => {
            let cores = args.cores.map(|cores| f64::from(cores.get()));
            let cores = cores.or_else(|| cores_here(&args.metrics));
            let seen = scrape::watch(&args.metrics, args.window, cores).map_err(Failure::failed)?;
            Report::new(args.metrics.to_string(), Stretch { end: None, seen }, Vec::new(), target)
        }
    };
    let text = if args.json { report.json() } else { report.text() };
    print(text.as_bytes())?;
    match report.advice.recommended {
        Err(
            limit @ (Limit::NoTraffic | Limit::TooFewMessages { .. } | Limit::NotMeasured { .. }),
        ) => Err(Failure::failed(format!("there is no advice: {limit}"))),
        _ => Ok(()),
    }
}

/// The busiest stretch of the past, with all of them beside it.
fn past(source: &Source<'_>, cores: Option<f64>, target: Target) -> Result<Report, Failure> {
    let mut stretches = source.stretches(cores).map_err(Failure::failed)?;
    let load = |it: &Stretch| it.seen.observed.load().offered();
    let order =
        |(_, a): &(usize, &Stretch), (_, b): &(usize, &Stretch)| load(a).total_cmp(&load(b));
    let Some((busiest, _)) = stretches.iter().enumerate().max_by(order) else {
        let Source { url, instance, .. } = source;
        let none = "knows of no messages in this time at an instance";
        return Err(Failure::failed(format!("{url} {none} `{}`", printable(instance.as_bytes()))));
    };
    let peak = stretches[busiest].clone();
    let name = format!("{} of {}", printable(source.instance.as_bytes()), source.url);
    Ok(Report::new(name, peak, std::mem::take(&mut stretches), target))
}

/// This machine's, if that is where the server is.
fn cores_here(url: &Url) -> Option<f64> {
    let host = url.host().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let cores = || thread::available_parallelism().ok().map(|cores| cores.get() as f64);
    here.then(cores).flatten()
}

/// A whole page, as text.
fn page(url: &Url) -> Result<String, String> {
    struct Page(Vec<u8>);

    impl Observer for Page {
        fn head(&mut self, _: &Head, _: Option<u64>) -> io::Result<()> {
            Ok(())
        }

        fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    let options =
        Options { max_time: Some(PATIENCE), max_size: Some(LARGEST_PAGE), max_redirects: 0 };
    let mut page = Page(Vec::new());
    let head = fetch::fetch(url.clone(), &options, &mut page);
    let wrong = |what: String| format!("{url}: {}", printable(what.as_bytes()));
    match head {
        Err(error) => Err(wrong(error.to_string())),
        Ok(head) if head.status() != 200 => {
            let said = String::from_utf8_lossy(&page.0);
            let said = said.chars().take(200).collect::<String>();
            Err(wrong(format!("the answer is {}: {}", head.status_line(), said.trim())))
        }
        Ok(_) => String::from_utf8(page.0).map_err(|_| wrong("the answer is no text".to_owned())),
    }
}

/// A URL whose scheme may be left out.
fn base_url(text: &str) -> Result<Url, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    whole.parse().map_err(|error: fetch::UrlError| error.to_string())
}

fn metrics_url(text: &str) -> Result<Url, String> {
    let url = base_url(text)?;
    if url.target() != "/" {
        return Ok(url);
    }
    base_url(&format!("{}/metrics", url.to_string().trim_end_matches('/')))
}

fn at_least(text: &str, least: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration < least || duration > Duration::from_secs(366 * 24 * 3600) {
        let least = humantime::format_duration(least);
        return Err(format!("allowed are {least} to a year"));
    }
    Ok(duration)
}

fn window(text: &str) -> Result<Duration, String> {
    at_least(text, Duration::from_secs(2))
}

fn stretch(text: &str) -> Result<Duration, String> {
    at_least(text, Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::{cores_here, metrics_url, window};

    #[test]
    fn a_servers_address_is_enough() {
        for (text, url) in [
            ("127.0.0.1:9998", "http://127.0.0.1:9998/metrics"),
            ("http://localhost:9998/", "http://localhost:9998/metrics"),
            ("http://[::1]:9998/metrics", "http://[::1]:9998/metrics"),
            ("example.org/a/metrics", "http://example.org/a/metrics"),
        ] {
            assert_eq!(metrics_url(text).unwrap().to_string(), url);
        }
        assert!(metrics_url("https://a:1").is_err());
        assert!(window("1s").is_err() && window("2s").is_ok() && window("often").is_err());
    }

    #[test]
    fn only_a_server_on_this_machine_has_this_machines_cores() {
        let known = |text| cores_here(&metrics_url(text).unwrap()).is_some();
        assert!(known("127.0.0.1:9998") && known("localhost:1") && known("[::1]:9998"));
        assert!(!known("192.0.2.1:9998") && !known("example.org:9998"));
    }
}
