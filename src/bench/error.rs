//! Why a load could not be put on a server at all. What happens to single messages is in
//! [`Errors`].

use super::{
    Errors, LONGEST, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_SOURCE, MAX_IN_FLIGHT, MAX_MESSAGE,
    MAX_RATE, MAX_THREADS,
};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Why a load could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The target may belong to somebody else.
    #[error(
        "{0} is not a loopback or private address; allowed are 127.0.0.0/8, 10.0.0.0/8, \
         172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, ::1, fc00::/7 and fe80::/10"
    )]
    Foreign(IpAddr),
    /// The number of connections is out of bounds.
    #[error("cannot open {0} connections; allowed are 1 to {MAX_CONNECTIONS}")]
    Connections(usize),
    /// The number of threads is out of bounds.
    #[error("{0} threads for {1} connections; allowed are 1 to {MAX_THREADS}, one a connection")]
    Threads(usize, usize),
    /// The number of messages in flight is out of bounds.
    #[error("cannot keep {0} messages in flight; allowed are 1 to {MAX_IN_FLIGHT}")]
    InFlight(usize),
    /// More than one message in flight, where nothing tells two apart.
    #[error("in `raw` nothing tells two messages apart; allowed is one message in flight")]
    Raw,
    /// The rate is out of bounds.
    #[error("cannot send {0} messages per second; allowed are more than 0, up to {MAX_RATE}")]
    Rate(f64),
    /// One of the times is too long, or patience is nothing.
    #[error("{0} of {1:?}; allowed are at most {LONGEST:?}, and a timeout of more than 0s")]
    Time(&'static str, Duration),
    /// The size of messages is out of bounds.
    #[error("cannot send messages of {0} bytes; allowed are 1 to {MAX_MESSAGE}")]
    Size(usize),
    /// An empty list of messages.
    #[error("there are no messages to send")]
    NoMessages,
    /// One of the messages cannot be sent.
    #[error("message {number}: {problem}")]
    Message {
        /// Which one, from 1.
        number: usize,
        /// Why not.
        problem: &'static str,
    },
    /// A source that cannot reach the target.
    #[error("there is no way from {0} to {1}: one is IPv4, the other IPv6")]
    Family(IpAddr, SocketAddr),
    /// More connections than local ports.
    #[error(
        "{connections} connections need {needed} source addresses, {given} are given; one has \
         local ports for {MAX_CONNECTIONS_PER_SOURCE}"
    )]
    Sources {
        /// How many were to be made.
        connections: usize,
        /// How many addresses that takes.
        needed: usize,
        /// How many there are.
        given: usize,
    },
    /// Not one connection was made and greeted.
    #[error("none of {connections} connections to {target} was made: {errors}")]
    NotConnected {
        /// How many were to be made.
        connections: usize,
        /// The server.
        target: SocketAddr,
        /// What went wrong with them.
        errors: Box<Errors>,
    },
    /// The system gave no epoll, or took it back.
    #[error("epoll: {0}")]
    Epoll(#[source] io::Error),
    /// The system gave no thread.
    #[error("start a thread: {0}")]
    Thread(#[source] io::Error),
}
