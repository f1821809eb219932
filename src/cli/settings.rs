//! The flags that override settings, made from the table of keys, and the load that `serve` and
//! `check` share.
//!
//! The only place that reads the configuration file and the settings' variables.

use super::Failure;
use crate::config::{self, File, KEYS, Key, Settings};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use std::env;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A configuration file is a page; whatever is longer is some other file.
const LONGEST_FILE_BYTES: u64 = 1 << 20;

/// `--config` and the flags of the keys that have one.
#[derive(Debug)]
pub(super) struct SettingsArgs {
    config: Option<PathBuf>,
    /// In the table's order; the values of a list are separated by commas.
    overrides: Vec<(&'static Key, String)>,
}

impl SettingsArgs {
    /// The file, which may change.
    pub(super) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Loads file, environment and flags, the later the stronger.
    pub(super) fn load(&self) -> Result<Settings, Failure> {
        let text = match &self.config {
            Some(path) => Some((path.display().to_string(), read(path)?)),
            None => None,
        };
        let file = text.as_ref().map(|(name, text)| File { name, text });
        let overrides = self.overrides.iter().cloned();
        config::load(file, env::vars_os(), overrides).map_err(Failure::usage)
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::usage(format!("cannot read `{}`: {error}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    // One byte more than allowed, so that a longer file is seen to be one.
    file.take(LONGEST_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LONGEST_FILE_BYTES {
        let path = path.display();
        return Err(Failure::usage(format!(
            "`{path}` is too long for a configuration; allowed: {LONGEST_FILE_BYTES} bytes"
        )));
    }
    Ok(text)
}

/// The same for a subcommand that runs the service but not the server that is configured: of the
/// flags only those of the service.
#[derive(Debug)]
pub(super) struct ServiceArgs(pub(super) SettingsArgs);

fn is_of_service(key: &Key) -> bool {
    key.section() == "service"
}

impl Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        augment(command, |_| true).after_long_help(reference())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl Args for ServiceArgs {
    fn augment_args(command: Command) -> Command {
        augment(command, is_of_service)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn augment(command: Command, wanted: fn(&Key) -> bool) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Configuration file, in TOML")
        .long_help(
            "Configuration file, in TOML\n\nEnvironment variables override the file, and \
                 flags override both. Without a file the defaults hold.",
        );
    let keys = KEYS.iter().filter(|key| wanted(key));
    let flags = keys.filter_map(|key| Some(flag(key, key.flag?)));
    command.arg(config).args(flags)
}

fn flag(key: &'static Key, name: &'static str) -> Arg {
    let short = key.help.lines().next().unwrap_or_default();
    let (variable, default) = (key.variable(), key.default_text());
    let notes = format!("[env: {variable}] [default: {default}]");
    let details = format!("{}\n\nAllowed: {}.\n{notes}", key.help, key.allowed());
    Arg::new(name)
        .long(name)
        .value_name(key.placeholder())
        .action(if key.is_list() { ArgAction::Append } else { ArgAction::Set })
        .help(format!("{short} {notes}"))
        .long_help(details)
}

/// Every setting, also those that have no flag.
fn reference() -> String {
    let mut text = "Settings, with their environment variables and defaults:\n".to_owned();
    for key in KEYS {
        let short = key.help.lines().next().unwrap_or_default();
        let (path, variable, default) = (key.path, key.variable(), key.default_text());
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n  {path} ({variable})\n      {short}\n      Allowed: {}. Default: {default}.\n",
            key.allowed()
        );
    }
    text
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(gather(matches, |_| true))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl FromArgMatches for ServiceArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(gather(matches, is_of_service)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn gather(matches: &ArgMatches, wanted: fn(&Key) -> bool) -> SettingsArgs {
    let given = |key: &'static Key| {
        let values: Vec<&String> = matches.get_many(key.flag?)?.collect();
        let values: Vec<&str> = values.into_iter().map(String::as_str).collect();
        Some((key, values.join(",")))
    };
    SettingsArgs {
        config: matches.get_one("config").cloned(),
        overrides: KEYS.iter().filter(|key| wanted(key)).filter_map(given).collect(),
    }
}
