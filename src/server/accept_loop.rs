//! The accept loop: the one thread that lets clients in, keeps the time, and ends the server.
//!
//! Runs on the thread that called `Server::run`. Accepts and admits; closes what is past its
//! deadline; reads lingering sockets to their end; polls for the workers while all are busy;
//! starts workers that are missing; and drains. Sleeps without a tick when nothing is due.

use super::clock::{Moment, nanos};
use super::close::{AcceptError, PauseCause, Reason, Rejection};
use super::connection::Connection;
use super::deadlines::Deadlines;
use super::drain::Drain;
use super::engine::Engine;
use super::linger::{DRAIN_LINGER, Lingering, Parting};
use super::listener::{Accepted, Listener};
use super::poller::LoopPoller;
use super::pool::Pool;
use super::schedule::{Floor, Signal, Token};
use crate::service::Peer;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Clients accepted from one listener before anything else is looked at.
const ACCEPTS_A_TURN: usize = 64;
/// While all workers are busy, how often the accept loop polls in their stead ...
const TICK: Duration = Duration::from_millis(5);
/// ... and for how long after it last saw them so.
const TICK_FOR: Duration = Duration::from_millis(100);
/// A connection that is served at the moment its deadline is looked at is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long accepting pauses when the machine has no descriptors left: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Keys of lingering sockets start here; below are the listeners' numbers.
const FIRST_LINGERING: u64 = 1 << 32;

/// What only the accept loop has.
pub(super) struct AcceptLoop {
    engine: Arc<Engine>,
    pool: Pool,
    listeners: Vec<Listener>,
    poller: LoopPoller,
    deadlines: Deadlines,
    parting: Parting,
    /// What a client reads that is not admitted.
    busy_words: Vec<u8>,
    next_id: u64,
    pause: Option<Pause>,
    /// When accepting was last complained about.
    complained_at: Option<Moment>,
    /// While the loop ticks: the last tick ...
    ticked_at: Option<Moment>,
    /// ... and the last one that saw all workers busy.
    saturated_at: Moment,
    signals: Vec<Signal>,
}

/// Accepting is paused.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Moment,
    length: Duration,
    /// The listeners are out of the poller now; after `until` they are back in it, but the next
    /// pause is longer unless a client came meanwhile.
    holds: bool,
}

impl AcceptLoop {
    pub(super) fn new(
        engine: Arc<Engine>,
        listeners: Vec<Listener>,
        busy_words: Vec<u8>,
    ) -> io::Result<Self> {
        let poller = engine.inbox.poller()?;
        for (number, listener) in listeners.iter().enumerate() {
            poller.register(listener, number as u64)?;
        }
        let pool = Pool::new();
        pool.grow(&engine)?;
        Ok(Self {
            engine,
            pool,
            listeners,
            poller,
            deadlines: Deadlines::default(),
            parting: Parting::new(FIRST_LINGERING),
            busy_words,
            next_id: 1,
            pause: None,
            complained_at: None,
            ticked_at: None,
            saturated_at: 0,
            signals: Vec::with_capacity(16),
        })
    }

    /// Serves until the drain is over. Says what it left undone.
    pub(super) fn run(mut self) -> Drain {
        let mut keys = Vec::with_capacity(64);
        self.engine.gate.open.store(true, Ordering::SeqCst);
        while !self.engine.stopping() {
            self.turn(&mut keys, None);
        }
        self.drain(&mut keys)
    }

    /// Sleeps until something happens, `latest` at the latest, and sees to it.
    fn turn(&mut self, keys: &mut Vec<u64>, latest: Option<Moment>) {
        self.sleep(keys, latest);
        let now = self.engine.clock.now();
        self.read_mail(now);
        for key in keys.drain(..) {
            if key < FIRST_LINGERING {
                self.accept(key as usize, ACCEPTS_A_TURN, now);
            } else {
                self.parting.ready(key, &self.engine.gate);
            }
        }
        self.tick(now);
        self.expire(now);
        self.parting.expire(now, &self.engine.gate);
        self.resume(now);
        if let Err(error) = self.pool.grow(&self.engine) {
            log::error!("a worker thread could not be started: {error}");
        }
    }

    fn sleep(&mut self, keys: &mut Vec<u64>, latest: Option<Moment>) {
        let now = self.engine.clock.now();
        let tick = self.engine.inbox.ticking().then(|| now + nanos(TICK));
        let resume = self.pause.filter(|pause| pause.holds).map(|pause| pause.until);
        let due = [self.deadlines.due(), self.parting.due(), tick, resume, latest];
        let until = due.into_iter().flatten().min();
        let timeout = if self.engine.inbox.sleep(until) {
            Some(Duration::ZERO)
        } else {
            until.map(|until| Duration::from_nanos(until.saturating_sub(now)))
        };
        self.poller.wait(timeout, keys);
    }

