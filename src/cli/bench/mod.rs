//! `welcomed bench`: arguments in; the bar, the report and its files out.
//!
//! `args` makes the load, `live` shows and ends it, `text`, `data` and `page` tell what came of
//! it; the load itself is [`crate::bench`].

mod args;
mod chart;
mod data;
mod live;
mod page;
mod text;
mod threshold;

pub(super) use args::BenchArgs;

use super::Failure;
use super::terminal::reader_stays;
use crate::bench::{self, Load, Report};
use crate::fetch::Save;
use live::Live;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
    let outputs =
        [(&args.json, data::json as Render), (&args.csv, data::csv), (&args.html, page::html)];
    let outputs = Outputs::open(&outputs)?;
    let live = Live::start(&load).map_err(Failure::usage)?;
    let report = bench::watch(&load, |progress| live.show(progress));
    live.clear();
    let report = report.map_err(|error| failure(&error))?;
    outputs.write(&load, &report)?;
    judge(&args, &report, live.interrupted())
}

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

/// A report as text of some kind.
type Render = fn(&Load, &Report) -> String;

/// Where the report goes. Files are begun before the load, so that a path that cannot be written
/// is known before the time is spent.
struct Outputs {
    files: Vec<(Save, PathBuf, Render)>,
    stdout: Render,
}

impl Outputs {
    fn open(wanted: &[(&Option<PathBuf>, Render)]) -> Result<Self, Failure> {
        let mut outputs = Self { files: Vec::new(), stdout: text::text };
        let mut taken = false;
        for (path, render) in wanted {
            let Some(path) = path else { continue };
            if path == Path::new("-") {
                if std::mem::replace(&mut taken, true) {
                    return Err(Failure::usage("bench: only one of the files can be `-`"));
                }
                outputs.stdout = *render;
                continue;
            }
            let save = Save::create(path);
            let save = save.map_err(|error| Failure::usage(cannot_write(path, &error)))?;
            outputs.files.push((save, path.clone(), *render));
        }
        Ok(outputs)
    }

    fn write(self, load: &Load, report: &Report) -> Result<(), Failure> {
        let mut output = io::stdout().lock();
        let text = (self.stdout)(load, report);
        let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
        reader_stays(written).map_err(|error| {
            Failure::failed(format!("bench: cannot write to standard output: {error}"))
        })?;
        for (mut save, path, render) in self.files {
            let written = save.write_all(render(load, report).as_bytes());
            let kept = written.and_then(|()| save.keep());
            kept.map_err(|error| Failure::failed(cannot_write(&path, &error)))?;
        }
        Ok(())
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("bench: cannot write `{}`: {error}", path.display())
}
