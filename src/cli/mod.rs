//! The command line: arguments, one file per subcommand, errors to exit codes.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit)] // a program speaks and ends

mod advise;
mod bar;
mod bench;
mod check;
mod client;
mod completions;
mod fetch;
mod health;
mod interrupt;
mod load;
mod logger;
mod man;
mod reload;
mod report;
mod save;
mod serve;
mod settings;
mod signals;
mod systemd;
mod terminal;
mod tune;

#[cfg(feature = "fuzzing")]
pub(crate) use self::logger::log_line;
use crate::service::Service;
use clap::{Parser, Subcommand};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

/// What went wrong, and the exit code it maps to. Its text is what a user reads: one line, or one
/// for each thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The work failed: exit code 1.
    pub(crate) fn failed(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// Wrong arguments or configuration, or a start that could not be made: exit code 2.
    pub(crate) fn usage(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// The system refused a thread at the start: exit code 2.
    fn no_thread(whose: &str, error: &io::Error) -> Self {
        Self::usage(format!("cannot start {whose} thread: {error}"))
    }

    /// Stopped with work left undone: exit code 3.
    pub(crate) fn cut_off(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 3 }
    }
}

/// A TCP server with a fixed pool of worker threads, and its clients.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Advise(advise::AdviseArgs),
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Client(client::ClientArgs),
    Fetch(fetch::FetchArgs),
    Health(health::HealthArgs),
    Bench(bench::BenchArgs),
    Tune(tune::TuneArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Runs the program with the process's arguments. Blocks until it is done; its exit code is what a
/// `main` returns.
#[must_use]
pub fn main() -> ExitCode {
    run(None)
}

/// Runs the program with a service of one's own in the place of those it knows: the same
/// subcommands, configuration, signals, log and metrics. `service.kind` is then not used.
///
/// While it serves, the process's logger and its panic hook are the program's own.
///
/// Blocks until the program is done; its exit code is what a `main` returns.
#[must_use]
pub fn serve_with(service: impl Service) -> ExitCode {
    run(Some(Arc::new(service)))
}

fn run(own: Option<Arc<dyn Service>>) -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Advise(args) => advise::run(args),
        Command::Serve(args) => serve::run(args, own),
        Command::Check(args) => check::run(args),
        Command::Client(args) => client::run(args),
        Command::Fetch(args) => fetch::run(args),
        Command::Health(args) => health::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Tune(args) => tune::run(args, own),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    };
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A configuration has a line for each thing that is wrong.
            for line in failure.message.lines() {
                logger::say(&format!("welcomed: {line}"));
            }
            ExitCode::from(failure.code)
        }
    };
    logger::flush();
    code
}
