//! What a message costs: this server beside a thread per client, tokio, and the limit that a bare
//! epoll loop sets, in one run.
//!
//! `cargo bench --bench compare` prints the table; `-- --markdown` the README's. Server and load
//! are pinned to different cores. CPU is what the kernel accounts to the server's threads; it is
//! far steadier than throughput on a noisy machine. Rounds are interleaved, each cell is a
//! median, and ratios are taken within a round.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit)] // a program of its own
#![allow(unreachable_pub)] // no API

mod measure;
mod rivals;
mod server;
mod table;

use clap::Parser;
use measure::{Case, Sample};
use server::{Process, RIVALS};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Compares the CPU time per message, the latency and the memory of servers
#[derive(Debug, Parser)]
struct Arguments {
    /// One short round, to see that it works; its figures mean little
    #[arg(long)]
    quick: bool,
    /// Rounds; each cell is the median
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Servers to compare, of: welcomed, raw-epoll, tokio-1, tokio-2, threads
    #[arg(long, value_delimiter = ',', default_values_t = RIVALS.map(|(name, _)| name.to_owned()))]
    only: Vec<String>,
    /// Cases, as connections x messages in flight
    #[arg(long, value_delimiter = ',', default_values_t = Case::ALL)]
    cases: Vec<Case>,
    /// Leave the memory of idle connections out
    #[arg(long)]
    no_memory: bool,
    /// Print the table as Markdown
    #[arg(long)]
    markdown: bool,
    /// What cargo says to a bench
    #[arg(long, hide = true)]
    bench: bool,
    /// Be this rival
    #[arg(long, hide = true)]
    rival: Option<String>,
}

/// Every sample by case and server, in the order of the rounds.
pub type Samples = BTreeMap<(Case, String), Vec<Sample>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if let Some(name) = &arguments.rival {
        return match rivals::run(name) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{name}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if arguments.quick {
        (arguments.rounds, arguments.seconds) = (1, 0.3);
    }
    match compare(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    server::raise_open_files()?;
    let window = Duration::from_secs_f64(arguments.seconds);
    let mut samples = Samples::new();
    let names = &arguments.only;
    let steps = arguments.rounds * arguments.cases.len() * names.len();
    let mut step = 0;
    for round in 0..arguments.rounds {
        for case in &arguments.cases {
            for place in 0..names.len() {
                // Each round begins with another server.
                let name = &names[(place + round) % names.len()];
                step += 1;
                progress(&format!("{step}/{steps}: {name}, {case}"));
                let server = Process::start(name)?;
                let sample = measure::sample(&server, *case, window)
                    .map_err(|error| format!("{name}, {case}: {error}"))?;
                samples.entry((*case, name.clone())).or_default().push(sample);
            }
        }
    }
    let mut memory = BTreeMap::new();
    for name in names.iter().filter(|_| !arguments.no_memory) {
        progress(&format!("memory: {name}"));
        memory.insert(name.clone(), measure::bytes_per_idle_connection(&Process::start(name)?)?);
    }
    progress("");
    let text = table::render(arguments.markdown, names, &arguments.cases, &samples, &memory);
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// What is being done: on a terminal in one line, else a line each.
fn progress(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    } else if !what.is_empty() {
        eprintln!("{what}");
    }
}
