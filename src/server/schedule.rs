//! Who serves which connection, and who may sleep: the protocol that the whole engine rests on.
//!
//! Two parts. A [`Cell`] per connection decides who owns it. A [`Schedule`] per server keeps the
//! idle hand-shake: no worker sleeps while there is work. Both are used by workers and by the
//! accept loop, through a [`Floor`] that stands for queue, poller and table. This file knows no
//! socket and takes its primitives from `super::sync`, so that `tests/model` can run every
//! interleaving of it.
//!
//! # The states of a connection
//!
//! ```text
//!   admit            take        park, give_back
//!  Free --> Queued ---------> Serving -------> Parked
//!             ^  ^  requeue     |  ^              |
//!             |  +--------------+  |  fire: mine, |
//!             |                    +--- claim ----+
//!             +-----------------------------------+
//!                   fire: queued
//! ```
//!
//! `free` leads from `Serving` back to `Free`; `give_back` leads to `Queued` if an event came.
//!
//! - Whoever moves a cell *into* `Queued` pushes its token exactly once.
//! - An event for a connection that is being served is noted in the cell, and makes `park` fail:
//!   its worker serves on. So no event falls between a worker's last read and the hand-back.
//! - A cell that leaves `Serving` for `Free` gets the next generation: an event that was already
//!   on its way to the old connection finds a stranger and is dropped.
//!
//! # The idle hand-shake
//!
//! A worker says that it is idle, *then looks at the queue once more*, and only then waits. A
//! producer pushes, *then* reads the number of idle workers. With a sequentially consistent fence
//! between the two steps on both sides, at least one of them sees the other. Wakes are sent one
//! at a time (a second write to an edge-triggered eventfd may wake nobody): a woken worker that
//! leaves work behind wakes the next.

use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

/// Events fetched at a time. More would spread a burst over fewer workers; fewer would cost a
/// system call more often.
pub(super) const BATCH: usize = 16;
/// Batches fetched one after the other, so that whoever sweeps gets to something else too.
const MOST_LOOKS: u32 = 64;

/// A connection in the table: its slot, and which of the slot's tenants it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// What the poller reports of a socket, as a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Events(u64);

impl Events {
    pub(super) const NONE: Self = Self(0);
    pub(super) const READ: Self = Self(1);
    pub(super) const WRITE: Self = Self(2);
    /// The peer has ended its side; there may be bytes before the end.
    pub(super) const END: Self = Self(4);
    /// The connection is broken or ended on both sides.
    pub(super) const GONE: Self = Self(8);
    /// The server wants it served now: a drain. Not of the socket, but told in the same way.
    pub(super) const CALLED: Self = Self(16);

    /// There is an urgent byte (`MSG_OOB`): nothing to serve, but a read stops short at it.
    pub(super) const URGENT: Self = Self(32);

    const ALL: u64 = 63;

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a parked connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Bytes, or the end.
    Input,
    /// Room for the output that it owes; input has to wait.
    Room,
}

impl Wants {
    /// The events that end the wait. A write event is nothing to a connection that owes nothing
    /// (registering fires one), and input is nothing to one that may not read yet.
    fn woken_by(self) -> Events {
        match self {
            Self::Input => Events::READ.and(Events::END).and(Events::GONE).and(Events::CALLED),
            Self::Room => Events::WRITE.and(Events::GONE).and(Events::CALLED),
        }
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fired {
    /// It is now in `Queued`, and the caller's to push.
    Queued,
    /// It is now in `Serving`, and the caller's to serve, with all events noted so far.
    Mine(Events),
    /// Somebody has it already and will see the event, or it does not matter now.
    Noted,
    /// It was for an earlier tenant of the slot.
    Stale,
}

/// The phase says who has a connection.
const PHASE: u64 = 0b11;
/// Nobody: the slot is empty.
const FREE: u64 = 0;
/// The poller: it waits for an event.
const PARKED: u64 = 1;
/// The run queue.
const QUEUED: u64 = 2;
/// A worker, or the accept loop that closes it.
const SERVING: u64 = 3;
const WANTS_ROOM: u64 = 1 << 2;
const EVENTS_SHIFT: u32 = 4;
const EVENTS: u64 = Events::ALL << EVENTS_SHIFT;
const GENERATION_SHIFT: u32 = 32;

/// One connection's state in one atomic: generation, noted events, what it wants, phase.
#[derive(Debug)]
pub(super) struct Cell(AtomicU64);

impl Cell {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(FREE))
    }

