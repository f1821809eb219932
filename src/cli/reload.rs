//! SIGHUP: the configuration is read anew, checked as a whole, and taken into use, or not at all.
//!
//! Used by the signals' thread of `serve`. Counts its attempts for the side endpoint.

use super::logger;
use super::settings::SettingsArgs;
use super::systemd::Notifier;
use crate::config::{Settings, StuckAction, fit_connections};
use crate::endpoint::{Endpoint, SideEndpoint};
use crate::metrics::{Kind, Row, Samples, Value};
use crate::server::{self, Handle};
use crate::service::Delay;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

/// Everything that a reload changes, and what it needs to know.
pub(super) struct Reloader {
    /// Where the settings come from.
    pub(super) args: SettingsArgs,
    /// Those in force.
    pub(super) settings: Settings,
    pub(super) handle: Handle,
    pub(super) delay: Delay,
    pub(super) endpoint: Weak<SideEndpoint>,
    /// Whether the process ends when every worker is stuck.
    pub(super) abort: Arc<AtomicBool>,
    pub(super) open_files: u64,
    /// How many sockets the service has, its own or systemd's.
    pub(super) listeners: usize,
    pub(super) notifier: Notifier,
    pub(super) counts: Arc<Counts>,
}

impl Reloader {
    /// Reloads, and says in one line of the log what came of it.
    pub(super) fn reload(&mut self) {
        self.notifier.reloading();
        let outcome = self.apply();
        self.counts.attempted(outcome.is_ok());
        match outcome {
            Ok(()) => log::info!("the configuration was reloaded"),
            // One line, whatever is wrong.
            Err(problems) => log::error!(
                "the configuration was not reloaded, the old one stays: {}",
                problems.lines().collect::<Vec<_>>().join("; ")
            ),
        }
        // Refused or not, it is done.
        self.notifier.ready();
    }

    fn apply(&mut self) -> Result<(), String> {
        let Some(file) = self.args.file() else {
            return Err("the server was started without --config, there is no file to read".into());
        };
        // What was read from it at the start does not come again.
        if file.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            return Err(format!(
                "cannot read `{}` again: it is a pipe or a device",
                file.display()
            ));
        }
        let new = self.args.load().map_err(|failure| failure.to_string())?;
        if let Some(problem) = self.settings.needs_restart(&new) {
            return Err(problem);
        }
        let mut options = new.options();
        let explicit = new.max_connections_is_explicit();
        let (fitting, lowered) = fit_connections(
            options.max_connections,
            explicit,
            self.open_files,
            self.listeners,
            options.workers,
        )?;
        let places = self.handle.stats().queue_limit;
        if explicit && fitting > places {
            let place = new.place("limits.max_connections");
            return Err(format!(
                "{place}: {fitting} is more than the {places} that the server was started with, \
                 which needs a restart"
            ));
        }
        options.max_connections = fitting.min(places);
        self.handle.reload(options).map_err(|error| error.to_string())?;
        // From here on nothing fails.
        if fitting > places {
            log::warn!("limits.max_connections stays {places}: {fitting} need a restart");
        }
        for warning in new.warnings().iter().chain(&lowered) {
            log::warn!("{warning}");
        }
        logger::set(new.log_level, new.log_format);
        self.delay.set(new.work_delay);
        self.abort.store(new.stuck_action == StuckAction::Abort, Ordering::Relaxed);
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.reload(new.metrics_allow.clone(), new.to_toml(), &new.values());
        }
        self.settings = new;
        Ok(())
    }
}

/// The attempts to reload; the start counts as the first success.
#[derive(Debug)]
pub(super) struct Counts {
    attempts: AtomicU64,
    failures: AtomicU64,
    last_succeeded: AtomicBool,
    /// In milliseconds since 1970.
    succeeded_at: AtomicU64,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_succeeded: AtomicBool::new(true),
            succeeded_at: AtomicU64::new(unix_millis()),
        }
    }

    fn attempted(&self, succeeded: bool) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.last_succeeded.store(succeeded, Ordering::Relaxed);
        if succeeded {
            self.succeeded_at.store(unix_millis(), Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the side endpoint export them.
    pub(super) fn export(self: &Arc<Self>, endpoint: &Endpoint) -> Result<(), server::Error> {
        let counts = Arc::clone(self);
        endpoint.export(FAMILIES, move || Arc::clone(&counts))
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

const FAMILIES: &[Row<Arc<Counts>>] = &[
    Row {
        name: "config_last_reload_successful",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 if the last reload attempt succeeded.",
        read: |now| one(f64::from(u8::from(now.last_succeeded.load(Ordering::Relaxed)))),
    },
    Row {
        name: "config_last_reload_success_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Unix time of the last successful reload.",
        read: |now| one(now.succeeded_at.load(Ordering::Relaxed) as f64 / 1e3),
    },
    Row {
        name: "config_reloads_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Reload attempts.",
        read: |now| one(now.attempts.load(Ordering::Relaxed) as f64),
    },
    Row {
        name: "config_reload_failures_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Reload attempts that were refused; the old configuration stayed active.",
        read: |now| one(now.failures.load(Ordering::Relaxed) as f64),
    },
];

fn one(number: f64) -> Samples<'static> {
    vec![(Vec::new(), Value::Number(number))]
}
