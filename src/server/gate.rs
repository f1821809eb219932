//! What the accept loop counts, and what others may read of it.
//!
//! Held by the engine, read by handles. The accept loop and its parts alone write the counters;
//! `lingering` is whoever's that closes, too.

use super::close::{AcceptError, MessageError, PauseCause, Reason, Rejection};
use crate::metrics::{Block, Counter, Stopwatch, counters};
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// The accept loop's counters and levels.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) block: CachePadded<Block>,
    /// By listener.
    pub(super) accepted: Box<[Counter]>,
    /// By `Rejection`.
    pub(super) rejected: Box<[Counter]>,
    /// By `AcceptError`.
    pub(super) accept_errors: Box<[Counter]>,
    /// By `PauseCause`.
    pub(super) pauses: Box<[Counter]>,
    pub(super) paused: Stopwatch,
    /// Nanoseconds with every worker busy and work in the queue, as the tick sees it.
    pub(super) saturated: Counter,
    /// Closed connections whose sockets linger now, or are on their way to the accept loop.
    pub(super) lingering: AtomicU64,
    /// The most busy time ever reported, in nanoseconds.
    pub(super) busy_reported: AtomicU64,
    /// The loop runs and accepts.
    pub(super) open: AtomicBool,
}

impl Gate {
    /// Of a server with so many listeners.
    pub(super) fn new(listeners: usize) -> Self {
        Self {
            block: new_block(),
            accepted: counters(listeners),
            rejected: counters(Rejection::LABELS.len()),
            accept_errors: counters(AcceptError::LABELS.len()),
            pauses: counters(PauseCause::LABELS.len()),
            paused: Stopwatch::default(),
            saturated: Counter::default(),
            lingering: AtomicU64::new(0),
            busy_reported: AtomicU64::new(0),
            open: AtomicBool::new(false),
        }
    }
}

/// A new, empty block of counters.
pub(super) fn new_block() -> CachePadded<Block> {
    Block::new(MessageError::LABELS.len(), Reason::LABELS.len())
}
