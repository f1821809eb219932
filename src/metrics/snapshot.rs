//! One reading of everything a server counts.
//!
//! Made by `server` from its workers' blocks, turned into metric families by the collector and
//! into answers by `Handle::stats`. Holds numbers only.

/// A server's counters and levels at one moment. Counters never fall. Read while the server
/// works, the fields are from slightly different moments; at rest they balance:
/// accepted = rejected + open + closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Worker threads that exist.
    pub workers: usize,
    /// Worker threads asked for.
    pub workers_limit: usize,
    /// Worker threads in a connection's turn now.
    pub workers_busy: usize,
    /// Open connections that wait for bytes.
    pub parked: u64,
    /// Open connections with work, waiting for a worker.
    pub queued: u64,
    /// Open connections that a worker serves now.
    pub active: u64,
    /// Open connections of which only leftover input is still read.
    pub closing: u64,
    /// Most open connections allowed.
    pub connections_limit: usize,
    /// Connections accepted, by listener.
    pub accepted: Vec<ListenerStats>,
    /// Connections refused, by reason.
    pub rejected: Vec<(&'static str, u64)>,
    /// Connections closed, by reason.
    pub closed: Vec<(&'static str, u64)>,
    /// Messages answered or failed.
    pub messages: u64,
    /// Messages that failed, by reason.
    pub message_errors: Vec<(&'static str, u64)>,
    /// Bytes read from clients.
    pub received_bytes: u64,
    /// Bytes written to clients.
    pub sent_bytes: u64,
    /// Panics caught in the handler.
    pub handler_panics: u64,
}

/// What one listening socket has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerStats {
    /// The address as it was configured.
    pub listener: String,
    /// Connections accepted on it.
    pub accepted: u64,
}

impl Snapshot {
    /// Open connections in every state.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.parked + self.queued + self.active + self.closing
    }
}
