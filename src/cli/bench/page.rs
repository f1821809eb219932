//! The report as a page in one file: the live page's style, charts drawn as SVG, no script.

use super::super::report::chart::{Chart, Line, Scale};
use super::super::report::page::{Page, notice, show_time, tiles};
use super::super::terminal::printable;
use super::{QUANTILES, text};
use crate::bench::{Load, Report, Second};
use std::time::Duration;

/// Where the curve by quantile is drawn, in nines: 1 is p90, 2 is p99. In steps of a tenth.
const NINES: usize = 50;
/// Seconds that are shorter are the end of the last one and say nothing of a rate.
const SHORTEST: Duration = Duration::from_millis(500);
/// About how many marks a time axis has.
const MARKS: usize = 10;

/// The whole page.
pub(super) fn html(load: &Load, report: &Report) -> String {
    let charts = [by_quantile(report), over_time(report), throughput(report)].concat();
    let example = report.errors.example.as_deref().unwrap_or_default();
    let body = format!(
        "{}{}<section class=\"charts\">\n{charts}{}</section>\n",
        // The first thing that went wrong, in the server's own words.
        notice(&printable(example.as_bytes())),
        summary(report),
        tables(report),
    );
    let title = format!("Load on {}", load.target);
    Page { title: &title, about: &text::describe(load), by: "bench", body }.html()
}

fn summary(report: &Report) -> String {
    let Report { messages, errors, elapsed, latency, .. } = report;
    let rate = report.throughput();
    tiles([
        ("Messages", messages.to_string(), format!("in {elapsed:.2?}")),
        ("Throughput", format!("{rate:.0}/s"), "right replies".to_owned()),
        ("Median", format!("{:.2?}", latency.quantile(0.5)), "p50 of latency".to_owned()),
        ("p99", format!("{:.2?}", latency.quantile(0.99)), "of latency".to_owned()),
        ("Longest", format!("{:.2?}", latency.max()), "latency".to_owned()),
        ("Errors", errors.total().to_string(), "of all kinds".to_owned()),
    ])
}

fn by_quantile(report: &Report) -> String {
    // No further than there are messages: ten of them are one nine.
    let most = (report.messages.max(1) as f64).log10();
    let points = (0..=NINES).map(|tenth| tenth as f64 / 10.0).filter(|nines| *nines <= most);
    let latency = |nines: f64| report.latency.quantile(1.0 - 0.1_f64.powf(nines));
    let points: Vec<(f64, f64)> =
        points.map(|nines| (nines, latency(nines).as_secs_f64())).filter(|it| it.1 > 0.0).collect();
    let end = points.last().map_or(0.0, |point| point.0);
    let marks = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];
    let marks = marks.map(|(name, part): (_, f64)| (-(1.0 - part).log10(), name.to_owned()));
    Chart {
        title: "Latency by quantile",
        note: "logarithmic",
        marks: marks.into_iter().filter(|mark| mark.0 <= end + 1e-9).collect(),
        scale: Scale::Logarithmic,
        show: show_time,
        lines: vec![Line { style: "one", name: "latency", points }],
    }
    .draw()
}

fn over_time(report: &Report) -> String {
    let line = |style, name, value: fn(&Second) -> Duration| {
        let answered = seconds(report).filter(|(_, second)| second.messages > 0);
        let points = answered.map(|(at, second)| (at, value(second).as_secs_f64())).collect();
        Line { style, name, points }
    };
    Chart {
        title: "Latency over time",
        note: "of each second's replies; logarithmic",
        marks: marks(report),
        scale: Scale::Logarithmic,
        show: show_time,
        lines: vec![line("one", "p50", |it| it.p50), line("two", "p99", |it| it.p99)],
    }
    .draw()
}

fn throughput(report: &Report) -> String {
    let points = seconds(report).map(|(at, second)| (at, second.throughput())).collect();
    Chart {
        title: "Throughput",
        note: "right replies per second",
        marks: marks(report),
        scale: Scale::Linear,
        show: |rate| format!("{rate}"),
        lines: vec![Line { style: "one", name: "messages/s", points }],
    }
    .draw()
}

/// The seconds that are worth a point, at their end.
fn seconds(report: &Report) -> impl Iterator<Item = (f64, &Second)> {
    let all = report.seconds.iter().enumerate();
    let long = all.filter(|(at, second)| *at == 0 || second.length >= SHORTEST);
    long.map(|(at, second)| (at as f64 + second.length.as_secs_f64(), second))
}

fn marks(report: &Report) -> Vec<(f64, String)> {
    let count = seconds(report).count();
    let step = count.div_ceil(MARKS).max(1);
    (0..=count).step_by(step).map(|at| (at as f64, format!("{at} s"))).collect()
}

fn tables(report: &Report) -> String {
    let Report { latency, errors, .. } = report;
    let mut times: Vec<(String, Duration)> = vec![("min".to_owned(), latency.min())];
    times.extend(QUANTILES.map(|(name, part)| (name.to_owned(), latency.quantile(part))));
    times.extend([("max".to_owned(), latency.max()), ("mean".to_owned(), latency.mean())]);
    let times: String =
        times.iter().map(|(name, time)| row(name, &format!("{time:.2?}"), false)).collect();
    let kinds: String = errors.kinds().map(|(kind, n)| row(kind, &n.to_string(), n == 0)).collect();
    let table = |title: &str, rows: &str| {
        format!(
            "<table><thead><tr><th colspan=\"2\">{title}</th></tr></thead>\
             <tbody>{rows}</tbody></table>"
        )
    };
    let tables = [table("Latency", &times), table("Errors", &kinds)].concat();
    format!("<div class=\"tables\">{tables}</div>\n")
}

fn row(name: &str, value: &str, is_zero: bool) -> String {
    let class = if is_zero { " class=\"zero\"" } else { "" };
    format!("<tr{class}><th scope=\"row\">{name}</th><td>{value}</td></tr>\n")
}
