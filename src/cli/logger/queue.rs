//! The lines on their way to standard error: a bounded queue between the threads that log and the
//! one that writes.
//!
//! Filled by the backend, emptied by its thread. `push` never waits for the writer: what finds no
//! room is lost and counted, and from then on everything is until half of the queue is free
//! again, so that one line tells of one gap and stands where the gap is. Knows no formats and
//! does not write.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines that wait at most.
const MOST_LINES: usize = 4096;
/// Memory that they may take.
const MOST_BYTES: usize = 1 << 20;
/// Bytes that are taken together, unless one line is longer. A pipe takes so many in one piece,
/// so lines of two processes do not mix.
const BATCH_BYTES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to take.
    filled: Condvar,
    /// There is nothing left to write.
    written: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Lines lost in the gap that lasts; 0 is no gap.
    gap: u64,
    /// What was taken is being written.
    writing: bool,
    /// The writer is to look around.
    called: bool,
}

/// What the writer gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Line(String),
    /// So many lines are missing here.
    Gap(u64),
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            // What the line holds, not what it needs.
            Self::Line(line) => line.capacity(),
            Self::Gap(_) => 0,
        }
    }
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        self.entries.len() < MOST_LINES && self.bytes + bytes <= MOST_BYTES
    }

    /// Ends a gap when half of the queue is free.
    fn end_gap(&mut self) {
        let half_free = self.entries.len() <= MOST_LINES / 2 && self.bytes <= MOST_BYTES / 2;
        if self.gap > 0 && half_free {
            self.entries.push_back(Entry::Gap(self.gap));
            self.gap = 0;
        }
    }

    fn is_settled(&self) -> bool {
        self.entries.is_empty() && self.gap == 0 && !self.writing
    }
}

impl Queue {
    /// Adds a line, or loses it.
    pub(super) fn push(&self, line: String) {
        let mut state = self.state();
        let entry = Entry::Line(line);
        let bytes = entry.bytes();
        let first = state.entries.is_empty();
        if state.gap > 0 || !state.has_room(bytes) {
            state.gap += 1;
            self.count_lost(1);
        } else {
            state.bytes += bytes;
            state.entries.push_back(entry);
        }
        drop(state);
        // With more than that in it the writer is not waiting.
        if first {
            self.filled.notify_one();
        }
    }

    /// Makes a `take` return soon, with or without entries.
    pub(super) fn call(&self) {
        self.state().called = true;
        self.filled.notify_one();
    }

