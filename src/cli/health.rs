//! `welcomed health`: asks a running server's side endpoint, for probes.

use super::Failure;
use crate::client::health::{self, Url};
use std::io::{self, Write};
use std::time::Duration;

/// A probe that takes longer is a failed one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks a running server whether it is well
///
/// Prints the first line of the answer. The exit code is 0 for the status 200 and 1 for any other,
/// or when there is no answer within 5s. For health checks of containers, which need no curl then.
#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    /// The page to ask for, at the server's `metrics.listen`
    ///
    /// `host:port` alone means `/healthz`; `/readyz` says whether new clients are wanted.
    #[arg(default_value = "http://127.0.0.1:9998/healthz")]
    url: Url,
}

pub(super) fn run(args: HealthArgs) -> Result<(), Failure> {
    let answer = health::ask(&args.url, PATIENCE).map_err(Failure::failed)?;
    // The exit code is the answer, whether or not anybody reads the line.
    writeln!(io::stdout(), "{}", answer.line).ok();
    match answer.status {
        200 => Ok(()),
        status => Err(Failure::failed(format!("{} answers with status {status}", args.url))),
    }
}
