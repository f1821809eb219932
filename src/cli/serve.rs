//! `welcomed serve`: settings, file limit, log, and then the server until a signal ends it.

use super::settings::SettingsArgs;
use super::{Failure, logger};
use crate::config::{Settings, fit_connections};
use crate::endpoint::{Observed, SideEndpoint, endpoint};
use crate::server::{Address, Handle, Listener, Network, Options, Server};
use crate::service::Service;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use std::sync::Arc;
use std::thread;

/// The endpoint's kernel queue: a few scrapers and probes.
const BACKLOG: u32 = 128;

/// Runs the server until SIGTERM or SIGINT
///
/// Settings come from the file, the environment and the flags, each stronger than the one before;
/// `welcomed check` shows what they amount to.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the service that the settings name, or the one given in its place.
pub(super) fn run(args: ServeArgs, own: Option<Arc<dyn Service>>) -> Result<(), Failure> {
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
    let service = own.unwrap_or_else(|| settings.build_service());
    serve(&settings, options, service)
}

/// Raises the soft limit of open files to the hard one, and returns what holds then: the soft
/// limit is low for the sake of programs that use `select`, which this one is not.
pub(super) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // Without a limit the kernel's own one holds, and that is far away.
    current.unwrap_or(u64::MAX)
}

/// Binds, serves, and drains when a signal says so.
fn serve(settings: &Settings, options: Options, service: Arc<dyn Service>) -> Result<(), Failure> {
    let mut builder = Server::builder();
    for address in &settings.listen {
        let listener = Listener::bind(address, options.backlog).map_err(Failure::usage)?;
        builder = builder.listener(listener);
    }
    let metrics = settings.metrics_listen.as_ref().map(|address| Listener::bind(address, BACKLOG));
    let metrics = metrics.transpose().map_err(Failure::usage)?;
    let workers = options.workers;
    let server = builder.options(options).build(service).map_err(Failure::usage)?;
    let handle = server.handle();
    for address in handle.local_addrs() {
        announce("service", address);
    }
    let start = |listener| {
        let observed = Observed { handle: handle.clone(), config: settings.to_toml() };
        let endpoint = endpoint(observed)?.allow(settings.metrics_allow.clone());
        SideEndpoint::serve(listener, endpoint.fingerprint(&settings.values()))
    };
    let endpoint = metrics.map(start).transpose().map_err(Failure::usage)?;
    if let Some(endpoint) = &endpoint {
        announce("metrics", endpoint.local_addr());
        warn_of_everyone(endpoint.local_addr(), &settings.metrics_allow);
    }
    let watch = handle.clone();
    stop_on_signals(handle)?;
    log::info!("{workers} workers");
    log::info!("Waiting for connection...");
    let report = server.run().map_err(Failure::usage)?;
    // The endpoint has answered until here.
    drop(endpoint);
    log::info!("stopped after {} messages", watch.stats().messages);
    if report.is_clean() {
        return Ok(());
    }
    Err(Failure::cut_off(format!(
        "the drain's time is over: {} connections cut off, {} workers still in a call",
        report.cut, report.stuck
    )))
}

/// The metrics tell about the service: they are for the operator.
fn warn_of_everyone(address: &Address, allow: &[Network]) {
    if let Address::Tcp(address) = address
        && !address.ip().is_loopback()
        && allow.is_empty()
    {
        log::warn!(
            "the metrics on {address} are for everyone who reaches it: set metrics.allow to the \
             networks that may"
        );
    }
}

/// One stable line per listener, in every log format and at every level: it tells a script which
/// port the kernel chose.
fn announce(what: &str, address: &Address) {
    eprintln!("listening {what}={address}");
}

/// The first SIGINT or SIGTERM begins the drain, the second ends the process.
fn stop_on_signals(handle: Handle) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::usage)?;
    let watch = move || {
        for signal in signals.forever() {
            let name = signal_name(signal).unwrap_or("signal");
            if handle.is_stopping() {
                log::warn!("{name} again: ending at once");
                std::process::exit(3);
            }
            log::info!("{name}: stopping, {} connections are open", handle.stats().open());
            handle.stop();
        }
    };
    let spawned = thread::Builder::new().name("signals".to_owned()).spawn(watch);
    spawned.map(drop).map_err(Failure::usage)
}
