//! The run queue: connections that have work, in the order in which they got it, with
//! the time at which they did.
//!
//! Filled by the accept loop (new connections), by whoever polls (ready ones) and by workers
//! (unfinished ones); emptied by workers. With `pool` the only place that knows crossbeam's
//! channel.

use super::clock::Moment;
use super::schedule::Token;
use crossbeam_channel::{Receiver, Sender, bounded};

/// A bounded channel of which we hold both ends. A connection is in it at most once, so with
/// room for every slot of the table it is never full.
#[derive(Debug)]
pub(super) struct RunQueue {
    tail: Sender<(Token, Moment)>,
    head: Receiver<(Token, Moment)>,
}

impl RunQueue {
    pub(super) fn new(slots: usize) -> Self {
        let (tail, head) = bounded(slots);
        Self { tail, head }
    }

    /// Never blocks.
    ///
    /// # Panics
    ///
    /// If the queue is full: some connection would be in it twice.
    pub(super) fn push(&self, token: Token, now: Moment) {
        let pushed = self.tail.try_send((token, now));
        assert!(pushed.is_ok(), "the run queue has a place for every slot, yet it is full");
    }

    /// The token at the head, and when it was pushed.
    pub(super) fn pop(&self) -> Option<(Token, Moment)> {
        self.head.try_recv().ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.head.len()
    }
}