    /// `Free -> Queued`, by the accept loop, which alone fills slots. The caller pushes.
    pub(super) fn admit(&self) -> u32 {
        let old = self.0.load(Ordering::Acquire);
        debug_assert_eq!(old & PHASE, FREE, "a slot is filled only when it is free");
        self.0.store((old & !EVENTS) | QUEUED, Ordering::Release);
        generation(old)
    }

    /// Tells the connection of an event. If it is parked and waits for this, it goes to the
    /// caller when `serve` is set, and to the queue when not.
    pub(super) fn fire(&self, of: u32, events: Events, serve: bool) -> Fired {
        let mut old = self.0.load(Ordering::Acquire);
        loop {
            if generation(old) != of || old & PHASE == FREE {
                return Fired::Stale;
            }
            let with = old | (events.0 << EVENTS_SHIFT);
            let moves = old & PHASE == PARKED && events.meets(wants(old).woken_by());
            let (new, fired) = match (moves, serve) {
                (true, true) => {
                    ((with & !PHASE & !WANTS_ROOM & !EVENTS) | SERVING, Fired::Mine(noted(with)))
                }
                (true, false) => ((with & !PHASE & !WANTS_ROOM) | QUEUED, Fired::Queued),
                (false, _) => (with, Fired::Noted),
            };
            if new == old {
                return fired;
            }
            match self.0.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return fired,
                Err(now) => old = now,
            }
        }
    }

    /// `Queued -> Serving`, by whoever popped the token. Returns the noted events.
    pub(super) fn take(&self) -> Events {
        self.exchange(QUEUED, |old| (old & !PHASE & !EVENTS) | SERVING)
    }

    /// `Serving -> Parked`, or the events that came meanwhile and matter: then it is still the
    /// caller's to serve.
    pub(super) fn park(&self, wanted: Wants) -> Result<(), Events> {
        self.park_or(wanted, |old| old & !EVENTS)
    }

    /// `Serving -> Parked`, or `-> Queued` if events came meanwhile that matter: by the accept
    /// loop, which claimed it and does not serve. The events stay noted for who does: an end of
    /// stream is told only once. Says whether it is in `Queued`, and the caller's to push.
    fn give_back(&self, wanted: Wants) -> bool {
        self.park_or(wanted, |old| (old & !PHASE) | QUEUED).is_err()
    }

    /// `Serving -> Parked`, or what `again` makes of it if there are events that matter.
    fn park_or(&self, wanted: Wants, again: impl Fn(u64) -> u64) -> Result<(), Events> {
        let room = if wanted == Wants::Room { WANTS_ROOM } else { 0 };
        let mut old = self.0.load(Ordering::Acquire);
        loop {
            debug_assert_eq!(old & PHASE, SERVING, "only its owner parks a connection");
            let events = noted(old);
            let matters = events.meets(wanted.woken_by());
            let new = if matters { again(old) } else { (old & !PHASE) | PARKED | room };
            match self.0.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if matters => return Err(events),
                Ok(_) => return Ok(()),
                Err(now) => old = now,
            }
        }
    }

    /// `Serving -> Queued`; events noted so far stay noted. The caller pushes.
    pub(super) fn requeue(&self) {
        self.exchange(SERVING, |old| (old & !PHASE) | QUEUED);
    }

    /// `Parked -> Serving` without an event: for the accept loop, which closes the connection if
    /// its deadline has passed; if not, it is given back, and queued if something has come for it.
    /// Returns the tenant's generation and what it waited for, or nothing if it was not parked.
    pub(super) fn claim(&self) -> Option<(u32, Wants)> {
        let mut old = self.0.load(Ordering::Acquire);
        while old & PHASE == PARKED {
            let new = (old & !PHASE & !WANTS_ROOM) | SERVING;
            match self.0.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some((generation(old), wants(old))),
                Err(now) => old = now,
            }
        }
        None
    }

    /// `Serving -> Free`, for the next tenant.
    pub(super) fn free(&self) {
        self.exchange(SERVING, |old| {
            u64::from(generation(old).wrapping_add(1)) << GENERATION_SHIFT
        });
    }

    fn exchange(&self, from: u64, step: impl Fn(u64) -> u64) -> Events {
        let mut old = self.0.load(Ordering::Acquire);
        loop {
            debug_assert_eq!(old & PHASE, from, "a connection is moved by its owner");
            let new = step(old);
            match self.0.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return noted(old),
                Err(now) => old = now,
            }
        }
    }
}

