//! A running server, watched by way of its `/metrics`: a look each second, and what happened in
//! between.

use super::page;
use crate::fetch::Url;
use crate::metrics::{Distribution, SECONDS};
use crate::sizing::{Observed, arrival_cv2};
use indicatif::{ProgressBar, ProgressStyle};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks; shorter for a short window, which needs some looks too.
const STEP: Duration = Duration::from_secs(1);
/// Looks in a window, at least.
const LOOKS: u32 = 20;

/// What was seen: the sums, and the distribution of the waits among them.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) observed: Observed,
    pub(super) waits: Distribution,
}

/// Watches the server at `url` for so long.
pub(super) fn watch(url: &Url, window: Duration, cores: Option<f64>) -> Result<Seen, String> {
    let step = STEP.min(window / LOOKS);
    let bar = ProgressBar::new(window.as_secs());
    let style = ProgressStyle::with_template("watching {wide_bar} {pos}/{len}s");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut looks = vec![look(url)?];
    let began = looks[0].at;
    bar.tick();
    while began.elapsed() < window {
        let next = began + step * u32::try_from(looks.len()).unwrap_or(u32::MAX);
        thread::sleep(next.saturating_duration_since(Instant::now()));
        looks.push(look(url)?);
        bar.set_position(began.elapsed().as_secs());
    }
    bar.finish_and_clear();
    summary(&looks, cores).map_err(|what| format!("{url}: {what}"))
}

/// One look.
struct Look {
    at: Instant,
    metrics: Metrics,
}

fn look(url: &Url) -> Result<Look, String> {
    let asked = Instant::now();
    let metrics = Metrics(page(url)?);
    // The server made it somewhere in the middle.
    let at = asked + asked.elapsed() / 2;
    if metrics.sum("welcomed_messages_total").is_none() {
        return Err(format!("{url} is not the metrics of a welcomed server"));
    }
    Ok(Look { at, metrics })
}

fn summary(looks: &[Look], cores: Option<f64>) -> Result<Seen, String> {
    let ends = (looks.first(), looks.last());
    let (Some(first), Some(last)) = ends else { return Err("nothing was seen".to_owned()) };
    let grown = |name: &str| {
        let of = |look: &Look| look.metrics.sum(name).ok_or(format!("there is no {name}"));
        let grown = of(last)? - of(first)?;
        let anew = || "the server was started anew in the meantime; look again".to_owned();
        if grown >= 0.0 { Ok(grown) } else { Err(anew()) }
    };
    let start = |look: &Look| look.metrics.sum("process_start_time_seconds");
    if start(first) != start(last) {
        return Err("the server was started anew in the meantime; look again".to_owned());
    }
    let count = |looks: &Look| looks.metrics.sum("welcomed_messages_total").unwrap_or(0.0);
    let windows: Vec<(f64, f64)> = looks
        .windows(2)
        .map(|it| ((it[1].at - it[0].at).as_secs_f64(), count(&it[1]) - count(&it[0])))
        .collect();
    let mean =
        |name| looks.iter().filter_map(|it| it.metrics.sum(name)).sum::<f64>() / looks.len() as f64;
    let waits = |look: &Look| look.metrics.distribution("welcomed_queue_wait_seconds");
    let waits = waits(last)?.since(&waits(first)?);
    let handler = "welcomed_message_duration_seconds_sum{phase=\"handler\"}";
    let observed = Observed {
        seconds: (last.at - first.at).as_secs_f64(),
        workers: last.metrics.sum("welcomed_workers").unwrap_or(0.0) as usize,
        messages: grown("welcomed_messages_total")? as u64,
        busy_seconds: grown("welcomed_worker_busy_seconds_total")?,
        handler_seconds: grown(handler)?,
        handler_seconds_squared: grown("welcomed_handler_seconds_squared_total")?,
        cpu_seconds: grown("process_cpu_seconds_total").ok(),
        cores,
        arrival_cv2: arrival_cv2(&windows),
        accepted: grown("welcomed_connections_accepted_total")? as u64,
        open: mean("welcomed_connections"),
        parks: grown("welcomed_connection_parks_total")? as u64,
        waits: waits.count(),
        wait_seconds: waits.sum,
    };
    Ok(Seen { observed, waits })
}

/// A page of metrics, in the form in which our server writes them: no spaces in a series, no
/// timestamps.
struct Metrics(String);

impl Metrics {
    /// The sum of all series of this name, or the one with these labels, if they are given.
    fn sum(&self, name: &str) -> Option<f64> {
        let values = self.series().filter(|(series, _)| {
            let rest = series.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        });
        values.map(|(_, value)| value).reduce(|sum, value| sum + value)
    }

