//! What systemd says to a service and hears from it: the sockets that it passes at the start, and
//! the notifications that it waits for.
//!
//! Used by `serve`. Without systemd there are no sockets, and nothing is said. Together with
//! `notifier` the only place that knows `listenfd` and `sd_notify`.

mod notifier;

use super::Failure;
use crate::server::Listener;
use listenfd::ListenFd;
use std::ffi::OsString;
use std::{env, process};

pub(super) use notifier::Notifier;

/// A socket of one of these names is the side endpoint's: what FileDescriptorName= may say, and
/// what systemd calls it by itself.
const METRICS: [&str; 2] = ["metrics", "welcomed-metrics.socket"];

/// The first descriptor that is passed.
const FIRST: usize = 3;

/// The sockets that were passed to this process.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// For clients, in the order in which they were passed; none: `server.listen` holds.
    pub(super) service: Vec<Listener>,
    /// For the side endpoint; none: `metrics.listen` holds.
    pub(super) metrics: Option<Listener>,
}

impl Sockets {
    /// Takes the sockets that `LISTEN_FDS` counts. Called once, before there are other threads:
    /// the variables are removed from the environment.
    pub(super) fn take() -> Result<Self, Failure> {
        check_count()?;
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::default();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let descriptor = FIRST + index;
            let wrong = |why: String| {
                Failure::usage(format!(
                    "cannot use descriptor {descriptor} (`{name}`) that was passed to this \
                     process: {why}; allowed are TCP and Unix stream sockets that listen"
                ))
            };
            let listener = take(&mut passed, index).map_err(wrong)?;
            if !METRICS.contains(&name) {
                sockets.service.push(listener);
            } else if sockets.metrics.replace(listener).is_some() {
                return Err(Failure::usage(format!(
                    "descriptor {descriptor} (`{name}`) that was passed to this process is a \
                     second socket for the metrics; allowed is one"
                )));
            }
        }
        Ok(sockets)
    }

    /// Says in the log what takes the place of what is configured.
    pub(super) fn log(&self) {
        for listener in &self.service {
            log::info!("{} was passed to us and replaces server.listen", listener.local_addr());
        }
        if let Some(listener) = &self.metrics {
            log::info!("{} was passed to us and replaces metrics.listen", listener.local_addr());
        }
    }
}

/// Whoever passes sockets and does not say how many gets no server that listens elsewhere.
fn check_count() -> Result<(), Failure> {
    let Some(count) = env::var_os("LISTEN_FDS") else {
        return Ok(());
    };
    let for_others = |pid: OsString| *pid != *process::id().to_string();
    if env::var_os("LISTEN_PID").is_some_and(for_others) {
        return Ok(());
    }
    let count = count.to_string_lossy();
    count.parse::<u16>().map(drop).map_err(|_| {
        Failure::usage(format!(
            "LISTEN_FDS is `{count}`; allowed is the number of sockets that were passed to this \
             process"
        ))
    })
}

fn take(passed: &mut ListenFd, index: usize) -> Result<Listener, String> {
    // The crate looks at the descriptor's family and type before it believes a name for them.
    let tcp = passed.take_tcp_listener(index).ok().flatten().map(Listener::inherit);
    let unix = || passed.take_unix_listener(index).ok().flatten().map(Listener::inherit);
    match tcp.or_else(unix) {
        Some(listener) => listener.map_err(|error| error.to_string()),
        None => Err("it is something else".to_owned()),
    }
}
