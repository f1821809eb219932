//! `welcomed check`: is the configuration right, and what does it amount to?

use super::Failure;
use super::settings::SettingsArgs;
use super::terminal::print;

/// Checks the configuration and prints what it amounts to
///
/// Reads the file, the environment and the flags as `serve` does, and prints all settings as TOML;
/// a comment behind a value says where it came from, unless it is the default. Everything that is
/// wrong is listed on standard error, a line each, and the exit code is 2.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: CheckArgs) -> Result<(), Failure> {
    let settings = args.settings.load()?;
    for warning in settings.warnings() {
        eprintln!("welcomed: warning: {warning}");
    }
    print(settings.to_toml().as_bytes())
}
