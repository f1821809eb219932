//! The pool: how many workers there are and shall be, their threads and their places.
//!
//! A place is a number with a block of counters and a thread name. A worker that leaves gives its
//! place back, and the next one counts on in the same block: no counter ever falls, and resizing
//! for years leaks nothing.

use super::engine::Engine;
use super::poller::Poller;
use super::turn::words;
use super::worker::Worker;
use crate::metrics::Block;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use crossbeam_utils::CachePadded;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// The workers as the other threads see them.
#[derive(Debug)]
pub(super) struct Crew {
    wanted: AtomicUsize,
    alive: AtomicUsize,
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

    /// Asks for so many workers. Those too many leave when they come to it; the accept loop
    /// starts those missing.
    pub(super) fn want(&self, workers: usize, poller: &Poller) {
        // None are wanted only when the pool is over, and that is for good.
        let unless_over = |wanted| (wanted != 0).then_some(workers);
        let asked = self.wanted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, unless_over);
        if asked.is_ok() && self.alive() > workers {
            poller.stop();
        }
    }

    /// Whether the worker that asks is one too many; then it is no longer counted.
    pub(super) fn retires(&self) -> bool {
        if self.alive.load(Ordering::Relaxed) <= self.wanted.load(Ordering::Relaxed) {
            return false;
        }
        let fewer = |alive| (alive > self.wanted()).then(|| alive - 1);
        let retired = self.alive.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer);
        if retired.is_ok_and(|alive| alive - 1 == self.wanted()) {
            self.shrunk.fetch_add(1, Ordering::Relaxed);
        }
        retired.is_ok()
    }

    /// Takes the stop signal back if nobody has to leave any more.
    pub(super) fn settle(&self, poller: &Poller) {
        if self.alive() > self.wanted() {
            return;
        }
        poller.all_clear();
        // A `want` between the look and the clearing would be lost.
        if self.alive() > self.wanted() {
            poller.stop();
        }
    }

    /// Looks at every place's counters.
    pub(super) fn each(&self, mut look: impl FnMut(usize, &Block)) {
        for (place, block) in self.places().blocks.iter().enumerate() {
            look(place, block);
        }
    }

    fn enter(&self) -> (usize, Arc<CachePadded<Block>>) {
        let mut places = self.places();
        let place = places.vacant.pop().unwrap_or_else(|| {
            places.blocks.push(Arc::new(Engine::new_block()));
            places.blocks.len() - 1
        });
        (place, Arc::clone(&places.blocks[place]))
    }

    fn leave(&self, place: usize) {
        self.places().vacant.push(place);
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing done under the lock panics half-way.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The accept loop's hold on the threads.
#[derive(Debug)]
pub(super) struct Pool {
    /// Never sent on: each worker has a sender, and the last one to go disconnects.
    gone: Receiver<()>,
    alive: Sender<()>,
}

impl Pool {
    pub(super) fn new() -> Self {
        let (alive, gone) = bounded(0);
        Self { gone, alive }
    }

    /// Starts the workers that are missing.
    ///
    /// # Errors
    ///
    /// The system refused a thread. Those started before it work.
    pub(super) fn grow(&self, engine: &Arc<Engine>, thread_prefix: &str) -> io::Result<()> {
        let crew = &engine.crew;
        if crew.alive() >= crew.wanted() {
            return Ok(());
        }
        let is_first = crew.alive() == 0;
        let more = |alive| (alive < crew.wanted()).then(|| alive + 1);
        while crew.alive.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok() {
            let (place, block) = crew.enter();
            let name = thread_name(thread_prefix, &worker_name(place));
            let shift = Shift { engine: Arc::clone(engine), place, _alive: self.alive.clone() };
            let spawned =
                thread::Builder::new().name(name).spawn(move || work(&shift.engine, &block));
            if let Err(error) = spawned {
                // The shift went with its closure, and gave the place back.
                crew.alive.fetch_sub(1, Ordering::SeqCst);
                return Err(error);
            }
        }
        if !is_first {
            crew.grown.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends all workers home and waits for them until `deadline`. Says how many have not come
    /// back: they are in a handler's call.
    pub(super) fn finish(self, engine: &Engine, deadline: Instant) -> usize {
        engine.crew.wanted.store(0, Ordering::SeqCst);
        engine.poller.stop();
        drop(self.alive);
        match self.gone.recv_deadline(deadline) {
            Err(RecvTimeoutError::Disconnected) => 0,
            Ok(()) | Err(RecvTimeoutError::Timeout) => engine.crew.alive(),
        }
    }
}

/// A worker thread's hold on its place, which it gives back however it ends.
struct Shift {
    engine: Arc<Engine>,
    place: usize,
    /// Goes last: the pool is over when all are gone.
    _alive: Sender<()>,
}

impl Drop for Shift {
    fn drop(&mut self) {
        if thread::panicking() {
            // It has not retired, which would have counted it off: a bug got past `work`. The
            // accept loop starts another thread in its place.
            self.engine.crew.alive.fetch_sub(1, Ordering::SeqCst);
            self.engine.inbox.ring();
        }
        self.engine.crew.leave(self.place);
    }
}

/// The whole life of a worker thread.
fn work(engine: &Engine, block: &Block) {
    let mut worker = Worker::new(engine, block);
    // A handler's panic is caught where it is called; one that arrives here is a bug of ours. It
    // is loud, costs its connection, and the worker begins again.
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.run())) {
        log::error!("a worker's turn panicked: {}", words(&*panic));
        worker.recover();
    }
}

/// What the worker of a place is called.
pub(super) fn worker_name(place: usize) -> String {
    format!("work-{:02}", place + 1)
}

/// A name of at most 15 bytes, which is what the kernel shows.
pub(super) fn thread_name(prefix: &str, name: &str) -> String {
    let prefix: String = prefix.chars().filter(char::is_ascii).take(4).collect();
    format!("{prefix}{name}")
}
