//! `welcomed serve`: settings, file limit, log, and then the server until a signal ends it.

use super::settings::SettingsArgs;
use super::{Failure, logger};
use crate::config::{Settings, fit_connections};
use crate::server::Options;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Runs the server until SIGTERM or SIGINT
///
/// Settings come from the file, the environment and the flags, each stronger than the one before;
/// `welcomed check` shows what they amount to.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: ServeArgs) -> Result<(), Failure> {
    let settings = args.settings.load()?;
    let mut options = settings.options();
    let (max_connections, lowered) = fit_connections(
        options.max_connections,
        settings.max_connections_is_explicit(),
        raise_open_files(),
        settings.listen.len(),
        options.workers,
    )
    .map_err(Failure::usage)?;
    options.max_connections = max_connections;

    logger::init(settings.log_level, settings.log_format).map_err(Failure::failed)?;
    for warning in settings.warnings().iter().chain(&lowered) {
        log::warn!("{warning}");
    }
    serve(&settings, options)
}

/// Raises the soft limit of open files to the hard one, and returns what holds then: the soft
/// limit is low for the sake of programs that use `select`, which this one is not.
fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // Without a limit the kernel's own one holds, and that is far away.
    current.unwrap_or(u64::MAX)
}

/// Runs the server with settings that are known to fit this machine.
fn serve(settings: &Settings, options: Options) -> Result<(), Failure> {
    // The engine is wired in here: listeners, endpoint, signals. Until it is, say so.
    log::debug!(workers = options.workers, listeners = settings.listen.len(); "Settings loaded.");
    Err(Failure::failed("this build has no engine yet"))
}
