//! The crew: how many workers there are and shall be, and their places.
//!
//! Held by the engine. A place is a number with a block of counters and a thread name. A worker
//! that leaves gives its place back, and the next one counts on in the same block: no counter ever
//! falls, and resizing for years leaks nothing.

use super::gate::new_block;
use super::poller::Poller;
use crate::metrics::Block;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The workers as the other threads see them.
#[derive(Debug)]
pub(super) struct Crew {
    wanted: AtomicUsize,
    alive: AtomicUsize,
    /// Of those alive, as the watchdog last saw it.
    stuck: AtomicUsize,
    /// Completed changes of the number of workers.
    pub(super) grown: AtomicU64,
    pub(super) shrunk: AtomicU64,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    blocks: Vec<Arc<CachePadded<Block>>>,
    vacant: Vec<usize>,
}

impl Crew {
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            wanted: AtomicUsize::new(wanted),
            alive: AtomicUsize::new(0),
            stuck: AtomicUsize::new(0),
            grown: AtomicU64::new(0),
            shrunk: AtomicU64::new(0),
            places: Mutex::default(),
        }
    }

    pub(super) fn wanted(&self) -> usize {
        self.wanted.load(Ordering::SeqCst)
    }

    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    /// How many there may be. Those that are stuck come on top of those wanted: they serve nobody,
    /// and a smaller pool shall still serve. At the end none may stay.
    fn most(&self) -> usize {
        match self.wanted() {
            0 => 0,
            wanted => wanted + self.stuck.load(Ordering::SeqCst),
        }
    }

    /// So many are stuck. Workers that are too many for that leave when they come to it.
    pub(super) fn set_stuck(&self, stuck: usize, poller: &Poller) {
        if self.stuck.swap(stuck, Ordering::SeqCst) > stuck && self.alive() > self.most() {
            poller.stop();
        }
    }

    /// Asks for so many workers. Those too many leave when they come to it; the accept loop
    /// starts those missing.
    pub(super) fn want(&self, workers: usize, poller: &Poller) {
        // None are wanted only when the pool is over, and that is for good.
        let unless_over = |wanted| (wanted != 0).then_some(workers);
        let asked = self.wanted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, unless_over);
        if asked.is_ok() && self.alive() > self.most() {
            poller.stop();
        }
    }

    /// Whether the worker that asks is one too many; then it is no longer counted.
    pub(super) fn retires(&self) -> bool {
        if self.alive.load(Ordering::Relaxed) <= self.wanted.load(Ordering::Relaxed) {
            return false;
        }
        let fewer = |alive| (alive > self.most()).then(|| alive - 1);
        let retired = self.alive.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer);
        if retired.is_ok_and(|alive| alive - 1 == self.wanted()) {
            self.shrunk.fetch_add(1, Ordering::Relaxed);
        }
        retired.is_ok()
    }

    /// Takes the stop signal back if nobody has to leave any more.
    pub(super) fn settle(&self, poller: &Poller) {
        if self.alive() > self.most() {
            return;
        }
        poller.all_clear();
        // What was asked for between the look and the clearing would be lost.
        if self.alive() > self.most() {
            poller.stop();
        }
    }

    /// Looks at every place's counters.
    pub(super) fn each(&self, mut look: impl FnMut(usize, &Block)) {
        for (place, block) in self.places().blocks.iter().enumerate() {
            look(place, block);
        }
    }

    /// A place for a worker that is missing, if one is; it is counted from here on.
    pub(super) fn enter(&self) -> Option<(usize, Arc<CachePadded<Block>>)> {
        let more = |alive| (alive < self.wanted()).then(|| alive + 1);
        self.alive.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        let mut places = self.places();
        let place = places.vacant.pop().unwrap_or_else(|| {
            places.blocks.push(Arc::new(new_block()));
            places.blocks.len() - 1
        });
        Some((place, Arc::clone(&places.blocks[place])))
    }

    /// A worker that did not retire is no more, or never was.
    pub(super) fn lose(&self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }

    /// The place is free again.
    pub(super) fn leave(&self, place: usize) {
        self.places().vacant.push(place);
    }

    /// None are wanted any more, for good.
    pub(super) fn dissolve(&self) {
        self.wanted.store(0, Ordering::SeqCst);
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing done under the lock panics half-way.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the worker of a place is called.
pub(crate) fn worker_name(place: usize) -> String {
    format!("work-{:02}", place + 1)
}
