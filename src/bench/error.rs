//! Why a load could not be put on a server at all. What happens to single messages is in
//! [`Errors`](super::Errors).

use super::{MAX_CONNECTIONS, MAX_IN_FLIGHT};
use std::io;
use std::net::SocketAddr;

/// Why a session could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The target is not this machine.
    #[error("{0} is not a loopback address; allowed are 127.0.0.0/8 and [::1]")]
    NotLoopback(SocketAddr),
    /// The number of connections is out of bounds.
    #[error("cannot open {0} connections; allowed are 1 to {MAX_CONNECTIONS}")]
    Connections(usize),
    /// The number of messages in flight is out of bounds.
    #[error("cannot keep {0} messages in flight; allowed are 1 to {MAX_IN_FLIGHT}")]
    InFlight(usize),
    /// A connection could not be made, or ended or stayed silent before its greeting.
    #[error("connection {nth} of {of} to {target}: {source}")]
    Connect {
        /// Which connection, from 1.
        nth: usize,
        /// How many were to be made.
        of: usize,
        /// The server.
        target: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The first line was not the greeting.
    #[error("connection {nth} of {of} to {target}: expected `Welcome!`, got {got:?}")]
    Greeting {
        /// Which connection, from 1.
        nth: usize,
        /// How many were to be made.
        of: usize,
        /// The server.
        target: SocketAddr,
        /// The line, or its beginning.
        got: String,
    },
    /// The system gave no epoll, or took it back.
    #[error("epoll: {0}")]
    Epoll(#[source] io::Error),
}