    fn read_mail(&mut self, now: Moment) {
        let mail = self.engine.inbox.take();
        for number in mail.slots {
            // The mail may be about an earlier tenant of the slot: what is armed for this one
            // stays armed.
            let slot = self.engine.table.slot(number);
            self.deadlines.arm(number, slot.deadline().min(slot.armed()));
        }
        for lingering in mail.lingering {
            self.linger(lingering, now);
        }
    }

    fn linger(&mut self, lingering: Lingering, now: Moment) {
        let time = self.engine.options.linger_timeout;
        let time = if self.engine.stopping() { time.min(DRAIN_LINGER) } else { time };
        self.parting.add(lingering, now, time, &self.poller, &self.engine.gate);
    }

    /// Accepts at most `limit` clients of one listener; says how many came.
    fn accept(&mut self, number: usize, limit: usize, now: Moment) -> usize {
        // Another listener of this turn has found the machine out of something: the pause is of
        // all, and only `resume` ends it.
        if self.pause.is_some_and(|pause| pause.holds) {
            return 0;
        }
        for count in 0..limit {
            match self.listeners[number].accept() {
                Accepted::Client(socket, peer) => {
                    self.pause = None;
                    self.engine.gate.accepted[number].add(1);
                    self.admit(socket, peer, now);
                }
                Accepted::Nobody => return count,
                Accepted::Lost(errno) => {
                    let code = self.count_error(errno);
                    log::debug!(code; "a client was lost in accept: {errno}");
                }
                Accepted::Exhausted(errno) => {
                    self.count_error(errno);
                    self.hold(errno, now);
                    return count;
                }
            }
        }
        limit
    }

    /// Gives the client a slot and puts it into the run queue, or turns it away.
    fn admit(&mut self, socket: OwnedFd, peer: Peer, now: Moment) {
        let engine = &self.engine;
        let id = self.next_id;
        self.next_id += 1;
        log::log!(
            engine.options.connection_log, id, peer:%; "Accept new connection from {peer}..."
        );
        match engine.table.admit(Box::new(Connection::new(socket, id, peer, now))) {
            Ok(token) => {
                let slot = engine.table.slot(token.slot);
                let deadline = now + nanos(engine.options.idle_timeout);
                slot.set_armed(deadline);
                self.deadlines.arm(token.slot, deadline);
                engine.schedule.submit(&**engine, token);
            }
            Err(connection) => {
                engine.gate.rejected[Rejection::MaxConnections as usize].add(1);
                let reason = Rejection::MaxConnections.label();
                log::debug!(id, peer:%, reason; "Connection from {peer} refused.");
                let refused = Lingering::refused(connection.into_socket(), &self.busy_words);
                self.linger(refused, now);
            }
        }
    }

