//! The hand-shake of an accept loop that waits for a place in the table.
//!
//! The waiter says that it waits, *then looks at the table once more*, and only then sleeps.
//! Whoever frees a place frees it, *then* looks whether somebody waits. With a sequentially
//! consistent fence between the two steps on both sides, at least one of them sees the other.
//! Knows no table and no thread, so that `tests/model` can run every interleaving of it.

use super::sync::{AtomicBool, Ordering, fence};

/// Whether the accept loop waits for a place.
#[derive(Debug)]
pub(super) struct Vacancy {
    awaited: AtomicBool,
}

impl Vacancy {
    pub(super) fn new() -> Self {
        Self { awaited: AtomicBool::new(false) }
    }

    /// The accept loop is going to sleep until there is a place, unless `is_full` says that there
    /// is one by now. Says whether there is.
    pub(super) fn await_one(&self, is_full: impl FnOnce() -> bool) -> bool {
        self.awaited.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        !is_full()
    }

    /// The accept loop does not wait any more.
    pub(super) fn settle(&self) {
        self.awaited.store(false, Ordering::Relaxed);
    }

    /// A place has become free. Rings if somebody waits for one, and nobody has rung yet.
    pub(super) fn freed(&self, ring: impl FnOnce()) {
        fence(Ordering::SeqCst);
        if self.awaited.load(Ordering::Relaxed) && self.awaited.swap(false, Ordering::SeqCst) {
            ring();
        }
    }
}
