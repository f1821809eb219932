//! The command line: arguments, one file per subcommand, errors to exit codes.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit)] // a program speaks and ends

mod check;
mod logger;
mod serve;
mod settings;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What went wrong, and the exit code it maps to. Its text is what a user reads: one line, or one
/// for each thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The work failed: exit code 1.
    pub fn failed(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// Wrong arguments or configuration, or a start that could not be made: exit code 2.
    pub fn usage(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// Stopped with work left undone: exit code 3.
    pub fn cut_off(message: impl ToString) -> Self {
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
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A configuration has a line for each thing that is wrong.
            for line in failure.message.lines() {
                eprintln!("welcomed: {line}");
            }
            ExitCode::from(failure.code)
        }
    }
}