    fn count_error(&self, errno: Errno) -> &'static str {
        let error = match errno {
            Errno::MFILE => AcceptError::Emfile,
            Errno::NFILE => AcceptError::Enfile,
            Errno::NOBUFS => AcceptError::Enobufs,
            Errno::NOMEM => AcceptError::Enomem,
            Errno::CONNABORTED => AcceptError::Econnaborted,
            _ => AcceptError::Other,
        };
        self.engine.gate.accept_errors[error as usize].add(1);
        error.label()
    }

    /// Stops accepting for a while: the machine is out of something.
    fn hold(&mut self, errno: Errno, now: Moment) {
        let length = self.pause.map_or(PAUSE.0, |last| (last.length * 2).min(PAUSE.1));
        let fd = matches!(errno, Errno::MFILE | Errno::NFILE);
        let cause = if fd { PauseCause::Fd } else { PauseCause::Pressure };
        // Pauses come close together while it lasts; a line a second is enough.
        if self.complained_at.is_none_or(|at| now - at >= nanos(PAUSE.1)) {
            self.complained_at = Some(now);
            log::error!(cause = cause.label(); "accepting pauses for {length:?}: {errno}");
        }
        self.engine.gate.pauses[cause as usize].add(1);
        self.engine.gate.paused.start(now);
        self.pause = Some(Pause { until: now + nanos(length), length, holds: true });
        self.unwatch();
    }

    /// Takes the listeners out of the poller.
    fn unwatch(&self) {
        for listener in &self.listeners {
            if let Err(error) = self.poller.deregister(listener) {
                log::debug!("a listener was not in the poller: {error}");
            }
        }
    }

    /// Accepts again when the pause is over.
    fn resume(&mut self, now: Moment) {
        let Some(pause) = &mut self.pause else {
            return;
        };
        if !pause.holds || pause.until > now {
            return;
        }
        pause.holds = false;
        self.engine.gate.paused.stop(now);
        for (number, listener) in self.listeners.iter().enumerate() {
            if let Err(error) = self.poller.register(listener, number as u64) {
                log::error!("a listener could not be watched: {error}");
                pause.holds = true;
                pause.until = now + nanos(PAUSE.1);
                self.engine.gate.paused.start(now);
                return;
            }
        }
    }

    /// Polls for the workers while all of them are busy, and counts the time for which work
    /// waited meanwhile: what holds at a tick counts for the time since the last.
    fn tick(&mut self, now: Moment) {
        let engine = &*self.engine;
        if !engine.inbox.ticking() {
            return;
        }
        let saturated = engine.schedule.idle() == 0;
        if let Some(last) = self.ticked_at
            && saturated
            && engine.has_work()
        {
            engine.gate.saturated.add(now - last);
        }
        engine.schedule.sweep(engine, &mut self.signals);
        if saturated || self.ticked_at.is_none() {
            self.saturated_at = now;
        }
        self.ticked_at = Some(now);
        if now - self.saturated_at > nanos(TICK_FOR) {
            self.ticked_at = None;
            engine.inbox.set_ticking(false);
            // The last idle worker may have gone to work between the look and the flag.
            if engine.schedule.idle() == 0 {
                engine.inbox.set_ticking(true);
            }
        }
    }

    /// Closes parked connections that have waited too long.
    fn expire(&mut self, now: Moment) {
        let mut swept = false;
        while let Some(number) = self.deadlines.pop_due(now) {
            let engine = &*self.engine;
            let slot = engine.table.slot(number);
            let deadline = slot.deadline();
            if deadline > now {
                self.arm(number, deadline, now);
                continue;
            }
            // Bytes that wait in the socket are a reason not to close: after the process was
            // stopped for a while, for one, they are seen here first.
            if !swept {
                while engine.schedule.sweep(engine, &mut self.signals) {}
                swept = true;
            }
            if !self.close_if_overdue(number, now) {
                self.arm(number, now + nanos(LOOK_AGAIN), now);
            }
        }
    }

    /// Looks at the slot's deadline again at `moment`, or earlier if a worker has just set a
    /// nearer one: it sets the deadline and then looks at what is armed, we arm and then look at
    /// the deadline, so one of the two sees the other. A deadline that is over belongs to a
    /// connection that is served: its worker will set a new one.
    fn arm(&mut self, number: u32, mut moment: Moment, now: Moment) {
        let slot = self.engine.table.slot(number);
        slot.set_armed(moment);
        let deadline = slot.deadline();
        if deadline > now && deadline < moment {
            moment = deadline;
            slot.set_armed(moment);
        }
        self.deadlines.arm(number, moment);
    }

    /// Closes a connection if it is parked and past its deadline. No: it has to be looked at
    /// again.
    fn close_if_overdue(&self, number: u32, now: Moment) -> bool {
        let engine = &*self.engine;
        let slot = engine.table.slot(number);
        let Some((generation, wants)) = slot.cell.claim() else {
            return false;
        };
        let reason = slot.connection().as_mut().and_then(|connection| {
            let (deadline, reason) = engine.deadline(connection, now);
            // An idle deadline counts from the last hand-back, which only the slot knows.
            let deadline = if reason == Reason::Idle { slot.deadline() } else { deadline };
            (deadline <= now).then_some(reason)
        });
        match reason {
            Some(reason) => {
                engine.close(number, reason, &engine.gate.block);
                true
            }
            None => {
                if slot.cell.park(wants).is_err() {
                    slot.cell.requeue();
                    let token = Token { slot: number, generation };
                    engine.schedule.submit(engine, token);
                }
                false
            }
        }
    }

    /// Lets everyone in who waits, closes the listeners, and waits for what is owed.
    fn drain(mut self, keys: &mut Vec<u64>) -> Drain {
        let mut drain = Drain::begin(&self.engine);
        let now = self.engine.clock.now();
        self.pause = None;
        self.engine.gate.paused.stop(now);
        // A client in the kernel's queue would get a reset when its listener closes. An inherited
        // one stays open elsewhere, and the queue is for whoever serves it next.
        for number in 0..self.listeners.len() {
            if self.listeners[number].is_inherited() {
                continue;
            }
            while self.accept(number, ACCEPTS_A_TURN, now) == ACCEPTS_A_TURN {}
        }
        // What stays open elsewhere stays in an epoll that nobody took it out of.
        self.unwatch();
        self.listeners.clear();
        self.pause = None;
        self.engine.gate.paused.stop(now);
        self.parting.hurry(now);
        drain.call_all(&self.engine);
        while !drain.is_over(&self.engine, self.parting.is_empty()) {
            self.turn(keys, Some(drain.deadline()));
        }
        drain.cut(&self.engine);
        drain.finish(self.pool, &self.engine);
        drain
    }
}
