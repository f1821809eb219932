//! The engine: an accept loop, a run queue, a poller, and a fixed pool of workers.
//!
//! [`Server::builder`] makes a server, [`Server::run`] runs it on the calling thread, and a
//! [`Handle`] stops, resizes and observes it from others. The path of a socket:
//!
//! ```text
//!                     push                          pop
//! listener -> accept_loop ------> run_queue ------> worker 1..N -> turn -> service
//!             admission,            ^   ^             |  ^
//!             deadlines,            |   | unfinished  |  | wait, when the queue is empty
//!             lingering closes      |   +-------------+  |
//!                                   +------------------ poller (one epoll, edge-triggered)
//!                                     what else is ready
//! ```
//!
//! Who may touch a connection is decided in `schedule`, the one file to read twice; why one ends,
//! in `close`.

mod accept_loop;
mod address;
mod clock;
mod close;
mod connection;
mod crew;
mod deadlines;
mod doors;
mod drain;
mod due;
mod engine;
mod gate;
mod handle;
mod inbox;
mod input;
mod linger;
mod listener;
mod live;
mod network;
mod options;
mod panics;
mod per_ip;
mod poller;
mod pool;
mod run_queue;
mod schedule;
mod shedding;
mod sync;
mod table;
mod turn;
mod vacancy;
mod watchdog;
mod worker;

use crate::protocol::{Framing, ParseError};
use crate::service::{Refusal, Reply, Service};
use accept_loop::AcceptLoop;
use engine::Engine;
use std::io;
use std::sync::Arc;

pub use address::Address;
pub(crate) use crew::worker_name;
pub use handle::Handle;
pub(crate) use linger::{LINGERING, most_lingering};
pub use listener::{ListenError, Listener};
pub use network::Network;
pub use options::{MAX_CONNECTIONS, MAX_MESSAGE, MAX_WORKERS, Options, Overload, default_workers};
pub(crate) use panics::words as panic_words;

/// A server that listens and is ready to run.
#[must_use = "clients wait until it is run"]
pub struct Server {
    engine: Arc<Engine>,
    listeners: Vec<Listener>,
    on_stuck: Box<dyn Fn() + Send>,
}

/// Why a server could not be made or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A listening socket could not be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// An address does not parse, or an option is out of its range. Says which, and what is
    /// allowed.
    #[error("{0}")]
    Invalid(String),
    /// The system refused something the engine needs from the start: an epoll, an eventfd, a
    /// thread.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Connections that were cut off when the drain's time was over.
    pub cut: usize,
    /// Workers that did not come back from a handler's call. Their threads still exist.
    pub stuck: usize,
}

impl Report {
    /// Whether every reply that was owed was sent.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// Collects what a server needs; made by [`Server::builder`].
#[derive(Default)]
pub struct Builder {
    options: Options,
    listeners: Vec<Listener>,
    on_stuck: Option<Box<dyn Fn() + Send>>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { options, listeners, .. } = self;
        f.debug_struct("Builder").field("options", options).field("listeners", listeners).finish()
    }
}

impl Builder {
    /// Sets all options at once.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Sets the number of worker threads.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.options.workers = workers;
        self
    }

    /// Sets the framing.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.options.framing = framing;
        self
    }

    /// Binds an address (`127.0.0.1:9999`, `[::1]:0`, `unix:/path`) and listens on it, with the
    /// backlog of the options set before. May be called several times.
    ///
    /// # Errors
    ///
    /// The address does not parse or cannot be bound.
    pub fn listen(self, address: &str) -> Result<Self, Error> {
        let address =
            address.parse().map_err(|error: ParseError| Error::Invalid(error.to_string()))?;
        let listener = Listener::bind(&address, self.options.backlog)?;
        Ok(self.listener(listener))
    }

    /// Adds a socket that listens already.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Has `action` called when every worker has been in one call for longer than `stuck_after`:
    /// nothing is served any more, and nothing but the end of the process ends those calls. Runs on
    /// the accept loop, which it must not block; once each time that it comes to this.
    #[must_use]
    pub fn on_stuck(mut self, action: impl Fn() + Send + 'static) -> Self {
        self.on_stuck = Some(Box::new(action));
        self
    }

    /// Makes the server. Clients wait in the kernel's queue from the moment its addresses were
    /// bound until it runs.
    ///
    /// # Errors
    ///
    /// An option is out of its range, nothing is listened on, or the system has no descriptors.
    pub fn build(self, service: impl Service) -> Result<Server, Error> {
        self.options.validate().map_err(Error::Invalid)?;
        if self.listeners.is_empty() {
            return Err(Error::Invalid("a server needs at least one address to listen on".into()));
        }
        let engine = Engine::new(self.options, Box::new(service), self.listeners.len())?;
        let on_stuck = self.on_stuck.unwrap_or_else(|| Box::new(|| {}));
        Ok(Server { engine: Arc::new(engine), listeners: self.listeners, on_stuck })
    }
}

impl Server {
    /// Starts to describe a server.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A handle to stop, resize and observe the server from other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.engine), &self.listeners)
    }

    /// Serves until [`Handle::stop`]; then every message that has arrived is answered, and the
    /// call returns. Blocks; the accept loop runs on the calling thread.
    ///
    /// # Errors
    ///
    /// The system refused a descriptor or a thread at the start.
    ///
    /// # Panics
    ///
    /// If the kernel's epoll fails on descriptors of our own, or the service's
    /// [`refuse`](Service::refuse) panics at the start.
    pub fn run(self) -> Result<Report, Error> {
        Ok(self.start()?.run())
    }

    /// The first half of [`run`](Self::run), which may fail: starts the workers. So a program can
    /// say that it is ready, and be it.
    pub(crate) fn start(self) -> Result<Started, Error> {
        let mut words = Vec::new();
        let options = self.engine.options.get();
        let mut reply = Reply::new(&mut words, options.max_pending_output);
        self.engine.service.refuse(Refusal::Busy, &mut reply);
        words.extend_from_slice(options.framing.ending().bytes());
        let accept_loop = AcceptLoop::new(self.engine, self.listeners, words, self.on_stuck)?;
        Ok(Started(Some(accept_loop)))
    }
}

/// A server with its workers, of which nobody runs the accept loop yet. Its drop sends them home.
#[must_use = "it serves when it is run"]
pub(crate) struct Started(Option<AcceptLoop>);

impl Started {
    /// The second half of [`Server::run`].
    pub(crate) fn run(mut self) -> Report {
        // It is there until it is run.
        self.0
            .take()
            .map(AcceptLoop::run)
            .map_or_else(Report::default, |drain| Report { cut: drain.cut, stuck: drain.stuck })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(accept_loop) = self.0.take() {
            accept_loop.dismiss();
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}
