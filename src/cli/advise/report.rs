//! What `advise` found, as text for people and as JSON for scripts.

use super::scrape::Seen;
use crate::sizing::{Advice, Human, Limit, Load, Prediction, Target, Wait, predict};
use serde_json::{Value, json};
use std::fmt::{self, Display, Write};
use std::time::{Duration, UNIX_EPOCH};

/// What was seen in one stretch of time; `end` in Unix seconds if that is not now.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) end: Option<u64>,
    pub(super) seen: Seen,
}

/// Everything there is to say.
pub(super) struct Report {
    /// Which server.
    name: String,
    /// What the advice rests on.
    decisive: Stretch,
    /// All stretches, if there are more.
    all: Vec<Stretch>,
    target: Target,
    load: Load,
    /// For the number of workers that there is.
    now: Result<Prediction, Limit>,
    pub(super) advice: Advice,
}

impl Report {
    pub(super) fn new(name: String, decisive: Stretch, all: Vec<Stretch>, target: Target) -> Self {
        let observed = &decisive.seen.observed;
        let load = observed.load();
        let now = predict(&load, observed.workers);
        let advice = observed.advise(target);
        Self { name, decisive, all, target, load, now, advice }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // A String takes what is written.
        self.write(&mut text).ok();
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let observed = &self.decisive.seen.observed;
        let load = &self.load;
        if !self.all.is_empty() {
            self.write_stretches(out)?;
        }
        let when = self.decisive.end.map(|end| format!(", up to {}", time(end)));
        let when = when.unwrap_or_default();
        writeln!(out, "{}, {:.0} s{when}\n", self.name, observed.seconds)?;
        let cv2 = match observed.arrival_cv2 {
            Some(cv2) => format!("cv2 {cv2:.2}"),
            None => "cv2 not measured".to_owned(),
        };
        let (rate, messages) = (load.arrivals_per_second, load.messages);
        writeln!(out, "  arrivals   {rate:.1} messages/s ({messages}), {cv2}")?;
        let handler = Human(observed.handler_mean_seconds());
        let (cv2, held) = (load.service_cv2, Human(load.service_seconds));
        writeln!(out, "  handler    {handler} a message, cv2 {cv2:.2}; a worker is held {held}")?;
        writeln!(out, "  CPU        {}", self.cpu())?;
        let (workers, busy) = (observed.workers, percent(observed.utilisation()));
        let offered = load.offered();
        writeln!(out, "  pool       {workers} workers, {busy} busy: {offered:.2} on average\n")?;
        self.write_now(out)?;
        self.write_table(out)?;
        writeln!(out, "{}", self.advice.reason)?;
        for warning in &self.advice.warnings {
            writeln!(out, "Note: {warning}.")?;
        }
        Ok(())
    }

    fn cpu(&self) -> String {
        let observed = &self.decisive.seen.observed;
        let Some(cpu) = observed.cpu_seconds.filter(|_| observed.messages > 0) else {
            return "not known".to_owned();
        };
        let each = Human(cpu / observed.messages as f64);
        let Some(cores) = observed.cores else {
            return format!("{each} a message; of how many cores is not known (--cores)");
        };
        let part = percent(self.load.cpu_utilisation());
        let useful = self.load.useful_workers();
        format!("{each} a message, {part} of {cores:.0} cores, which {useful} workers keep busy")
    }

    fn write_now(&self, out: &mut String) -> fmt::Result {
        let cells = |out: &mut String, what: &str, values: [Option<f64>; 3]| {
            let [mean, p95, p99] = values.map(cell);
            writeln!(out, "  {what:<21}{mean:>10}{p95:>10}{p99:>10}")
        };
        writeln!(out, "  {:<21}{:>10}{:>10}{:>10}", "wait for a worker", "mean", "p95", "p99")?;
        let [mean, p95, p99] = self.measured();
        cells(out, "measured", [mean, p95, p99])?;
        let wait = self.now.and_then(|now| now.wait).ok();
        let predicted = wait.map(|wait| [wait.mean, wait.p95, wait.p99]);
        cells(out, "predicted", predicted.map_or([None; 3], |waits| waits.map(Some)))?;
        writeln!(out)
    }

