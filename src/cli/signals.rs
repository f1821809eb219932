//! What `serve` does at a signal: stop, reload, say how it is.
//!
//! One thread waits for all of them. SIGPIPE needs nobody: Rust's runtime ignores it, and writes
//! to a client that is gone fail instead.

use super::reload::Reloader;
use super::systemd::Notifier;
use super::{Failure, logger};
use crate::metrics::blocked_signals;
use crate::server::{Handle, worker_name};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use std::thread;

const SIGNALS: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];

/// From here on no signal is lost, nor does one end the process by itself.
pub(super) fn catch() -> Result<Signals, Failure> {
    Signals::new(SIGNALS).map_err(Failure::usage)
}

/// Whoever started this program may have left signals blocked, which is inherited: they never come.
fn warn_of_blocked() {
    let blocked = blocked_signals();
    for signal in SIGNALS {
        if blocked & (1 << (signal - 1)) != 0 {
            let name = signal_name(signal).unwrap_or("signal");
            log::warn!("{name} is blocked by whoever started this program, and has no effect");
        }
    }
}

/// Starts the thread that sees to them.
pub(super) fn watch(mut signals: Signals, mut reloader: Reloader) -> Result<(), Failure> {
    warn_of_blocked();
    let watch = move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => reloader.reload(),
                SIGUSR1 => report(&reloader.handle),
                _ => stop(signal, &reloader.handle, reloader.notifier),
            }
        }
    };
    let spawned = thread::Builder::new().name("signals".to_owned()).spawn(watch);
    spawned.map(drop).map_err(|error| Failure::no_thread("the signals'", &error))
}

/// The first SIGINT or SIGTERM begins the drain, the second ends the process.
fn stop(signal: i32, handle: &Handle, notifier: Notifier) {
    let name = signal_name(signal).unwrap_or("signal");
    if handle.is_stopping() {
        log::warn!("{name} again: ending at once");
        logger::flush_quickly();
        std::process::exit(3);
    }
    log::info!("{name}: stopping, {} connections are open", handle.stats().open());
    notifier.stopping();
    handle.stop();
}

/// Writes the totals to the log, and what every worker does.
fn report(handle: &Handle) {
    let now = handle.stats();
    let sum = |counts: &[(&str, u64)]| counts.iter().map(|(_, count)| count).sum::<u64>();
    let accepted: u64 = now.accepted.iter().map(|listener| listener.accepted).sum();
    log::info!(
        workers = now.workers, busy = now.workers_busy, overdue = now.workers_overdue,
        parked = now.parked, queued = now.queued, active = now.active, closing = now.closing;
        "state: {}", if now.ready { "ready" } else { "not ready" }
    );
    log::info!(
        accepted, rejected = sum(&now.rejected), closed = sum(&now.closed),
        messages = now.messages, errors = sum(&now.message_errors),
        panics = now.handler_panics, turns = now.worker_turns;
        "totals since the start"
    );
    let places = now.worker_turns_now.iter().enumerate();
    for (place, turn) in places.filter_map(|(place, turn)| Some((place, (*turn)?))) {
        let worker = worker_name(place);
        log::info!(worker, id = turn.connection, duration:? = turn.running; "a worker is busy");
    }
    let idle = now.workers.saturating_sub(now.workers_busy);
    log::info!(workers = idle; "the other workers are idle");
}
