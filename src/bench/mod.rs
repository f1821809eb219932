//! The load generator: what to send ([`Load`]), the connections that send it ([`Session`]), and
//! what came of it ([`Report`]).
//!
//! One thread holds all connections in one epoll and speaks the hello protocol in lines: it reads
//! the greeting, sends names that never repeat, and compares every reply with the one that is
//! owed. A wrong or missing reply is counted, never passed over: a server that drops messages is
//! not a fast one.
//!
//! How fast to send and when to stop are values ([`Pace`], [`Stop`]), asked in one place each, so
//! that another way to load a server is another variant and not another loop.
//!
//! ```no_run
//! use welcomed::bench::{self, Load, Stop};
//!
//! let load = Load { connections: 64, ..Load::new("127.0.0.1:9999".parse()?) };
//! let report = bench::run(&load)?;
//! println!("{:.0} messages/s, p99 {:?}", report.throughput(), report.latency.quantile(0.99));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Called by the command line and by the comparison with other servers. Knows no server of ours:
//! it sees a socket.

mod error;
mod exchange;
mod report;
mod session;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use report::{Errors, Latency, Report};
pub use session::Session;

use std::net::SocketAddr;
use std::time::Duration;

/// The most connections a session may have: what the default range of local ports
/// (32,768 to 60,999) gives to one target.
pub const MAX_CONNECTIONS: usize = 28_000;

/// The most messages in flight on one connection.
pub const MAX_IN_FLIGHT: usize = 10_000;

/// What to send, to whom, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The server. Only a loopback address is accepted: this is a way to measure a server, and
    /// elsewhere it would be a way to flood one.
    pub target: SocketAddr,
    /// Connections, all opened before the first message. Default: 64.
    pub connections: usize,
    /// When a connection sends. Default: one message in flight.
    pub pace: Pace,
    /// What is sent before anything is measured. Default: 500 ms.
    pub warm_up: Stop,
    /// What is measured. Default: 5 s.
    pub measured: Stop,
    /// How long to wait for a connection, a greeting, or any reply at all. Default: 5 s.
    pub patience: Duration,
}

impl Load {
    /// The defaults, sent to `target`.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            connections: 64,
            pace: Pace::Closed { in_flight: 1 },
            warm_up: Stop::After(Duration::from_millis(500)),
            measured: Stop::After(Duration::from_secs(5)),
            patience: Duration::from_secs(5),
        }
    }
}

/// When a connection sends its next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pace {
    /// A closed loop: when a reply comes, the next message goes out, so that this many are always
    /// unanswered.
    Closed {
        /// Messages without a reply, per connection: 1 to [`MAX_IN_FLIGHT`].
        in_flight: usize,
    },
}

impl Pace {
    /// How many messages a connection with `unanswered` ones may send now.
    fn due(self, unanswered: usize) -> usize {
        match self {
            Self::Closed { in_flight } => in_flight.saturating_sub(unanswered),
        }
    }
}

/// When to stop sending. What is in flight then is still waited for and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// After this time.
    After(Duration),
    /// After this many messages, over all connections.
    Messages(u64),
}

impl Stop {
    /// How many more messages may be sent, after `sent` of them in `elapsed`.
    fn allows(self, elapsed: Duration, sent: u64) -> u64 {
        match self {
            Self::After(time) if elapsed < time => u64::MAX,
            Self::After(_) => 0,
            Self::Messages(count) => count.saturating_sub(sent),
        }
    }

    /// How long until time alone ends the sending, if it does.
    fn remaining(self, elapsed: Duration) -> Option<Duration> {
        match self {
            Self::After(time) => Some(time.saturating_sub(elapsed)),
            Self::Messages(_) => None,
        }
    }
}

/// Connects, warms up, measures.
///
/// # Errors
/// When the load is out of its bounds, when a connection cannot be made or is not greeted, or
/// when the system refuses an epoll. Anything that happens to a message after that is counted
/// in the report and is no error here.
pub fn run(load: &Load) -> Result<Report, Error> {
    let mut session = Session::connect(load)?;
    session.run(load.warm_up)?;
    session.run(load.measured)
}
