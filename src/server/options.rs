//! The engine's numbers: every bound and every wait, with its default.
//!
//! Filled by the builder or by `config`; read by the engine's parts. The defaults stand here and
//! nowhere else.

use super::network::Network;
use crate::protocol::Framing;
use std::thread;
use std::time::Duration;

/// What a [`Server`](super::Server) may use and how long it waits.
///
/// While it runs, [`Handle::reload`](super::Handle::reload) changes all of it but `framing`,
/// `backlog` and `thread_prefix`.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Threads that run the handler. Default: [`default_workers`].
    pub workers: usize,
    /// How messages are told apart. Default: [`Framing::Auto`].
    pub framing: Framing,
    /// Longest message in bytes, without its framing. Default: 64 KiB.
    pub max_message: usize,
    /// Clients at a time; see `overload` for what becomes of more. The connection table and the
    /// run queue have this size from the start: a reload may lower it, and raise it again up to
    /// there. Default: 10,000.
    pub max_connections: usize,
    /// Clients at a time from one address, or from one /64 network of IPv6; more are refused.
    /// Connections from before a reload that sets it are not counted. Default: no limit.
    pub max_connections_per_ip: Option<usize>,
    /// Networks whose clients are let in; empty lets in everyone. Default: empty.
    pub allow: Vec<Network>,
    /// Networks whose clients are closed without a word, also if they are in `allow`. Default:
    /// empty.
    pub deny: Vec<Network>,
    /// What becomes of clients beyond `max_connections`. Default: [`Overload::Reject`].
    pub overload: Overload,
    /// Longest time that ready connections are left waiting for a worker: while the least wait
    /// of an interval is above half of it, those that have waited longer are told
    /// [`Busy`](crate::service::Refusal::Busy) and closed. The interval is 100 ms or four mean
    /// calls, whichever is longer. This is CoDel's rule: a queue that has been short for a moment
    /// absorbs a burst, one that has not is overloaded (Nichols and Jacobson, "Controlling Queue
    /// Delay", 2012). Default: no limit.
    pub max_queue_wait: Option<Duration>,
    /// Longest reply in bytes. A connection holds at most this and 64 KiB of unsent output;
    /// while it has any, nothing more is read from it. Default: 1 MiB.
    pub max_pending_output: usize,
    /// A connection without a message for this long is closed. Default: 5 minutes.
    pub idle_timeout: Duration,
    /// From a message's first byte to its last, however often bytes arrive. Default: 10 s.
    pub message_timeout: Duration,
    /// Unsent output that makes no progress for this long ends the connection. Default: 10 s.
    pub write_timeout: Duration,
    /// How long a closed connection's leftover input is read and thrown away, so that the
    /// kernel does not answer it with a reset that would cost the client its last replies.
    /// Default: 2 s, and at most 500 ms while draining.
    pub linger_timeout: Duration,
    /// A connection this old is closed when it has no reply to wait for; within 10 % of it, so
    /// that clients that came together do not all come back together. Default: never.
    pub max_age: Option<Duration>,
    /// A silent TCP connection is probed by the kernel after this time. Default: 1 minute.
    pub tcp_keepalive: Option<Duration>,
    /// The kernel gives a connection up when what was sent stays unacknowledged for this long
    /// (`TCP_USER_TIMEOUT`). Default: as the kernel thinks best, which is about 15 minutes.
    pub tcp_user_timeout: Option<Duration>,
    /// How long a server that is told to stop still accepts clients, while it says that it is not
    /// ready: time for a balancer to notice. Default: none.
    pub drain_delay: Duration,
    /// How long a drain waits for owed replies before it cuts what is left. Default: 30 s.
    pub drain_timeout: Duration,
    /// A worker that has been in one call for longer is reported as stuck. Default: 30 s.
    pub stuck_after: Duration,
    /// Length of the kernel's queue of connections not yet accepted. The kernel caps it at
    /// `net.core.somaxconn`. Default: 1,024.
    pub backlog: u32,
    /// What the workers' thread names start with (before `work-03`), for a process with two
    /// servers. Its first four ASCII characters are used. Default: none.
    pub thread_prefix: String,
    /// Level at which a connection's opening and closing is logged. Default: debug.
    pub connection_log: log::Level,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: default_workers(),
            framing: Framing::default(),
            max_message: 64 << 10,
            max_connections: 10_000,
            max_connections_per_ip: None,
            allow: Vec::new(),
            deny: Vec::new(),
            overload: Overload::default(),
            max_queue_wait: None,
            max_pending_output: 1 << 20,
            idle_timeout: Duration::from_secs(300),
            message_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            linger_timeout: Duration::from_secs(2),
            max_age: None,
            tcp_keepalive: Some(Duration::from_secs(60)),
            tcp_user_timeout: None,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            stuck_after: Duration::from_secs(30),
            backlog: 1024,
            thread_prefix: String::new(),
            connection_log: log::Level::Debug,
        }
    }
}

impl Options {
    /// Checks every number against its range.
    ///
    /// # Errors
    ///
    /// The first that is out of it, with what is allowed.
    pub fn validate(&self) -> Result<(), String> {
        let in_range = |name: &str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(format!("{name} = {value} is out of range; allowed are {least} to {most}"))
        };
        in_range("workers", self.workers, 1, MAX_WORKERS)?;
        in_range("max_connections", self.max_connections, 1, MAX_CONNECTIONS)?;
        in_range("max_message", self.max_message, 1, MAX_MESSAGE)?;
        in_range("max_pending_output", self.max_pending_output, 1, usize::MAX)?;
        let per_ip = self.max_connections_per_ip.unwrap_or(MAX_CONNECTIONS);
        in_range("max_connections_per_ip", per_ip, 1, MAX_CONNECTIONS)
    }

    /// Checks whether a running server whose table has room for `places` connections can change
    /// to `new`.
    pub(super) fn allows(&self, new: &Self, places: usize) -> Result<(), String> {
        new.validate()?;
        for (name, same) in [
            ("framing", self.framing == new.framing),
            ("backlog", self.backlog == new.backlog),
            ("thread_prefix", self.thread_prefix == new.thread_prefix),
        ] {
            if !same {
                return Err(format!("{name} cannot change while the server runs"));
            }
        }
        if new.max_connections > places {
            return Err(format!(
                "max_connections = {} is more than the server was started with; until a restart \
                 at most {places} are allowed",
                new.max_connections
            ));
        }
        Ok(())
    }
}

/// What becomes of clients beyond `max_connections`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Overload {
    /// They are told so ([`Refusal::Busy`](crate::service::Refusal::Busy)) and closed: a client
    /// knows at once, and can go elsewhere.
    #[default]
    Reject,
    /// They wait in the kernel's queue until a place is free: nobody is refused while the queue
    /// has room, and nobody knows how long it will take.
    Wait,
}

impl Overload {
    /// The names that a configuration knows.
    pub const NAMED: &'static [(&'static str, Self)] =
        &[("reject", Self::Reject), ("wait", Self::Wait)];
}

/// The largest connection table: a million slots, as large as it was measured.
pub const MAX_CONNECTIONS: usize = 1_000_000;

/// The longest message that may be allowed: 1 GiB.
pub const MAX_MESSAGE: usize = 1 << 30;

/// The most workers a pool may have.
pub const MAX_WORKERS: usize = 4096;

/// The pool's size when nobody chose one: twice the cores, at least 4. A start, not an advice:
/// what the handler needs depends on how long it blocks.
#[must_use]
pub fn default_workers() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (2 * cores).clamp(4, MAX_WORKERS)
}