fn generation(bits: u64) -> u32 {
    (bits >> GENERATION_SHIFT) as u32
}

fn noted(bits: u64) -> Events {
    Events((bits & EVENTS) >> EVENTS_SHIFT)
}

fn wants(bits: u64) -> Wants {
    if bits & WANTS_ROOM == 0 { Wants::Input } else { Wants::Room }
}

/// What a wait in the poller brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Something happened on a connection's socket.
    Ready(Token, Events),
    /// A producer wants a worker to look at the queue.
    Wake,
    /// The pool changes; it stays signalled until somebody takes it back.
    Stop,
}

/// A connection that is now in `Serving` and the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job<S> {
    pub(super) token: Token,
    /// What brought it.
    pub(super) events: Events,
    /// When it was queued; nothing if it went past the queue.
    pub(super) queued: Option<S>,
}

/// What a worker got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next<S> {
    /// A job from the queue.
    Popped(Job<S>),
    /// After a wait: the first job it brought, if any. The others are in the queue.
    Polled(Option<Job<S>>),
}

/// What the schedule works on.
pub(super) trait Floor {
    /// Whether a worker looks at the queue a second time before it waits. Always, but in the
    /// model that shows what happens without.
    const SECOND_LOOK: bool = true;

    /// A moment, which a token carries through the queue.
    type Stamp: Copy;

    /// Now.
    fn stamp(&self) -> Self::Stamp;
    /// The next token of the run queue, and when it was pushed.
    fn pop(&self) -> Option<(Token, Self::Stamp)>;
    /// Puts a token at the queue's tail; never blocks.
    fn push(&self, token: Token, stamp: Self::Stamp);
    /// Whether the queue holds anything.
    fn has_work(&self) -> bool;
    /// The state of a slot.
    fn cell(&self, slot: u32) -> &Cell;
    /// Fills `signals` with what the poller has now; does not wait.
    fn look(&self, signals: &mut Vec<Signal>);
    /// Makes one wait in the poller return [`Signal::Wake`].
    fn wake(&self);
    /// The last idle worker has found work: nobody polls now but who is asked to here.
    fn saturated(&self);
}

/// The idle hand-shake.
#[derive(Debug)]
pub(super) struct Schedule {
    idle: AtomicUsize,
    /// A wake is on its way and has not been seen yet.
    waking: AtomicBool,
}

impl Schedule {
    pub(super) fn new() -> Self {
        Self { idle: AtomicUsize::new(0), waking: AtomicBool::new(false) }
    }

    /// The next connection for a worker. If there is none, `wait` fills `signals` from the
    /// poller, and blocks until it can.
    pub(super) fn next<F: Floor>(
        &self,
        floor: &F,
        signals: &mut Vec<Signal>,
        wait: impl FnOnce(&mut Vec<Signal>),
    ) -> Next<F::Stamp> {
        if let Some(popped) = floor.pop() {
            return Next::Popped(self.taken(floor, popped));
        }
        self.idle.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let found = if F::SECOND_LOOK { floor.pop() } else { None };
        if found.is_none() {
            wait(signals);
        }
        if self.idle.fetch_sub(1, Ordering::SeqCst) == 1 {
            floor.saturated();
        }
        match found {
            Some(popped) => Next::Popped(self.taken(floor, popped)),
            None => {
                let kept = self.hand_out(floor, signals, true);
                if signals.len() == BATCH {
                    self.sweep(floor, signals);
                }
                Next::Polled(kept)
            }
        }
    }

