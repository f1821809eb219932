//! The comparison: `welcomed` and other servers under the same load, in one run.
//!
//! `cargo bench --bench compare` starts each server as a process of its own on one core, loads it
//! from another, and prints what a message cost it by the kernel's own accounting. The servers
//! take turns in short windows and the order rotates, so that a noisy neighbour hits all of them;
//! ratios are taken within a round, and the table has the median over the rounds.
//!
//! `plan` says what to measure, `process` starts a server, `measure` takes one sample, `table`
//! prints them all. The rivals are in `rivals`; `welcomed` is the real binary.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program that prints a table

mod accounts;
mod machine;
mod measure;
mod plan;
mod process;
mod rivals;
mod table;

use clap::Parser;
use measure::Sample;
use plan::{Arguments, Plan};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.rival {
        Some(rival) => rivals::run(rival).map_err(|error| error.to_string()),
        None => compare(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("compare: {message}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: Arguments) -> Result<(), String> {
    let Arguments { markdown, generator, .. } = arguments;
    let plan = Plan::new(arguments);
    let cores = machine::Cores::choose()?;
    let cores = if generator { cores.shared() } else { cores };
    machine::raise_open_files().map_err(|error| format!("open files: {error}"))?;
    let mut results = table::Results::default();
    let mut progress = Progress::new(plan.steps());
    for (round, case, server) in plan.turns() {
        progress.step(&format!("round {}, {case}: {server}", round + 1));
        match measure::sample(server, case, plan.window, cores) {
            Ok(sample) => results.samples.push(Sample { round, ..sample }),
            Err(reason) => results.fail(server, &format!("{case}: {reason}")),
        }
    }
    for &server in plan.servers.iter().filter(|_| !generator) {
        progress.step(&format!("memory: {server}"));
        match measure::memory(server, cores) {
            Ok(bytes) => results.memory.push((server, bytes)),
            Err(reason) => results.fail(server, &format!("memory: {reason}")),
        }
    }
    progress.end();
    let text = match (generator, markdown) {
        (true, _) => results.generator(&plan),
        (_, true) => results.markdown(&plan),
        (_, false) => results.text(&plan),
    };
    print!("{text}");
    Ok(())
}

/// What is measured now: one line that changes on a terminal, a line each elsewhere.
struct Progress {
    done: usize,
    steps: usize,
    terminal: bool,
}

impl Progress {
    fn new(steps: usize) -> Self {
        Self { done: 0, steps, terminal: io::stderr().is_terminal() }
    }

    fn step(&mut self, what: &str) {
        self.done += 1;
        let Self { done, steps, terminal } = self;
        if *terminal {
            eprint!("\r\x1b[K[{done}/{steps}] {what}");
            // A progress line that cannot be shown is not worth stopping for.
            io::stderr().flush().ok();
        } else {
            eprintln!("[{done}/{steps}] {what}");
        }
    }

    fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
