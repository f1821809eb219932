//! The load generator: what to send ([`Load`]), who sends it ([`run`], or a [`Session`]), and
//! what came of it ([`Report`]).
//!
//! A thread holds its connections in one epoll. It reads each greeting, sends messages, and
//! compares every reply with the one that is owed. A wrong or missing reply is counted, never
//! passed over: a server that drops messages is not a fast one.
//!
//! How fast to send, when to stop and what to say are values ([`Pace`], [`Stop`], [`Payload`]),
//! asked in one place each, so that another way to load a server is another variant and not
//! another loop:
//!
//! ```text
//!   pace: what is due when, on which connection
//!     |  ^ answered
//!     v  |
//!   session: one epoll, one loop ----> crew: threads, seconds added up ----> report
//!     |  ^
//!     v  |
//!   exchange: which reply is owed (words: what it is)
//! ```
//!
//! In an open loop ([`Pace::Open`]) a message's latency counts from when it was due. If the
//! server stalls, the messages that would have been sent meanwhile wait too, and their wait is in
//! the report; a closed loop sends nothing while it waits, and sees a stall once per connection.
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

mod alarm;
mod connection;
mod crew;
mod error;
mod exchange;
mod limits;
mod pace;
mod report;
mod session;
#[cfg(test)]
mod tests;
mod words;

pub use crate::protocol::Framing;
pub use crew::{Progress, run, watch};
pub use error::Error;
pub(crate) use limits::is_private;
pub use report::{Errors, Latency, Report, Second};
pub use session::Session;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The most connections from one address: what the default range of local ports
/// (32,768 to 60,999) gives to one target.
pub const MAX_CONNECTIONS_PER_SOURCE: usize = 28_000;

/// The most connections.
pub const MAX_CONNECTIONS: usize = 100_000;

/// The most messages in flight on one connection.
pub const MAX_IN_FLIGHT: usize = 10_000;

/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// The most threads.
pub const MAX_THREADS: usize = 256;

/// The longest that any of a load's times may be: 30 days.
pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The highest rate, in messages per second.
pub const MAX_RATE: f64 = 1e8;

/// What to send, to whom, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The server: a loopback or private address. This is a way to measure a server, and
    /// elsewhere it would be a way to flood one.
    pub target: SocketAddr,
    /// The target may be any address: whoever says so answers for that host. Default: false.
    pub any_target: bool,
    /// Where connections come from, in turn. Default: none, the system chooses. One address has
    /// room for [`MAX_CONNECTIONS_PER_SOURCE`]; without any, the load takes as many addresses of
    /// 127.0.0.0/8 as it needs if the target is there.
    pub sources: Vec<IpAddr>,
    /// Connections. Default: 64.
    pub connections: usize,
    /// Threads, each with its part of connections and rate. Default: 1.
    pub threads: usize,
    /// When messages are sent. Default: a closed loop with one message in flight.
    pub pace: Pace,
    /// How long it takes until all connections are open, or the full rate is reached; both grow
    /// linearly, from the first message on. Default: 0, all connections are open before that.
    pub ramp: Duration,
    /// What is sent. Default: 14 bytes.
    pub payload: Payload,
    /// What is owed for it. Default: hello's reply.
    pub expect: Expect,
    /// Whether the server speaks first: `Welcome!`, or any line with [`Expect::Any`]. Default:
    /// true.
    pub greeting: bool,
    /// How messages are told apart: `line`, or `raw` with one message in flight. Default: `line`.
    pub framing: Framing,
    /// How long messages are sent before anything is measured. Default: 500 ms.
    pub warm_up: Duration,
    /// What is measured. Default: 5 s.
    pub measured: Stop,
    /// How long to wait for a connection and its greeting, for a reply, or, in an open loop, for
    /// an idle connection. Default: 5 s.
    pub patience: Duration,
    /// What random arrivals come from: the same seed, the same times. Default: 1.
    pub seed: u64,
}

impl Load {
    /// The defaults, sent to `target`.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            any_target: false,
            sources: Vec::new(),
            connections: 64,
            threads: 1,
            pace: Pace::closed(1),
            ramp: Duration::ZERO,
            payload: Payload::Size(14),
            expect: Expect::Hello,
            greeting: true,
            framing: Framing::Line,
            warm_up: Duration::from_millis(500),
            measured: Stop::After(Duration::from_secs(5)),
            patience: Duration::from_secs(5),
            seed: 1,
        }
    }
}

/// When messages are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// A closed loop: when a reply comes, the next message goes out, so that this many are always
    /// unanswered. A slow server is asked less.
    Closed {
        /// Messages without a reply, per connection: 1 to [`MAX_IN_FLIGHT`].
        in_flight: usize,
        /// How long to wait between a reply and the next message.
        think: Duration,
    },
    /// An open loop: messages are due at their times, whatever the server does. Each takes a
    /// connection that waits for no reply; if there is none it waits for one, and that wait is
    /// part of its latency.
    Open {
        /// Messages per second, over all connections: more than 0, at most [`MAX_RATE`].
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
}

impl Pace {
    /// A closed loop with this many messages in flight on each connection.
    #[must_use]
    pub fn closed(in_flight: usize) -> Self {
        Self::Closed { in_flight, think: Duration::ZERO }
    }
}

/// How an open loop's messages are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Arrivals {
    /// Evenly.
    Constant,
    /// As independent users send: with exponential gaps.
    #[default]
    Poisson,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Messages of this many bytes, 1 to [`MAX_MESSAGE`]; from 14 on no two are the same.
    Size(usize),
    /// These messages in turn, without their ends; each connection begins at another one.
    Lines(Arc<[Vec<u8>]>),
}

/// What reply is owed for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expect {
    /// `Hello, <message>!`
    Hello,
    /// The message.
    Echo,
    /// Any one line, or in `raw` what one read returns.
    Any,
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
    /// This part of it.
    fn part(self, share: Share) -> Self {
        match self {
            Self::After(_) => self,
            Self::Messages(count) => Self::Messages(share.of_count(count)),
        }
    }
}

/// One thread's part of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    nth: usize,
    of: usize,
}

impl Share {
    /// The load of one thread.
    const WHOLE: Self = Self { nth: 0, of: 1 };

    /// How many of `count` things are this thread's; it has every `of`-th.
    fn of_count(self, count: u64) -> u64 {
        let (nth, of) = (self.nth as u64, self.of as u64);
        (count + of - 1 - nth) / of
    }
}
