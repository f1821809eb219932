//! Settings: from a file, the environment and flags to the typed options of each part.
//!
//! Owns the table of keys, where each value came from, and every message about a wrong one.
//! Called by the command line, which hands in the file's text, the environment and the flags;
//! reads nothing itself, so a load is a pure function of its inputs and a reload is a second one.
//! The only place that knows TOML.
//!
//! A new setting is one entry in `table.rs`, beside the field of [`Settings`] (or of
//! [`server::Options`](crate::server::Options)) that it fills.

mod budget;
mod file;
mod hint;
mod keys;
mod kind;
mod load;
mod names;
mod rules;
mod table;
mod value;

use crate::server::{Address, Network, Options};
use crate::service::{Delay, Delayed, Discard, Echo, Hello, Service};
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use budget::fit_connections;
pub use keys::Key;
pub use load::{ConfigError, File, load};
pub use names::{LogFormat, ServiceKind, StuckAction};
pub use table::KEYS;

/// Everything that can be set, valid as a whole, with where each value came from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `server.listen`: where clients connect; never empty.
    pub listen: Vec<Address>,
    /// `server.socket_mode`: the rights of Unix sockets' files; `None` is `auto`, as the umask
    /// says.
    pub socket_mode: Option<u32>,
    /// `metrics.listen`: where the side endpoint listens; `None` is `off`.
    pub metrics_listen: Option<Address>,
    /// `metrics.allow`: whom the side endpoint answers; empty is everyone.
    pub metrics_allow: Vec<Network>,
    /// `pool.workers`: `None` is `auto`, the engine's own choice.
    pub workers: Option<NonZeroUsize>,
    /// `service.kind`: what is done with a message.
    pub service: ServiceKind,
    /// `service.work_delay`: how long each message blocks its worker.
    pub work_delay: Duration,
    /// `pool.stuck_action`: what is done when every worker is stuck.
    pub stuck_action: StuckAction,
    /// `log.level`: the least severe level that is written.
    pub log_level: log::LevelFilter,
    /// `log.format`: how a line looks.
    pub log_format: LogFormat,
    /// Keys that are the engine's own options. `workers` in it is not used: see [`options`].
    ///
    /// [`options`]: Settings::options
    engine: Options,
    /// Where a key's value came from; a key that is not here has its default.
    origins: BTreeMap<&'static str, Origin>,
    warnings: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let local = |port| Address::Tcp((Ipv4Addr::LOCALHOST, port).into());
        Self {
            listen: vec![local(9999)],
            socket_mode: None,
            metrics_listen: Some(local(9998)),
            metrics_allow: Vec::new(),
            workers: None,
            service: ServiceKind::Hello,
            work_delay: Duration::ZERO,
            stuck_action: StuckAction::Report,
            log_level: log::LevelFilter::Info,
            log_format: LogFormat::Text,
            engine: Options::default(),
            origins: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }
}

impl Settings {
    /// The engine's options.
    #[must_use]
    pub fn options(&self) -> Options {
        let mut options = self.engine.clone();
        if let Some(workers) = self.workers {
            options.workers = workers.get();
        }
        options
    }

    /// The chosen service, and its delay, which a reload changes.
    #[must_use]
    pub fn build_service(&self) -> (Arc<dyn Service>, Delay) {
        let delay = Delay::from(self.work_delay);
        let waits = delay.clone();
        let service: Arc<dyn Service> = match self.service {
            ServiceKind::Hello => Arc::new(Delayed::new(Hello, waits)),
            ServiceKind::Echo => Arc::new(Delayed::new(Echo, waits)),
            ServiceKind::Discard => Arc::new(Delayed::new(Discard, waits)),
        };
        (service, delay)
    }

    /// What a message about the setting of this path starts with: where its value came from.
    #[must_use]
    pub(crate) fn place(&self, path: &str) -> String {
        load::place(path, self.origin_of(path))
    }

    /// The first setting that differs in `new` and cannot change while the server runs, and what
    /// is wrong, in a sentence for the operator.
    #[must_use]
    pub(crate) fn needs_restart(&self, new: &Self) -> Option<String> {
        let key = KEYS.iter().find(|key| !key.live && key.value(self) != key.value(new))?;
        let place = new.place(key.path);
        let [old, new] = [self, new].map(|settings| key.value(settings).toml());
        Some(format!("{place}: changing {old} to {new} needs a restart"))
    }

    /// Whether somebody chose `limits.max_connections`: what was chosen is kept or refused, the
    /// default may be lowered to what the file limit allows.
    #[must_use]
    pub(crate) fn max_connections_is_explicit(&self) -> bool {
        *self.origin_of("limits.max_connections") != Origin::Default
    }

    /// Where the value of `key` came from.
    #[must_use]
    pub fn origin(&self, key: &Key) -> &Origin {
        self.origin_of(key.path)
    }

    fn origin_of(&self, path: &str) -> &Origin {
        self.origins.get(path).unwrap_or(&Origin::Default)
    }

    /// What is odd but no error, a sentence each: environment variables that look like ours.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All settings as a TOML file, without where they came from: the same for the same settings.
    #[must_use]
    pub fn values(&self) -> String {
        Self { origins: BTreeMap::new(), ..self.clone() }.to_toml()
    }

    /// All settings as a TOML file. A comment behind a value says where it came from, unless it
    /// is the default. Loading the text gives the same settings.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            if key.section() != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = key.section();
                text += &format!("{gap}[{section}]\n");
            }
            text += &format!("{} = {}", key.name(), key.value(self).toml());
            match self.origin(key) {
                Origin::Default => text.push('\n'),
                origin => text += &format!("  # {origin}\n"),
            }
        }
        text
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody chose it.
    Default,
    /// A line of the file.
    File {
        /// The file's name as it was given, on one line.
        name: Arc<str>,
        /// Counted from 1.
        line: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name, without its dashes.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

#[cfg(test)]
mod tests;
