//! `welcomed serve`: settings, file limit, log, and then the server until a signal ends it.

use super::reload::{Counts, Reloader};
use super::settings::SettingsArgs;
use super::systemd::{Notifier, Sockets};
use super::{Failure, logger, signals};
use crate::config::{Settings, StuckAction, fit_connections};
use crate::endpoint::{Observed, SideEndpoint, endpoint};
use crate::server::{self, Address, Builder, Handle, Listener, Network, Options, Report, Server};
use crate::service::Service;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The endpoint's kernel queue: a few scrapers and probes.
const BACKLOG: u32 = 128;

/// Runs the server until SIGTERM or SIGINT
///
/// Settings come from the file, the environment and the flags, each stronger than the one before;
/// `welcomed check` shows what they amount to.
///
/// Sockets that systemd passes (LISTEN_FDS) replace `server.listen`, one of the name `metrics`
/// replaces `metrics.listen`. Where systemd listens (NOTIFY_SOCKET) it is told when the server is
/// ready and when it stops, how the pool does, and that clients are still accepted (WATCHDOG_USEC).
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the service that the settings name, or the one given in its place.
pub(super) fn run(args: ServeArgs, own: Option<Arc<dyn Service>>) -> Result<(), Failure> {
    let args = args.settings;
    let settings = args.load()?;
    let sockets = Sockets::take()?;
    let mut options = settings.options();
    let open_files = raise_open_files();
    let (max_connections, lowered) = fit_connections(
        options.max_connections,
        settings.max_connections_is_explicit(),
        open_files,
        settings.listen.len().max(sockets.service.len()),
        options.workers,
    )
    .map_err(Failure::usage)?;
    options.max_connections = max_connections;

    logger::init(settings.log_level, settings.log_format)
        .map_err(|error| Failure::no_thread("the log's", &error))?;
    for warning in settings.warnings().iter().chain(&lowered) {
        log::warn!("{warning}");
    }
    sockets.log();
    serve(Start { args, settings, options, open_files, sockets }, own)
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

/// What is known before anything listens.
struct Start {
    args: SettingsArgs,
    settings: Settings,
    options: Options,
    /// The limit of open files.
    open_files: u64,
    sockets: Sockets,
}

/// Binds, serves, and drains when a signal says so.
fn serve(start: Start, own: Option<Arc<dyn Service>>) -> Result<(), Failure> {
    let Start { args, settings, options, open_files, sockets } = start;
    // Before anybody can know that there is a server to send one to.
    let signals = signals::catch()?;
    let bind = |address, backlog| {
        Listener::bind_with_mode(address, backlog, settings.socket_mode).map_err(Failure::usage)
    };
    let mut listeners = sockets.service;
    if listeners.is_empty() {
        let bound = settings.listen.iter().map(|address| bind(address, options.backlog));
        listeners = bound.collect::<Result<_, _>>()?;
    }
    let metrics = match (sockets.metrics, &settings.metrics_listen) {
        (None, Some(address)) => Some(bind(address, BACKLOG)?),
        (passed, _) => passed,
    };
    let (service, delay) = settings.build_service();
    let abort = Arc::new(AtomicBool::new(settings.stuck_action == StuckAction::Abort));
    let builder = Server::builder().on_stuck(abort_if(&abort));
    let builder = listeners.into_iter().fold(builder, Builder::listener);
    let workers = options.workers;
    let service = own.unwrap_or(service);
    let server = builder.options(options).build(service).map_err(Failure::usage)?;
    let handle = server.handle();
    for address in handle.local_addrs() {
        announce("service", address);
    }
    let counts = Arc::new(Counts::new());
    let observe = |listener| observe(listener, &handle, &settings, &counts);
    let endpoint = metrics.map(observe).transpose().map_err(Failure::usage)?;
    let notifier = Notifier::from_env();
    let reloader = Reloader {
        args,
        settings,
        handle: handle.clone(),
        delay,
        endpoint: endpoint.as_ref().map(Arc::downgrade).unwrap_or_default(),
        abort,
        open_files,
        listeners: handle.local_addrs().len(),
        counts,
        notifier,
    };
    let server = server.start().map_err(Failure::usage)?;
    signals::watch(signals, reloader)?;
    notifier.watch(handle.clone()).map_err(|error| Failure::no_thread("systemd's", &error))?;
    log::info!("{workers} workers");
    log::info!("Waiting for connection...");
    notifier.ready();
    let report = server.run();
    // The endpoint has answered until here.
    drop(endpoint);
    log::info!("stopped after {} messages", handle.stats().messages);
    verdict(report)
}

/// Starts the side endpoint, and says where it is.
fn observe(
    listener: Listener,
    handle: &Handle,
    settings: &Settings,
    counts: &Arc<Counts>,
) -> Result<Arc<SideEndpoint>, server::Error> {
    let observed = Observed { handle: handle.clone(), config: settings.to_toml() };
    let endpoint = endpoint(observed)?.allow(settings.metrics_allow.clone());
    counts.export(&endpoint)?;
    logger::export(&endpoint)?;
    let endpoint = SideEndpoint::serve(listener, endpoint.fingerprint(&settings.values()))?;
    announce("metrics", endpoint.local_addr());
    warn_of_everyone(endpoint.local_addr(), &settings.metrics_allow);
    Ok(Arc::new(endpoint))
}

/// What is done when every worker is stuck.
fn abort_if(wanted: &Arc<AtomicBool>) -> impl Fn() + Send + 'static {
    let wanted = Arc::clone(wanted);
    move || {
        if wanted.load(Ordering::Relaxed) {
            log::error!("pool.stuck_action is `abort`: the process ends");
            logger::flush_quickly();
            std::process::abort();
        }
    }
}

fn verdict(report: Report) -> Result<(), Failure> {
    if report.is_clean() {
        return Ok(());
    }
    let message = format!(
        "the drain's time is over: {} connections cut off, {} workers still in a call",
        report.cut, report.stuck
    );
    log::error!(cut = report.cut, stuck = report.stuck; "the drain's time is over");
    Err(Failure::cut_off(message))
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
    logger::say_now(&format!("listening {what}={address}"));
}