    fn taken<F: Floor>(&self, floor: &F, (token, stamp): (Token, F::Stamp)) -> Job<F::Stamp> {
        // The chain: whoever takes work and sees more wakes the next.
        if floor.has_work() {
            self.announce(floor);
        }
        Job { token, events: floor.cell(token.slot).take(), queued: Some(stamp) }
    }

    /// Moves what is ready into the run queue without waiting: for the accept loop while all
    /// workers are busy, and for a worker that has found work there for a while. All of it, so
    /// that what waits is in the queue, where its wait is seen. Other signals may stay for as
    /// long as no worker sees to them.
    pub(super) fn sweep(&self, floor: &impl Floor, signals: &mut Vec<Signal>) {
        for _ in 0..MOST_LOOKS {
            floor.look(signals);
            self.hand_out(floor, signals, false);
            if signals.len() < BATCH {
                break;
            }
        }
    }

    /// Puts a connection in `Queued` into the queue and wakes a worker for it.
    pub(super) fn submit(&self, floor: &impl Floor, token: Token) {
        floor.push(token, floor.stamp());
        self.announce(floor);
    }

    /// Gives a claimed connection back to the poller, or queues it if something has happened to it
    /// meanwhile.
    pub(super) fn give_back(&self, floor: &impl Floor, token: Token, wants: Wants) {
        if floor.cell(token.slot).give_back(wants) {
            self.submit(floor, token);
        }
    }

    /// Has a connection served now, whoever is in the slot: it goes to the queue if it is parked,
    /// and is served once more if it is served.
    pub(super) fn call(&self, floor: &impl Floor, slot: u32) {
        let cell = floor.cell(slot);
        let generation = generation(cell.0.load(Ordering::Acquire));
        if cell.fire(generation, Events::CALLED, false) == Fired::Queued {
            self.submit(floor, Token { slot, generation });
        }
    }

    /// Passes every signal on before anything else happens; keeps the first ready connection
    /// for the caller if it wants one.
    fn hand_out<F: Floor>(
        &self,
        floor: &F,
        signals: &[Signal],
        keep: bool,
    ) -> Option<Job<F::Stamp>> {
        let mut kept = None;
        // One reading of the clock for the whole batch.
        let mut stamp = None;
        let mut look = false;
        for signal in signals {
            match *signal {
                Signal::Ready(token, events) => {
                    let serve = keep && kept.is_none();
                    match floor.cell(token.slot).fire(token.generation, events, serve) {
                        Fired::Mine(events) => kept = Some(Job { token, events, queued: None }),
                        Fired::Queued => {
                            floor.push(token, *stamp.get_or_insert_with(|| floor.stamp()));
                            look = true;
                        }
                        Fired::Noted | Fired::Stale => {}
                    }
                }
                Signal::Wake => {
                    // From here on a producer sends a new one. The swap also makes what the
                    // sender of this one pushed visible to the look below.
                    self.waking.swap(false, Ordering::SeqCst);
                    look = true;
                }
                Signal::Stop => {}
            }
        }
        if look {
            fence(Ordering::SeqCst);
            if floor.has_work() {
                self.announce(floor);
            }
        }
        kept
    }

    /// There is work in the queue: wakes a worker if one is idle and none is being woken.
    pub(super) fn announce(&self, floor: &impl Floor) {
        fence(Ordering::SeqCst);
        if self.idle.load(Ordering::Relaxed) > 0 && !self.waking.swap(true, Ordering::SeqCst) {
            floor.wake();
        }
    }

    /// How many workers have nothing to do.
    pub(super) fn idle(&self) -> usize {
        self.idle.load(Ordering::SeqCst)
    }
}
