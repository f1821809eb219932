//! File, environment and flags to [`Settings`]: who overrides whom, and what is wrong with them.
//!
//! Pure over its inputs. All that is wrong is reported at once, a line each. The rules between
//! keys are only looked at when every value for itself is right: a value that was refused would
//! otherwise be judged by its default.

use super::hint::unknown_variable;
use super::keys::PREFIX;
use super::rules::broken_rules;
use super::value::{Raw, one_line};
use super::{KEYS, Key, Origin, Settings, file};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

/// A configuration file that somebody has read.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// Everything that is wrong with a configuration, one line each: first what is wrong in the file,
/// line by line, then in the environment, then in the flags.
#[derive(Debug, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    problems: Vec<String>,
}

/// The settings that `file`, `environment` and `flags` make, each stronger than the one before.
/// A flag that takes a list has its values separated by commas.
///
/// # Errors
///
/// An unknown section or key in the file, a value that its key does not allow, or two settings
/// that do not go together. An unknown variable is only a [warning](Settings::warnings).
pub fn load(
    file: Option<File<'_>>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: impl IntoIterator<Item = (&'static Key, String)>,
) -> Result<Settings, ConfigError> {
    let mut loader = Loader { settings: Settings::default(), problems: Vec::new() };
    if let Some(file) = file {
        loader.file(file);
    }
    loader.environment(environment);
    for (key, text) in flags {
        // A key that has no flag cannot come from one; its path is the best name then.
        let origin = Origin::Flag(key.flag.unwrap_or(key.path));
        loader.set(key, &Raw::Text(&text), origin);
    }
    let Loader { settings, mut problems } = loader;
    if problems.is_empty() {
        problems.extend(broken_rules(&settings).into_iter().map(|(path, problem)| {
            let place = place(path, settings.origin_of(path));
            format!("{place}: {problem}")
        }));
    }
    if problems.is_empty() { Ok(settings) } else { Err(ConfigError { problems }) }
}

struct Loader {
    settings: Settings,
    problems: Vec<String>,
}

impl Loader {
    fn set(&mut self, key: &'static Key, raw: &Raw<'_>, origin: Origin) {
        match key.set(&mut self.settings, raw) {
            Ok(()) => {
                self.settings.origins.insert(key.path, origin);
            }
            Err(given) => {
                let given = if given.is_empty() { "nothing" } else { &format!("`{given}`") };
                let place = place(key.path, &origin);
                let allowed = key.allowed();
                self.problems.push(format!("{place}: {given} is not valid; allowed: {allowed}"));
            }
        }
    }

    fn environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            name.starts_with(PREFIX).then_some((name, value))
        });
        // Sorted, so that messages come in the same order each time.
        for (name, value) in ours.collect::<BTreeMap<_, _>>() {
            match (KEYS.iter().find(|key| key.variable() == name), value.to_str()) {
                (Some(key), Some(text)) => {
                    self.set(key, &Raw::Text(text), Origin::Environment(name));
                }
                (Some(_), None) => self.problems.push(format!(
                    "{name}: `{}` is not valid; allowed: UTF-8 text",
                    one_line(&value.to_string_lossy())
                )),
                (None, _) => self.settings.warnings.push(unknown_variable(&name)),
            }
        }
    }

    fn file(&mut self, file: File<'_>) {
        let name: Arc<str> = one_line(file.name).into();
        for (line, entry) in file::read(file.text) {
            let origin = Origin::File { name: Arc::clone(&name), line };
            match entry {
                Ok((key, value)) => self.set(key, &Raw::Toml(&value, file.text), origin),
                Err(problem) => self.problems.push(format!("{origin}: {problem}")),
            }
        }
    }
}

/// What a message about a setting starts with: where to look, and the key unless that names it.
pub(super) fn place(path: &str, origin: &Origin) -> String {
    match origin {
        Origin::File { .. } => format!("{origin}: {path}"),
        Origin::Default => format!("{path} (default)"),
        Origin::Environment(_) | Origin::Flag(_) => origin.to_string(),
    }
}