    fn measured(&self) -> [Option<f64>; 3] {
        let Seen { observed, waits } = &self.decisive.seen;
        let mean = (observed.waits > 0).then(|| observed.wait_mean_seconds());
        [mean, waits.quantile(0.95), waits.quantile(0.99)]
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        if self.advice.table.iter().all(|size| size.wait.is_err()) {
            return Ok(());
        }
        writeln!(out, "  workers  utilisation      mean       p95       p99")?;
        for Prediction { workers, utilisation, wait } in &self.advice.table {
            let waits = match wait {
                Ok(Wait { mean, p95, p99, .. }) => [*mean, *p95, *p99].map(Some).map(cell),
                Err(_) => [None; 3].map(cell),
            };
            let [mean, p95, p99] = waits;
            let busy = percent(*utilisation);
            write!(out, "  {workers:>7}{busy:>13}{mean:>10}{p95:>10}{p99:>10}")?;
            let now = self.decisive.seen.observed.workers == *workers;
            let marks = match (self.advice.recommended == Ok(*workers), now) {
                (true, true) => "  <- recommended, and now",
                (true, false) => "  <- recommended",
                (false, true) => "  now",
                (false, false) => "",
            };
            writeln!(out, "{marks}")?;
        }
        writeln!(out)
    }

    fn write_stretches(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "  up to                 messages/s   handler  utilisation  recommended")?;
        for it in &self.all {
            let observed = &it.seen.observed;
            let rate = observed.load().arrivals_per_second;
            let handler = Human(observed.handler_mean_seconds()).to_string();
            let busy = percent(observed.utilisation());
            let recommended = recommended(it, self.target);
            let recommended = recommended.map_or("-".to_owned(), |workers| workers.to_string());
            let time = time(it.end.unwrap_or(0));
            let peak = if it.end == self.decisive.end { "  <- busiest" } else { "" };
            writeln!(
                out,
                "  {time:<20}{rate:>12.1}{handler:>10}{busy:>13}{recommended:>13}{peak}"
            )?;
        }
        writeln!(out)
    }

    pub(super) fn json(&self) -> String {
        let observed = &self.decisive.seen.observed;
        let Load { arrivals_per_second, service_seconds, service_cv2, cpu_seconds, .. } = self.load;
        let stretch = |it: &Stretch| {
            json!({
                "end": it.end,
                "arrivals_per_second": it.seen.observed.load().arrivals_per_second,
                "utilisation": it.seen.observed.utilisation(),
                "recommended_workers": recommended(it, self.target),
            })
        };
        let [mean, p95, p99] = self.measured();
        let cpu_known = observed.cpu_seconds.is_some() && observed.cores.is_some();
        let warnings: Vec<_> = self.advice.warnings.iter().map(ToString::to_string).collect();
        let (kind, target) = match self.target {
            Target::MeanWait(seconds) => ("mean", seconds),
            Target::P99Wait(seconds) => ("p99", seconds),
        };
        let report = json!({
            "recommended_workers": self.advice.recommended.ok(),
            "reason": self.advice.reason,
            "warnings": warnings,
            "target": { "of": kind, "wait_seconds": target },
            "workers": observed.workers,
            "utilisation": observed.utilisation(),
            "predicted": self.now.as_ref().ok().map(prediction),
            "measured": { "wait_seconds": { "mean": mean, "p95": p95, "p99": p99 } },
            "load": {
                "seconds": observed.seconds,
                "end": self.decisive.end,
                "messages": observed.messages,
                "arrivals_per_second": arrivals_per_second,
                "arrival_cv2": observed.arrival_cv2,
                "handler_seconds": observed.handler_mean_seconds(),
                "service_seconds": service_seconds,
                "service_cv2": service_cv2,
                "offered_workers": self.load.offered(),
                "cpu_seconds": cpu_known.then_some(cpu_seconds),
                "cpu_utilisation": cpu_known.then(|| self.load.cpu_utilisation()),
                "useful_workers": cpu_known.then(|| self.load.useful_workers()),
            },
            "sizes": self.advice.table.iter().map(prediction).collect::<Vec<_>>(),
            "stretches": self.all.iter().map(stretch).collect::<Vec<_>>(),
        });
        format!("{report:#}\n")
    }
}

fn recommended(stretch: &Stretch, target: Target) -> Option<usize> {
    stretch.seen.observed.advise(target).recommended.ok()
}

fn prediction(size: &Prediction) -> Value {
    let wait = size.wait.as_ref().ok();
    json!({
        "workers": size.workers,
        "utilisation": size.utilisation,
        "wait_seconds": wait.map(|it| json!({ "mean": it.mean, "p95": it.p95, "p99": it.p99 })),
    })
}

fn cell(seconds: Option<f64>) -> String {
    seconds.map_or("-".to_owned(), |seconds| Human(seconds).to_string())
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn time(end: u64) -> impl Display {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(end))
}
