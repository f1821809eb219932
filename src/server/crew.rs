//! The crew: how many workers there are and shall be, and their places.
//!
//! Held by the engine. A place is a number with a block of counters and a thread name. A worker
//! that leaves gives its place back, and the next one counts on in the same block: no counter ever
//! falls, and resizing for years leaks nothing.

use super::gate::new_block;
use super::poller::Poller;
use crate::metrics::Block;
use crossbeam_utils::CachePadded;
use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The workers as the other threads see them.
#[derive(Debug)]
pub(super) struct Crew {
    wanted: AtomicUsize,
    alive: AtomicUsize,
    /// Of those alive, as the watchdog last saw it.
    stuck: AtomicUsize,
    /// How many there were when last none was missing or too many ...
    complete: AtomicUsize,
    /// ... and how often that had changed.
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
            complete: AtomicUsize::new(wanted),
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
            self.completed();
        }
        retired.is_ok()
    }

    /// There are as many workers as are wanted. A change is counted now, and not one that was
    /// taken back before, nor a lost worker's replacement.
    pub(super) fn completed(&self) {
        let workers = self.wanted();
        let direction = match self.complete.swap(workers, Ordering::SeqCst).cmp(&workers) {
            Less => &self.grown,
            Equal => return,
            Greater => &self.shrunk,
        };
        direction.fetch_add(1, Ordering::Relaxed);
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
