//! The past of a server, from a Prometheus that has watched it: by the hour, so that the busiest
//! one is seen and not the mean of a day.

use super::report::Stretch;
use super::scrape::Seen;
use super::{base_url, page};
use crate::cli::terminal::printable;
use crate::fetch::Url;
use crate::metrics::{Distribution, SECONDS};
use crate::sizing::Observed;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Prometheus' own limit of the points of a series.
const MOST_STEPS: u64 = 11_000;
/// How often a stretch is asked whether the server was there.
const LOOKS: u64 = 60;

/// What to ask.
pub(super) struct Source<'a> {
    pub(super) url: &'a Url,
    pub(super) instance: &'a str,
    pub(super) range: Duration,
    pub(super) step: Duration,
}

/// Values by the Unix time of the end of their stretch.
type Values = BTreeMap<u64, f64>;

impl Source<'_> {
    /// All stretches of the range in which messages came, the oldest first.
    pub(super) fn stretches(&self, cores: Option<f64>) -> Result<Vec<Stretch>, String> {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let step = self.step.min(self.range).as_secs();
        let steps = self.range.as_secs() / step;
        if steps > MOST_STEPS {
            return Err(format!("--range has {steps} steps; Prometheus allows {MOST_STEPS}"));
        }
        // Each point looks back one step.
        let start = end - step * (steps - 1);
        let ask = |expression: &str| self.ask(expression, (start, end, step));
        let own = format!("instance=\"{}\"", escaped(self.instance));
        let grown =
            |name: &str, more: &str| ask(&format!("sum(increase({name}{{{own}{more}}}[{step}s]))"));
        let level = |name: &str| ask(&format!("sum(avg_over_time({name}{{{own}}}[{step}s]))"));

        // The server, or the Prometheus, may not have been there all the time.
        let look = (step / LOOKS).max(1);
        let looks = format!("count_over_time(welcomed_workers{{{own}}}[{step}s:{look}s])");
        let seen = ask(&format!("max({looks})"))?;
        let messages = grown("welcomed_messages_total", "")?;
        let workers = level("welcomed_workers")?;
        let open = level("welcomed_connections")?;
        let busy = grown("welcomed_worker_busy_seconds_total", "")?;
        let handler = grown("welcomed_message_duration_seconds_sum", ",phase=\"handler\"")?;
        let squared = grown("welcomed_handler_seconds_squared_total", "")?;
        let cpu = grown("process_cpu_seconds_total", "")?;
        let accepted = grown("welcomed_connections_accepted_total", "")?;
        let parks = grown("welcomed_connection_parks_total", "")?;
        let waited = grown("welcomed_queue_wait_seconds_sum", "")?;
        let waits = self.waits(&own, (start, end, step))?;
        let at = |values: &Values, end: u64| values.get(&end).copied().unwrap_or(0.0);
        let stretch = |(end, messages): (&u64, &f64)| {
            let waits = waits.get(end).cloned().unwrap_or_else(|| Distribution::new(SECONDS));
            let observed = Observed {
                seconds: (at(&seen, *end) * look as f64).clamp(look as f64, step as f64),
                workers: at(&workers, *end).round() as usize,
                messages: messages.round() as u64,
                busy_seconds: at(&busy, *end),
                handler_seconds: at(&handler, *end),
                handler_seconds_squared: at(&squared, *end),
                cpu_seconds: cpu.get(end).copied(),
                cores,
                // Scrapes are too far apart to tell.
                arrival_cv2: None,
                accepted: at(&accepted, *end).round() as u64,
                open: at(&open, *end),
                parks: at(&parks, *end).round() as u64,
                waits: waits.count(),
                wait_seconds: at(&waited, *end),
            };
            Stretch { end: Some(*end), seen: Seen { observed, waits } }
        };
        Ok(messages.iter().filter(|(_, messages)| **messages >= 1.0).map(stretch).collect())
    }

    /// The distributions of the waits.
    fn waits(
        &self,
        own: &str,
        span: (u64, u64, u64),
    ) -> Result<BTreeMap<u64, Distribution>, String> {
        let step = span.2;
        let name = "welcomed_queue_wait_seconds_bucket";
        let all =
            self.series(&format!("sum by (le) (increase({name}{{{own}}}[{step}s]))"), span)?;
        let mut waits: BTreeMap<u64, Distribution> = BTreeMap::new();
        let mut cumulative: Vec<(f64, Values)> = Vec::new();
        for (labels, values) in all {
            let bound = labels["le"].as_str().and_then(|bound| bound.parse().ok());
            cumulative.push((bound.ok_or("a bucket has no bound")?, values));
        }
        cumulative.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut below = Values::new();
        for (bound, values) in cumulative {
            // +Inf stands last, and is no bound.
            let bucket = SECONDS.iter().position(|it| *it == bound).unwrap_or(SECONDS.len());
            for (end, count) in values {
                let in_bucket = count - below.insert(end, count).unwrap_or(0.0);
                let waits = waits.entry(end).or_insert_with(|| Distribution::new(SECONDS));
                waits.counts[bucket] += in_bucket.max(0.0).round() as u64;
            }
        }
        Ok(waits)
    }

    /// An expression of one series.
    fn ask(&self, expression: &str, span: (u64, u64, u64)) -> Result<Values, String> {
        let series = self.series(expression, span)?;
        Ok(series.into_iter().next().map(|(_, values)| values).unwrap_or_default())
    }

    fn series(
        &self,
        expression: &str,
        (start, end, step): (u64, u64, u64),
    ) -> Result<Vec<(Value, Values)>, String> {
        let base = self.url.to_string();
        let base = base.trim_end_matches('/');
        let query = encoded(expression);
        let url =
            format!("{base}/api/v1/query_range?query={query}&start={start}&end={end}&step={step}");
        let answer = page(&base_url(&url)?)?;
        parse(&answer).ok_or_else(|| {
            let begin: String = printable(answer.as_bytes()).chars().take(200).collect();
            format!("{base} does not answer as Prometheus does: {begin}")
        })
    }
}

/// The series of an answer: labels, and values that are numbers.
fn parse(answer: &str) -> Option<Vec<(Value, Values)>> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    if answer["status"] != "success" {
        return None;
    }
    let mut series = Vec::new();
    for one in answer["data"]["result"].as_array()? {
        let mut values = Values::new();
        for sample in one["values"].as_array()? {
            let (time, value) = (sample[0].as_f64()?, sample[1].as_str()?.parse::<f64>().ok()?);
            if value.is_finite() {
                values.insert(time.round() as u64, value);
            }
        }
        series.push((one["metric"].clone(), values));
    }
    Some(series)
}

/// For a quoted text of PromQL.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// For a query string.
fn encoded(text: &str) -> String {
    percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::{encoded, escaped, parse};

    #[test]
    fn an_answer_has_series_with_values() {
        let answer = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"le":"0.5"},"values":[[1700000000,"12.5"],[1700000060.4,"NaN"]]}]}}"#;
        let series = parse(answer).unwrap();
        assert_eq!(series[0].0["le"], "0.5");
        assert_eq!(series[0].1.iter().collect::<Vec<_>>(), [(&1_700_000_000, &12.5)]);
        for wrong in ["", "{}", r#"{"status":"error","error":"no"}"#, "[]", "<html>"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_instance_cannot_leave_its_quotes() {
        assert_eq!(escaped(r#"a"} or up{b="\"#), r#"a\"} or up{b=\"\\"#);
        assert_eq!(encoded("a{b=\"ä\"}"), "a%7Bb%3D%22%C3%A4%22%7D");
    }
}
