//! The pool: the workers' threads, which the accept loop starts and waits for.
//!
//! How many there shall be, and their places, are the `crew`'s.

use super::crew::worker_name;
use super::engine::Engine;
use super::panics::{discard, words};
use super::worker::Worker;
use crate::metrics::Block;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

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
        while let Some((place, block)) = crew.enter() {
            let name = thread_name(thread_prefix, &worker_name(place));
            let shift = Shift { engine: Arc::clone(engine), place, _alive: self.alive.clone() };
            let spawned =
                thread::Builder::new().name(name).spawn(move || work(&shift.engine, &block));
            if let Err(error) = spawned {
                // The shift went with its closure, and gave the place back.
                crew.lose();
                return Err(error);
            }
        }
        crew.completed();
        Ok(())
    }

    /// Sends all workers home and waits for them until `deadline`. Says how many have not come
    /// back: they are in a handler's call.
    pub(super) fn finish(self, engine: &Engine, deadline: Instant) -> usize {
        engine.crew.dissolve();
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
            self.engine.crew.lose();
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
        discard(panic);
        worker.recover();
    }
}

/// A name of at most 15 bytes, which is what the kernel shows.
pub(super) fn thread_name(prefix: &str, name: &str) -> String {
    let prefix: String = prefix.chars().filter(char::is_ascii).take(4).collect();
    format!("{prefix}{name}")
}
