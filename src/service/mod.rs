//! What a server does with a message: the [`Service`] trait and what it is given.
//!
//! Owns the contract between the engine and a handler. Called by the engine's workers; knows no
//! socket, no framing and no thread.

mod delay;
mod discard;
mod echo;
mod hello;
mod reply;

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

pub use delay::{Delay, Delayed};
pub use discard::Discard;
pub use echo::Echo;
pub use hello::Hello;
pub use reply::Reply;

/// A handler of messages.
///
/// One value serves all connections from all workers at once, so whatever it shares must be
/// `Sync`; what belongs to one connection lives in [`Context::state`]. A call **may block**: it
/// holds one worker for as long as it takes, and nothing else. A panic is caught: it costs the
/// connection (the client reads `Internal error.`), never the worker.
///
/// ```
/// use welcomed::service::{Context, Flow, Reply, Service, ServiceError};
///
/// struct Uppercase;
///
/// impl Service for Uppercase {
///     fn call(
///         &self,
///         _ctx: &mut Context<'_>,
///         message: &[u8],
///         reply: &mut Reply<'_>,
///     ) -> Result<Flow, ServiceError> {
///         reply.push(&message.to_ascii_uppercase());
///         Ok(Flow::Continue)
///     }
/// }
/// ```
pub trait Service: Send + Sync + 'static {
    /// Answers one message. `message` is without its framing, and the engine ends the reply as
    /// the framing says.
    ///
    /// # Errors
    ///
    /// An error ends the connection: the client reads [`Refusal::Internal`], what was written to
    /// `reply` is dropped, the log has the error's text, and it is counted as `handler`.
    fn call(
        &self,
        ctx: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError>;

    /// Speaks first on a new connection. By default it says nothing.
    ///
    /// # Errors
    ///
    /// As [`call`](Service::call).
    fn greet(&self, _ctx: &mut Context<'_>, _reply: &mut Reply<'_>) -> Result<Flow, ServiceError> {
        Ok(Flow::Silent)
    }

    /// Writes the last words to a client that the engine turns away or cuts off. By default the
    /// text of `refusal`; a protocol with errors of its own overrides it. Must not block: it
    /// is called once at start, for the [`Refusal::Busy`] of clients that are not admitted, and by
    /// workers, for that too if `max_queue_wait` is set.
    fn refuse(&self, refusal: Refusal, reply: &mut Reply<'_>) {
        reply.push(refusal.to_string().as_bytes());
    }
}

impl<S: Service + ?Sized> Service for Arc<S> {
    fn call(
        &self,
        ctx: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        (**self).call(ctx, message, reply)
    }

    fn greet(&self, ctx: &mut Context<'_>, reply: &mut Reply<'_>) -> Result<Flow, ServiceError> {
        (**self).greet(ctx, reply)
    }

    fn refuse(&self, refusal: Refusal, reply: &mut Reply<'_>) {
        (**self).refuse(refusal, reply);
    }
}

/// What the engine does after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flow {
    /// Send the reply, even an empty one, and go on with the next message.
    Continue,
    /// Send nothing and go on; what was written to the reply is dropped.
    Silent,
    /// Close once everything owed is sent: the earlier replies, and this one if anything was
    /// written to it.
    Close,
}

/// Why the engine itself answers a client. Its `Display` is the sentence the client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// No place is free, its address has too many, or it has waited too long for a worker:
    /// `Busy, try again later.`
    Busy,
    /// A message is longer than `limit` bytes: `Message too long (limit N bytes).`
    TooLong {
        /// The longest message allowed, in bytes.
        limit: usize,
    },
    /// The handler failed or panicked: `Internal error.`
    Internal,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => write!(f, "Busy, try again later."),
            Self::TooLong { limit } => write!(f, "Message too long (limit {limit} bytes)."),
            Self::Internal => write!(f, "Internal error."),
        }
    }
}

/// A handler's failure: any error, or a text.
///
/// It does not implement [`std::error::Error`] itself, so that `?` turns every error into one.
#[derive(Debug)]
pub struct ServiceError(Box<dyn std::error::Error + Send + Sync>);

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for ServiceError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// A client over TCP, with its address.
    Tcp(SocketAddr),
    /// A client over a Unix socket; it has no address.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => write!(f, "unix"),
        }
    }
}

/// The connection that a call belongs to.
#[derive(Debug)]
pub struct Context<'a> {
    id: u64,
    peer: Peer,
    stopping: bool,
    state: &'a mut Option<Box<dyn Any + Send>>,
}

impl<'a> Context<'a> {
    /// A context as the engine makes it; public so that a service can be tested without a server.
    #[must_use]
    pub fn new(
        id: u64,
        peer: Peer,
        stopping: bool,
        state: &'a mut Option<Box<dyn Any + Send>>,
    ) -> Self {
        Self { id, peer, stopping, state }
    }

    /// The connection's number, unique in this server's life; it stands in the log.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The client.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether this turn began in a drain: a long call may then choose to be short.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping
    }

    /// The connection's own state, made at its first use. It costs memory only then, and lives
    /// as long as the connection.
    ///
    /// A service uses one type here; asked for another, the state starts anew.
    pub fn state<T: Default + Send + 'static>(&mut self) -> &mut T {
        if !self.state.as_ref().is_some_and(|state| state.is::<T>()) {
            *self.state = Some(Box::<T>::default());
        }
        match self.state.as_mut().and_then(|state| state.downcast_mut()) {
            Some(state) => state,
            None => unreachable!("the state was just made with this type"),
        }
    }
}
