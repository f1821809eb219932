//! `welcomed bench`: arguments in; the bar, the report and its files out.
//!
//! `args` makes the load, `live` shows and ends it, `text`, `data` and `page` tell what came of
//! it; the load itself is [`crate::bench`].

mod args;
mod data;
mod live;
mod page;
mod text;
mod threshold;

pub(super) use args::BenchArgs;

use super::Failure;
use super::report::outputs::{Outputs, Render};
use crate::bench::{self, Load, Report};
use live::Live;

/// The quantiles that are shown.
const QUANTILES: [(&str, f64); 7] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// Runs the subcommand.
pub(super) fn run(args: BenchArgs) -> Result<(), Failure> {
    let load = args.load()?;
    let json: Render<Done> = |(load, report)| data::json(load, report);
    let csv: Render<Done> = |(load, report)| data::csv(load, report);
    let html: Render<Done> = |(load, report)| page::html(load, report);
    let wanted = [(&args.json, json), (&args.csv, csv), (&args.html, html)];
    let outputs = Outputs::open("bench", |(load, report)| text::text(load, report), &wanted)?;
    let live = Live::start(&load).map_err(Failure::usage)?;
    let report = bench::watch(&load, |progress| live.show(progress));
    live.bar.clear();
    let report = report.map_err(|error| failure(&error))?;
    let done = (load, report);
    outputs.write(&done)?;
    judge(&args, &done.1, live.bar.interrupted())
}

/// What was done, and what came of it.
type Done = (Load, Report);

/// What cannot be sent at all is a matter of the arguments.
fn failure(error: &bench::Error) -> Failure {
    let message = format!("bench: {error}");
    match error {
        bench::Error::NotConnected { .. } | bench::Error::Epoll(_) | bench::Error::Thread(_) => {
            Failure::failed(super::terminal::printable(message.as_bytes()))
        }
        _ => Failure::usage(message),
    }
}

/// Whether the report is what was wanted.
fn judge(args: &BenchArgs, report: &Report, interrupted: bool) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    if !report.errors.is_empty() {
        let errors = super::terminal::printable(report.errors.to_string().as_bytes());
        wrong.push(format!("errors: {errors}"));
    }
    wrong.extend(args.fail_above.iter().filter_map(|it| it.complaint(&report.latency)));
    if report.messages == 0 && !interrupted {
        wrong.push("no message was answered".to_owned());
    }
    match (wrong.is_empty(), interrupted) {
        (false, _) => Err(Failure::failed(format!("bench: {}", wrong.join("; ")))),
        (true, true) => Err(Failure::cut_off("bench: interrupted")),
        (true, false) => Ok(()),
    }
}