    /// Waits for entries, for a call or until `due`, and moves a batch into `batch`, which is
    /// empty. The batch counts as unwritten until [`done`](Self::done).
    pub(super) fn take(&self, batch: &mut Vec<Entry>, due: Option<Instant>) {
        let mut state = self.state();
        loop {
            state.end_gap();
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if !state.entries.is_empty() || state.called || left.is_some_and(|it| it.is_zero()) {
                break;
            }
            // Without anything due it sleeps for as long as nobody logs.
            let left = left.unwrap_or(Duration::MAX);
            let woken = self.filled.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.called = false;
        let mut bytes = 0;
        while let Some(entry) = state.entries.front() {
            bytes += entry.bytes();
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.extend(state.entries.pop_front());
        }
        state.bytes -= batch.iter().map(Entry::bytes).sum::<usize>();
        state.writing = !batch.is_empty();
    }

    /// What was taken is written.
    pub(super) fn done(&self) {
        let mut state = self.state();
        state.writing = false;
        if state.is_settled() {
            self.written.notify_all();
        }
    }

    /// Waits until everything is written, but not longer than this; says whether it is.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let unsettled = |state: &mut State| !state.is_settled();
        let waited = self.written.wait_timeout_while(self.state(), patience, unsettled);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Lines that could not be written are lost too.
    pub(super) fn count_lost(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    /// Lines lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Nothing here leaves the state half-changed by a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn line(text: impl ToString) -> String {
        text.to_string()
    }

    fn take(queue: &Queue) -> Vec<Entry> {
        let mut batch = Vec::new();
        queue.take(&mut batch, Some(Instant::now()));
        queue.done();
        batch
    }

    /// Everything, to the end.
    fn drain(queue: &Queue) -> Vec<Entry> {
        let mut all = Vec::new();
        loop {
            let batch = take(queue);
            if batch.is_empty() {
                return all;
            }
            all.extend(batch);
        }
    }

    #[test]
    fn lines_come_out_in_order_and_in_small_batches() {
        let queue = Queue::default();
        let long = "x".repeat(BATCH_BYTES / 2);
        for text in ["a", "b", &long, &long, &"y".repeat(2 * BATCH_BYTES), "z"] {
            queue.push(line(text));
        }
        let batches: Vec<usize> = (0..5).map(|_| take(&queue).len()).collect();
        assert_eq!(batches, [3, 1, 1, 1, 0], "a batch is short, and at least a line");
        assert_eq!(queue.lost(), 0);
    }

    #[test]
    fn a_gap_begins_when_the_lines_are_too_many_and_ends_at_half() {
        let queue = Queue::default();
        for number in 0..MOST_LINES + 3 {
            queue.push(line(number));
        }
        assert_eq!(queue.lost(), 3);
        // Some room alone does not end it: there would be a gap after every batch.
        let first = take(&queue).len();
        queue.push(line("lost too"));
        assert_eq!(queue.lost(), 4);
        let mut taken = first;
        while taken < MOST_LINES / 2 {
            taken += take(&queue).len();
        }
        taken += take(&queue).len();
        queue.push(line("after"));
        let rest = drain(&queue);
        let gap = rest.iter().position(|entry| *entry == Entry::Gap(4)).expect("a gap is told");
        assert_eq!(taken + gap, MOST_LINES, "it stands where the lines are missing");
        assert_eq!(rest[gap + 1..], [Entry::Line(line("after"))]);
        assert_eq!(queue.lost(), 4);
    }

    #[test]
    fn the_bytes_are_bounded_too() {
        let queue = Queue::default();
        let long = "x".repeat(MOST_BYTES / 8);
        for _ in 0..10 {
            queue.push(long.clone());
        }
        assert_eq!(queue.lost(), 2);
        assert_eq!(queue.state().bytes, MOST_BYTES);
        let all = drain(&queue);
        assert_eq!((all.len(), &all[8]), (9, &Entry::Gap(2)));
        assert_eq!(queue.state().bytes, 0);
        // One that never fits is a gap of its own.
        queue.push("x".repeat(MOST_BYTES + 1));
        assert_eq!(take(&queue), [Entry::Gap(1)]);
    }

    #[test]
    fn a_flush_waits_for_what_is_being_written_and_not_for_ever() {
        let queue = Queue::default();
        assert!(queue.flush(Duration::ZERO), "nothing to wait for");
        queue.push(line("a"));
        assert!(!queue.flush(Duration::from_millis(1)), "nobody writes");
        let mut batch = Vec::new();
        queue.take(&mut batch, None);
        assert!(!queue.flush(Duration::from_millis(1)), "it is not written yet");
        thread::scope(|scope| {
            let flushed = scope.spawn(|| queue.flush(Duration::from_secs(60)));
            queue.done();
            assert!(flushed.join().expect("no panic"));
        });
    }

    #[test]
    fn a_waiting_writer_is_woken_by_a_line_and_by_a_call() {
        let queue = Queue::default();
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let (mut first, mut second) = (Vec::new(), Vec::new());
                queue.take(&mut first, None);
                queue.done();
                queue.push(line("taken"));
                queue.take(&mut second, None);
                (first.len(), second.len())
            });
            queue.call();
            assert_eq!(writer.join().expect("no panic"), (0, 1));
        });
    }
}
