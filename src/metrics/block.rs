//! Counters that cost nothing shared: each thread of the engine owns a block that it alone writes.
//!
//! A write is a relaxed load and a relaxed store, no locked instruction; a scrape sums the
//! blocks. Written by `server`'s workers and accept loop, read by its `stats`.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the thread that owns the block calls this.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One thread's counters. The labelled ones are indexed by their reason's number.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) messages: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) handler_panics: Counter,
    pub(crate) message_errors: Box<[Counter]>,
    pub(crate) closed: Box<[Counter]>,
}

impl Block {
    /// A block of zeros, for so many reasons; padded so that it shares no cache line.
    pub(crate) fn new(message_errors: usize, closed: usize) -> CachePadded<Self> {
        CachePadded::new(Self {
            messages: Counter::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            handler_panics: Counter::default(),
            message_errors: counters(message_errors),
            closed: counters(closed),
        })
    }
}

fn counters(count: usize) -> Box<[Counter]> {
    (0..count).map(|_| Counter::default()).collect()
}