    /// A histogram without labels of its own, over the buckets that this version has.
    fn distribution(&self, name: &str) -> Result<Distribution, String> {
        let mut distribution = Distribution::new(SECONDS);
        let sum = format!("{name}_sum");
        distribution.sum = self.sum(&sum).ok_or_else(|| format!("there is no {sum}"))?;
        let start = format!("{name}_bucket{{le=\"");
        let buckets = self.series().filter_map(|(series, count)| {
            let bound = series.strip_prefix(&start)?.strip_suffix("\"}")?;
            Some((bound.parse::<f64>().ok()?, count))
        });
        let (mut known, mut below) = (0, 0);
        for (bound, count) in buckets {
            let expected = SECONDS.get(known).copied().unwrap_or(f64::INFINITY);
            if known > SECONDS.len() || bound != expected {
                break;
            }
            // Prometheus counts what is at most the bound, we what is in the bucket.
            distribution.counts[known] = (count as u64).saturating_sub(below);
            below = count as u64;
            known += 1;
        }
        let wrong = || format!("{name} has other buckets: another version wrote this");
        (known == SECONDS.len() + 1).then_some(distribution).ok_or_else(wrong)
    }

    fn series(&self) -> impl Iterator<Item = (&str, f64)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series, value.parse().ok().filter(|value: &f64| value.is_finite())?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Look, Metrics, summary};
    use crate::metrics::SECONDS;
    use std::time::{Duration, Instant};

    /// Each number that the server exports is a multiple of `n`; `n` waits are in the fourth
    /// bucket, and one above all bounds if `n` is above 1.
    fn look(start: Instant, second: u64, n: u64) -> Look {
        let mut page = format!(
            "# HELP welcomed_workers Worker threads that exist now.\n\
             # TYPE welcomed_workers gauge\nwelcomed_workers 4\nwelcomed_workers_busy 9\n\
             welcomed_connections{{state=\"parked\"}} {n}\n\
             welcomed_connections{{state=\"active\"}} 2\n\
             welcomed_connections_accepted_total{{listener=\"a:1\"}} {n}\n\
             welcomed_connections_accepted_total{{listener=\"unix:/a\"}} {n}\n\
             welcomed_connection_parks_total {n}\nwelcomed_messages_total {}\n\
             welcomed_worker_busy_seconds_total {}\n\
             welcomed_message_duration_seconds_sum{{phase=\"handler\"}} {}\n\
             welcomed_message_duration_seconds_sum{{phase=\"write\"}} 1000\n\
             welcomed_handler_seconds_squared_total {}e-1\n\
             welcomed_queue_wait_seconds_sum {n}\n",
            30 * n,
            2 * n,
            n,
            n,
        );
        for (place, bound) in SECONDS.iter().enumerate() {
            let count = if place < 3 { 0 } else { n };
            page += &format!("welcomed_queue_wait_seconds_bucket{{le=\"{bound}\"}} {count}\n");
        }
        let all = n + u64::from(n > 1);
        page += &format!("welcomed_queue_wait_seconds_bucket{{le=\"+Inf\"}} {all}\n");
        Look { at: start + Duration::from_secs(second), metrics: Metrics(page) }
    }

    #[test]
    fn two_pages_make_an_observation() {
        let start = Instant::now();
        let seen = summary(&[look(start, 0, 1), look(start, 10, 11)], Some(2.0)).unwrap();
        let it = seen.observed;
        assert_eq!((it.seconds, it.workers, it.messages, it.open), (10.0, 4, 300, 8.0));
        assert_eq!((it.busy_seconds, it.handler_seconds), (20.0, 10.0));
        assert_eq!((it.accepted, it.parks), (20, 10));
        assert_eq!((it.handler_seconds_squared, it.cpu_seconds, it.cores), (1.0, None, Some(2.0)));
        assert_eq!((it.waits, it.wait_seconds, it.arrival_cv2), (11, 10.0, None));
        assert_eq!((seen.waits.counts[3], seen.waits.counts[19]), (10, 1));
    }

    #[test]
    fn a_server_that_began_anew_and_a_page_of_something_else_are_told() {
        let start = Instant::now();
        let looks = [look(start, 0, 5), look(start, 1, 1)];
        assert!(summary(&looks, None).unwrap_err().contains("started anew"));
        // It may have counted further than the one before it.
        let mut looks = [look(start, 0, 1), look(start, 10, 11)];
        looks[0].metrics.0 += "process_start_time_seconds 1.5\n";
        looks[1].metrics.0 += "process_start_time_seconds 2.5\n";
        assert!(summary(&looks, None).unwrap_err().contains("started anew"));
        let other = || Look { at: start, metrics: Metrics("up 1\n".to_owned()) };
        assert!(summary(&[other(), other()], None).is_err());
    }
}
