//! What the threads of one server share, and the one function that closes a connection.
//!
//! Made by `Server`, borrowed by the workers and the accept loop. Each field is a part with a
//! file of its own; this one only holds them together and lets the schedule see them.

use super::clock::{Clock, Moment};
use super::close::Reason;
use super::connection::{Connection, Read};
use super::crew::Crew;
use super::gate::Gate;
use super::inbox::Inbox;
use super::linger::Lingering;
use super::live::Live;
use super::options::Options;
use super::panics::{discard, words};
use super::per_ip::PerIp;
use super::poller::Poller;
use super::run_queue::RunQueue;
use super::schedule::{Cell, Floor, Schedule, Signal, Token};
use super::shedding::Shedder;
use super::table::Table;
use super::vacancy::Vacancy;
use crate::metrics::Block;
use crate::service::Service;
use crossbeam_utils::CachePadded;
use rustix::net::Shutdown;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Everything shared between the threads of one server.
pub(super) struct Engine {
    pub(super) options: Live<Options>,
    pub(super) service: Box<dyn Service>,
    pub(super) clock: Clock,
    pub(super) table: Table,
    pub(super) queue: RunQueue,
    pub(super) poller: Poller,
    pub(super) schedule: CachePadded<Schedule>,
    pub(super) inbox: Inbox,
    pub(super) crew: Crew,
    pub(super) gate: Gate,
    pub(super) per_ip: Arc<PerIp>,
    pub(super) vacancy: Vacancy,
    pub(super) shedder: Shedder,
    /// Connections between their slot and the inbox.
    closing: AtomicUsize,
    /// A stop was asked for ...
    stopping: AtomicBool,
    /// ... and, `drain_delay` later, the drain has begun.
    draining: AtomicBool,
}

impl Engine {
    /// Of a server with so many listeners.
    pub(super) fn new(
        options: Options,
        service: Box<dyn Service>,
        listeners: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            clock: Clock::start(),
            table: Table::new(options.max_connections),
            queue: RunQueue::new(options.max_connections),
            poller: Poller::new()?,
            schedule: CachePadded::new(Schedule::new()),
            inbox: Inbox::new(options.max_connections)?,
            crew: Crew::new(options.workers),
            gate: Gate::new(listeners),
            per_ip: Arc::default(),
            vacancy: Vacancy::new(),
            shedder: Shedder::new(),
            closing: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            service,
            options: Live::new(options),
        })
    }

    /// Whether the drain has begun.
    pub(super) fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Begins the drain.
    pub(super) fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the server was told to stop.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Tells it to; the accept loop does the rest.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.inbox.ring();
    }

    /// Whether every connection is closed, but for those that linger. Asked in this order: what
    /// leaves its slot is seen to be closing.
    pub(super) fn all_closed(&self) -> bool {
        self.table.open() == 0 && self.closing.load(Ordering::SeqCst) == 0
    }

    /// Connections that have left their slot and are not counted as closed yet. One that comes to
    /// linger meanwhile may be counted twice, and never not at all.
    pub(super) fn closing(&self) -> u64 {
        let closing = self.closing.load(Ordering::SeqCst) as u64;
        closing + self.gate.lingering.load(Ordering::SeqCst)
    }

    /// The mean time of a call so far, in nanoseconds.
    pub(super) fn mean_call(&self) -> u64 {
        let (mut count, mut sum) = (0, 0);
        self.crew.each(|_, block| {
            count += block.messages.get();
            sum += block.handler_time.sum_nanos();
        });
        sum.checked_div(count).unwrap_or(0)
    }

    /// Closes a connection, which is the caller's (`Serving`), with a reason; frees its slot.
    ///
    /// What it owed is with the kernel. Its side of the stream ends here; the socket itself
    /// lingers with the accept loop unless the peer has ended too.
    pub(super) fn close(&self, slot: u32, reason: Reason, options: &Options, block: &Block) {
        let closing = Closing::begin(self);
        let Some(mut connection) = self.table.release(slot) else {
            return;
        };
        let state = connection.state.take();
        drop(connection.seat.take());
        // A connection that nobody has greeted is not in the poller.
        if !connection.fresh {
            self.poller.deregister(&*connection);
        }
        let open_for = self.clock.now().saturating_sub(connection.opened);
        block.connection_duration.observe(open_for);
        log::log!(
            options.connection_log,
            id = connection.id, peer:% = connection.peer, reason = reason.label(),
            duration:? = Duration::from_nanos(open_for);
            "Connection from {} closed.", connection.peer
        );
        let closed = if wants_linger(&connection, reason) {
            let lingering = Lingering::new(connection.into_socket(), Some(reason));
            self.gate.lingering.fetch_add(1, Ordering::SeqCst);
            let cut = self.inbox.linger(lingering);
            if cut.is_some() {
                self.gate.lingering.fetch_sub(1, Ordering::SeqCst);
            }
            cut.and_then(|cut| cut.reason)
        } else {
            drop(connection);
            Some(reason)
        };
        if let Some(reason) = closed {
            block.closed[reason as usize].add(1);
        }
        self.vacancy.freed(|| self.inbox.ring());
        drop(closing);
        // The state's `drop` is the service's own code, and the caller may be the accept loop.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(state))) {
            log::error!("dropping a connection's state panicked: {}", words(&*panic));
            block.handler_panics.add(1);
            discard(panic);
        }
    }
}

/// A connection that has left its slot, until it is counted or lingers: a drain waits for it.
struct Closing<'a>(&'a Engine);

impl<'a> Closing<'a> {
    fn begin(engine: &'a Engine) -> Self {
        engine.closing.fetch_add(1, Ordering::SeqCst);
        Self(engine)
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.closing.fetch_sub(1, Ordering::SeqCst);
        if self.0.draining() {
            self.0.inbox.ring();
        }
    }
}

/// Ends our side of the stream, and says whether the peer may still be sending: then a plain
/// close would make the kernel answer with a reset, and the peer lose what it has not read yet.
fn wants_linger(connection: &Connection, reason: Reason) -> bool {
    if matches!(reason, Reason::IoError | Reason::WriteTimeout) || connection.at_end {
        return false;
    }
    if rustix::net::shutdown(connection, Shutdown::Write).is_err() {
        return false;
    }
    !matches!(connection.read(&mut [0; 1024]), Read::End | Read::Broken)
}

impl Floor for Engine {
    type Stamp = Moment;

    fn stamp(&self) -> Moment {
        self.clock.now()
    }

    fn pop(&self) -> Option<(Token, Moment)> {
        self.queue.pop()
    }

    fn push(&self, token: Token, now: Moment) {
        self.queue.push(token, now);
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    fn cell(&self, slot: u32) -> &Cell {
        &self.table.slot(slot).cell
    }

    fn look(&self, signals: &mut Vec<Signal>) {
        self.poller.poll(false, signals);
    }

    fn wake(&self) {
        self.poller.wake();
    }

    fn saturated(&self) {
        self.inbox.saturated();
    }
}
