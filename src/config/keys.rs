//! What a key is: its names in the file, the environment and the flags, and the field that it
//! fills. Which there are says [`table`](super::table).

use super::Settings;
use super::kind::Slot;
use super::value::{Raw, Shown};
use std::fmt;

/// One setting.
pub struct Key {
    /// Section and name as in `pool.workers`.
    pub path: &'static str,
    /// The flag's name without dashes, for the settings that have one.
    pub flag: Option<&'static str>,
    /// What it does, with its unit: a short first line, and details behind an empty one.
    pub help: &'static str,
    /// Whether a reload changes it; the others are the process's for life.
    pub live: bool,
    pub(super) slot: &'static dyn Slot,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.path)
    }
}

impl Key {
    /// The section, as in `[pool]`.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// The name within the section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The environment variable, as in `WELCOMED_POOL_WORKERS`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "_").to_uppercase())
    }

    /// What a value may be, in words.
    #[must_use]
    pub fn allowed(&self) -> String {
        self.slot.allowed()
    }

    /// What stands for a value in the help, as in `--workers <N>`.
    #[must_use]
    pub(crate) fn placeholder(&self) -> &'static str {
        self.slot.placeholder()
    }

    /// Whether it takes several values.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.slot.is_list()
    }

    /// The value that it has when nobody chose one, written as for a flag.
    #[must_use]
    pub fn default_text(&self) -> String {
        self.value(&Settings::default()).to_string()
    }

    pub(super) fn value(&self, settings: &Settings) -> Shown {
        self.slot.show(settings)
    }

    /// Sets the value, or says which text is not valid.
    pub(super) fn set(&self, settings: &mut Settings, raw: &Raw<'_>) -> Result<(), String> {
        self.slot.set(settings, raw)
    }
}

/// What our environment variables start with.
pub(super) const PREFIX: &str = "WELCOMED_";
