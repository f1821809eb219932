//! The report for programs: JSON and CSV. Times are seconds, rates per second.

use super::QUANTILES;
use crate::bench::{Arrivals, Load, Pace, Report};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::time::Duration;

/// Everything, as one object.
pub(super) fn json(load: &Load, report: &Report) -> String {
    let Report { messages, errors, elapsed, latency, seconds } = report;
    let quantiles: Map<String, Value> = QUANTILES
        .iter()
        .map(|(name, part)| ((*name).to_owned(), seconds_of(latency.quantile(*part))))
        .collect();
    let kinds: Map<String, Value> =
        errors.kinds().map(|(kind, count)| (kind.to_owned(), count.into())).collect();
    let series: Vec<Value> = seconds
        .iter()
        .map(|second| {
            json!({
                "length_seconds": seconds_of(second.length),
                "messages": second.messages,
                "errors": second.errors,
                "p50_seconds": seconds_of(second.p50),
                "p99_seconds": seconds_of(second.p99),
                "max_seconds": seconds_of(second.max),
            })
        })
        .collect();
    let whole = json!({
        "load": describe(load),
        "messages": messages,
        "elapsed_seconds": seconds_of(*elapsed),
        "throughput_per_second": report.throughput(),
        "latency_seconds": {
            "min": seconds_of(latency.min()),
            "mean": seconds_of(latency.mean()),
            "max": seconds_of(latency.max()),
            "quantiles": quantiles,
        },
        "errors": kinds,
        "error_example": errors.example,
        "seconds": series,
    });
    format!("{whole:#}\n")
}

fn describe(load: &Load) -> Value {
    let pace = match load.pace {
        Pace::Closed { in_flight, think } => json!({
            "loop": "closed",
            "in_flight": in_flight,
            "think_seconds": seconds_of(think),
        }),
        Pace::Open { rate, arrivals } => json!({
            "loop": "open",
            "rate_per_second": rate,
            "arrivals": match arrivals {
                Arrivals::Constant => "constant",
                Arrivals::Poisson => "poisson",
            },
            "seed": load.seed,
        }),
    };
    json!({
        "target": load.target.to_string(),
        "connections": load.connections,
        "threads": load.threads,
        "framing": load.framing.to_string(),
        "warm_up_seconds": seconds_of(load.warm_up),
        "ramp_seconds": seconds_of(load.ramp),
        "pace": pace,
    })
}

fn seconds_of(time: Duration) -> Value {
    time.as_secs_f64().into()
}

/// A row for each number: what it is, at which quantile or second, and its value. One table, that
/// any program can split.
pub(super) fn csv(_: &Load, report: &Report) -> String {
    let Report { latency, seconds, errors, .. } = report;
    let mut table = "what,at,value\n".to_owned();
    let mut row = |what: &str, at: &dyn std::fmt::Display, value: &dyn std::fmt::Display| {
        writeln!(table, "{what},{at},{value}").expect("a string takes any text");
    };
    for (_, part) in QUANTILES {
        row("latency_seconds", &part, &latency.quantile(part).as_secs_f64());
    }
    row("latency_seconds", &1, &latency.max().as_secs_f64());
    for (at, second) in seconds.iter().enumerate() {
        row("throughput_per_second", &at, &second.throughput());
        row("p50_seconds", &at, &second.p50.as_secs_f64());
        row("p99_seconds", &at, &second.p99.as_secs_f64());
        row("errors", &at, &second.errors);
    }
    for (kind, count) in errors.kinds() {
        row("errors_total", &kind, &count);
    }
    table
}
