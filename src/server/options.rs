//! The engine's numbers: every bound and every wait, with its default.
//!
//! Filled by the builder or by `config`; read by the engine's parts. The defaults stand here and
//! nowhere else.

use crate::protocol::Framing;
use std::thread;
use std::time::Duration;

/// What a [`Server`](super::Server) may use and how long it waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Threads that run the handler. Default: [`default_workers`].
    pub workers: usize,
    /// How messages are told apart. Default: [`Framing::Auto`].
    pub framing: Framing,
    /// Longest message in bytes, without its framing. Default: 64 KiB.
    pub max_message: usize,
    /// Clients at a time; more are refused. The connection table and the run queue have this
    /// size from the start. Default: 10,000.
    pub max_connections: usize,
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
    /// How long a drain waits for owed replies before it cuts what is left. Default: 30 s.
    pub drain_timeout: Duration,
    /// Length of the kernel's queue of connections not yet accepted. The kernel caps it at
    /// `net.core.somaxconn`. Default: 1,024.
    pub backlog: u32,
    /// What the threads' names start with (`work-03`, `accept`), for a process with two
    /// servers. At most 4 bytes are used. Default: none.
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
            max_pending_output: 1 << 20,
            idle_timeout: Duration::from_secs(300),
            message_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            linger_timeout: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(30),
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
        in_range("max_pending_output", self.max_pending_output, 1, usize::MAX)
    }
}

/// The largest connection table: ten million slots.
pub const MAX_CONNECTIONS: usize = 10_000_000;

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
