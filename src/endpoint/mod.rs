//! The side endpoint: metrics, health, readiness and a live page over HTTP, beside the service and
//! apart from it. It has a small engine of its own, so that it answers while the service's workers
//! are all busy or stuck: that is the point of it.

mod history;
mod http;
mod interval;
mod meters;
mod page;
mod policy;
mod routes;
mod status;
#[cfg(test)]
mod tests;

use self::history::Sampler;
use self::policy::Policy;
use crate::metrics::{collector, process_collector};
use crate::protocol::Framing;
use crate::server::{Address, Error, Handle, Listener, Network, Options, Server};
use prometheus::Registry;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use routes::{Endpoint, Readiness};

/// What the metrics' names start with.
const PREFIX: &str = "welcomed";

/// The endpoint's own engine: small, and impatient with a client that asks nothing.
fn options() -> Options {
    let patience = Duration::from_secs(5);
    Options {
        workers: 2,
        framing: Framing::Head,
        max_message: 8 << 10,
        max_connections: 64,
        idle_timeout: patience,
        message_timeout: patience,
        write_timeout: patience,
        drain_timeout: Duration::from_secs(1),
        thread_prefix: "http".to_owned(),
        connection_log: log::Level::Trace,
        ..Options::default()
    }
}

/// What the endpoint reports on. A `&Handle` is one too, without a configuration.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The server.
    pub handle: Handle,
    /// Its effective configuration, shown on the page as it is; leave secrets out. May be empty.
    pub config: String,
}

impl From<&Handle> for Observed {
    fn from(handle: &Handle) -> Self {
        Self { handle: handle.clone(), config: String::new() }
    }
}

/// A running side endpoint. Its drop stops it, which takes a moment, at most a little over a
/// second.
#[derive(Debug)]
#[must_use = "it stops when it is dropped"]
pub struct SideEndpoint {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    policy: Arc<Policy>,
    /// Keeps the history going; ends with this.
    _sampler: Option<Sampler>,
}

impl SideEndpoint {
    /// Serves the metrics of the server behind `observed`, and of this process, on `listener`,
    /// and the live page. The threads are its own; the call returns at once.
    ///
    /// # Errors
    ///
    /// The system has no more descriptors or threads.
    pub fn start(listener: Listener, observed: impl Into<Observed>) -> Result<Self, Error> {
        Self::serve(listener, endpoint(observed)?)
    }

    /// Serves an [`Endpoint`]: one that [`endpoint`] made, with a list of networks or more in its
    /// registry, or one of one's own.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); or its registry has metrics of the endpoint's names.
    pub fn serve(listener: Listener, endpoint: Endpoint) -> Result<Self, Error> {
        let (meters, policy) = (Arc::clone(&endpoint.meters), Arc::clone(&endpoint.policy));
        let registered = meters.collector(PREFIX).and_then(|it| endpoint.registry().register(it));
        registered.map_err(|error| Error::Invalid(error.to_string()))?;
        let history = endpoint.status().map(status::Status::history);
        if let Some(history) = &history {
            meters.set_history(Arc::clone(history));
        }
        let server = Server::builder().options(options()).listener(listener).build(endpoint)?;
        let handle = server.handle();
        meters.set_engine(handle.clone());
        let sampler = history.map(Sampler::start).transpose()?;
        let (begins, begun) = mpsc::channel();
        // Whom this is told waits for it below.
        let run = move || match server.start() {
            Ok(started) => {
                begins.send(Ok(())).ok();
                started.run();
            }
            Err(error) => drop(begins.send(Err(error))),
        };
        let thread = spawn("http-accept", run)?;
        let endpoint = Self { handle, thread: Some(thread), policy, _sampler: sampler };
        // Without a word it has panicked.
        begun.recv().map_err(io::Error::other)??;
        Ok(endpoint)
    }

    /// Takes a new configuration into use: the networks to [answer](Endpoint::allow), the text
    /// that the page shows, and what the [fingerprint](Endpoint::fingerprint) is of.
    pub fn reload(&self, allow: Vec<Network>, config: String, values: &str) {
        self.policy.set_allow(allow);
        self.policy.set_config(config);
        self.policy.set_fingerprint(values);
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        &self.handle.local_addrs()[0]
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| io::Error::new(error.kind(), format!("the thread {name}: {error}")))
}

impl Drop for SideEndpoint {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the side endpoint's accept loop panicked");
        }
    }
}

/// An endpoint with the metrics of the server behind `observed`, those of this process, the
/// server's readiness, and the live page.
///
/// # Errors
///
/// None with the names in use; a registry refuses two metrics of one name.
pub fn endpoint(observed: impl Into<Observed>) -> Result<Endpoint, Error> {
    let Observed { handle, config } = observed.into();
    let registry = Registry::new();
    let (stats, state) = (handle.clone(), handle.clone());
    for collector in [collector(PREFIX, move || stats.stats()), process_collector()] {
        let registered = collector.and_then(|collector| registry.register(collector));
        registered.map_err(|error| Error::Invalid(error.to_string()))?;
    }
    let endpoint = Endpoint::new(registry, move || readiness(&state));
    Ok(endpoint.with_page(move || handle.stats(), config))
}

fn readiness(server: &Handle) -> Readiness {
    if server.is_ready() {
        return Readiness::Ready;
    }
    let why = if server.is_stopping() {
        "draining".to_owned()
    } else if server.is_stuck() {
        let patience = server.options().stuck_after;
        format!("every worker has been in one call for longer than {patience:?}")
    } else {
        "starting".to_owned()
    };
    Readiness::NotReady(why)
}
