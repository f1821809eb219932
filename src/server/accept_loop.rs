//! The accept loop: the one thread that lets clients in, keeps the time, and ends the server.
//!
//! Runs on the thread that called `Server::run`. Accepts and admits; closes what is past its
//! deadline; reads lingering sockets to their end; polls for the workers while all are busy;
//! starts workers that are missing; and drains. Sleeps without a tick when nothing is due.

use super::clock::{Moment, NEVER, nanos};
use super::close::Rejection;
use super::connection::Connection;
use super::deadlines::Deadlines;
use super::doors::Doors;
use super::drain::Drain;
use super::engine::Engine;
use super::linger::{DRAIN_LINGER, Lingering, Parting, most_lingering};
use super::listener::{Accepted, Listener};
use super::live::Seen;
use super::network::Network;
use super::options::{Options, Overload};
use super::panics::{discard, words};
use super::poller::LoopPoller;
use super::pool::Pool;
use super::schedule::{Floor, Signal};
use super::watchdog::Watchdog;
use crate::service::Peer;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Clients accepted from one listener before anything else is looked at.
const ACCEPTS_A_TURN: usize = 64;
/// While all workers are busy, how often the accept loop polls in their stead ...
const TICK: Duration = Duration::from_millis(5);
/// ... and for how long after it last saw them so.
const TICK_FOR: Duration = Duration::from_millis(100);
/// After the system refused a thread, how long until it is asked again.
const STAFF_AGAIN: Duration = Duration::from_secs(1);
/// Workers that have served nobody yet need less to end.
const AT_HOME: Duration = Duration::from_secs(1);
/// Keys of lingering sockets start here; below are the listeners' numbers.
const FIRST_LINGERING: u64 = 1 << 32;

/// What only the accept loop has.
pub(super) struct AcceptLoop {
    engine: Arc<Engine>,
    options: Seen<Options>,
    pool: Pool,
    /// The system refused a worker's thread: when to ask again.
    short_until: Option<Moment>,
    doors: Doors,
    poller: LoopPoller,
    deadlines: Deadlines,
    parting: Parting,
    /// What a client reads that is not admitted.
    busy_words: Vec<u8>,
    next_id: u64,
    watchdog: Watchdog,
    /// Called when every worker is stuck.
    on_stuck: Box<dyn Fn() + Send>,
    /// While the loop ticks: the last tick ...
    ticked_at: Option<Moment>,
    /// ... and the last one that saw all workers busy.
    saturated_at: Moment,
    signals: Vec<Signal>,
}

impl AcceptLoop {
    pub(super) fn new(
        engine: Arc<Engine>,
        listeners: Vec<Listener>,
        busy_words: Vec<u8>,
        on_stuck: Box<dyn Fn() + Send>,
    ) -> io::Result<Self> {
        let options = engine.options.seen();
        let poller = engine.inbox.poller()?;
        let doors = Doors::new(listeners, &poller)?;
        doors.tune(&options);
        let pool = Pool::new();
        let parting = Parting::new(most_lingering(options.max_connections), FIRST_LINGERING);
        if let Err(error) = pool.grow(&engine, &options.thread_prefix) {
            pool.finish(&engine, Instant::now() + AT_HOME);
            return Err(io::Error::new(error.kind(), format!("a worker's thread: {error}")));
        }
        Ok(Self {
            engine,
            options,
            pool,
            short_until: None,
            doors,
            poller,
            deadlines: Deadlines::default(),
            parting,
            busy_words,
            next_id: 1,
            watchdog: Watchdog::new(),
            on_stuck,
            ticked_at: None,
            saturated_at: 0,
            signals: Vec::with_capacity(16),
        })
    }

    /// Ends without having served.
    pub(super) fn dismiss(self) {
        self.pool.finish(&self.engine, Instant::now() + AT_HOME);
    }

    /// Serves until the drain is over. Says what it left undone.
    pub(super) fn run(mut self) -> Drain {
        let mut keys = Vec::with_capacity(64);
        self.engine.gate.open.store(true, Ordering::SeqCst);
        while !self.engine.stopping() {
            self.turn(&mut keys, None);
        }
        // Not ready any more, it goes on serving until a balancer has had time to notice.
        let until = self.engine.clock.now().saturating_add(nanos(self.options.drain_delay));
        while self.engine.clock.now() < until {
            self.turn(&mut keys, Some(until));
        }
        self.drain(&mut keys)
    }

    /// Sleeps until something happens, `latest` at the latest, and sees to it.
    fn turn(&mut self, keys: &mut Vec<u64>, latest: Option<Moment>) {
        self.sleep(keys, latest);
        let now = self.engine.clock.now();
        if let Some(old) = self.options.refresh(&self.engine.options) {
            self.retune(&old, now);
        }
        self.read_mail(now);
        for key in keys.drain(..) {
            if key < FIRST_LINGERING {
                self.accept(key as usize, ACCEPTS_A_TURN, now);
            } else {
                self.parting.ready(key, &self.engine.gate);
            }
        }
        self.tick(now);
        self.deadlines.expire(&self.engine, &self.options, now);
        self.parting.expire(now, &self.engine.gate);
        self.reopen(now);
        if self.watchdog.look(&self.engine, self.options.stuck_after, now) {
            self.tell_stuck();
        }
        self.staff(now);
    }

    fn tell_stuck(&self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(&self.on_stuck)) {
            log::error!("what is to be done about a stuck pool panicked: {}", words(&*panic));
            discard(panic);
        }
    }

    /// Starts the workers that are missing.
    fn staff(&mut self, now: Moment) {
        if self.short_until.is_some_and(|until| until > now) {
            return;
        }
        let grown = self.pool.grow(&self.engine, &self.options.thread_prefix);
        self.short_until = grown.is_err().then(|| now + nanos(STAFF_AGAIN));
        if let Err(error) = grown {
            log::error!("a worker thread could not be started: {error}");
        }
    }

    fn sleep(&mut self, keys: &mut Vec<u64>, latest: Option<Moment>) {
        let now = self.engine.clock.now();
        let tick = self.engine.inbox.ticking().then(|| now + nanos(TICK));
        let parts = [self.deadlines.due(), self.parting.due(), self.doors.due()];
        let due = parts.into_iter().chain([self.watchdog.due(), self.short_until, tick, latest]);
        let until = due.flatten().min();
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
            self.deadlines.told(&self.engine, number);
        }
        for lingering in mail.lingering {
            self.linger(lingering, now);
        }
    }

    fn linger(&mut self, lingering: Lingering, now: Moment) {
        let time = self.options.linger_timeout;
        let time = if self.engine.draining() { time.min(DRAIN_LINGER) } else { time };
        self.parting.add(lingering, now, time, &self.poller, &self.engine.gate);
    }

    /// Accepts at most `limit` clients of one listener.
    fn accept(&mut self, number: usize, limit: usize, now: Moment) {
        for _ in 0..limit {
            // Another listener of this turn may have shut the doors, which `reopen` alone opens.
            if !self.doors.let_in() || self.waits_for_place(now) {
                return;
            }
            match self.doors.accept(number, now, &self.poller, &self.engine.gate) {
                Accepted::Client(socket, peer) => self.admit(socket, peer, now),
                Accepted::Lost(_) => {}
                Accepted::Nobody | Accepted::Exhausted(_) => return,
            }
        }
    }

    fn is_full(&self) -> bool {
        self.engine.table.open() >= self.options.max_connections
    }

    /// Shuts the doors if clients shall wait and there is no place for one more.
    fn waits_for_place(&mut self, now: Moment) -> bool {
        if self.options.overload != Overload::Wait || self.engine.draining() || !self.is_full() {
            return false;
        }
        if self.engine.vacancy.await_one(|| self.is_full()) {
            return false;
        }
        self.doors.fill(now, &self.poller, &self.engine.gate);
        true
    }

    /// Opens the doors again when nothing stands against it any more. While clients wait for a
    /// place, those that find one are accepted first: in steady overload the listeners stay
    /// unwatched, and a place costs an accept and no more.
    fn reopen(&mut self, now: Moment) {
        // Whoever rang may not have been enough, after a reload that lowers the limit: then the
        // loop waits on, and says so again.
        let vacant = || {
            self.options.overload == Overload::Reject
                || !self.is_full()
                || self.engine.vacancy.await_one(|| self.is_full())
        };
        if self.doors.is_full() && vacant() {
            self.engine.vacancy.settle();
            self.doors.unfill();
            for number in self.doors.rotation() {
                self.accept(number, ACCEPTS_A_TURN, now);
            }
        }
        self.doors.reopen(now, &self.poller, &self.engine.gate);
    }

    /// Gives the client a slot and puts it into the run queue, or turns it away.
    fn admit(&mut self, socket: OwnedFd, peer: Peer, now: Moment) {
        let (engine, options) = (&self.engine, &self.options);
        let id = self.next_id;
        self.next_id += 1;
        log::log!(options.connection_log, id, peer:%; "Accept new connection from {peer}...");
        let mut connection = Box::new(Connection::new(socket, id, peer, now));
        let refused = match self.refusal(&mut connection) {
            Some(rejection) => Err((rejection, connection)),
            None => engine
                .table
                .admit(connection, options.max_connections)
                .map_err(|connection| (Rejection::MaxConnections, connection)),
        };
        match refused {
            Ok(token) => {
                let first = now.saturating_add(nanos(options.idle_timeout));
                self.deadlines.arm(engine, token.slot, first, now);
                engine.schedule.submit(&**engine, token);
            }
            Err((rejection, connection)) => {
                engine.gate.rejected[rejection as usize].add(1);
                let reason = rejection.label();
                log::debug!(id, peer:%, reason; "Connection from {peer} refused.");
                // Who is not wanted is not spoken to.
                if rejection != Rejection::Denied {
                    let refused = Lingering::refused(connection.into_socket(), &self.busy_words);
                    self.linger(refused, now);
                }
            }
        }
    }

    /// Why the client is not admitted, if it is not for want of a slot. Takes its seat.
    fn refusal(&self, connection: &mut Connection) -> Option<Rejection> {
        let options = &self.options;
        let Peer::Tcp(address) = connection.peer else {
            return None;
        };
        let listed = |networks| Network::any_contains(networks, connection.peer);
        if listed(&options.deny) || !(options.allow.is_empty() || listed(&options.allow)) {
            return Some(Rejection::Denied);
        }
        let limit = options.max_connections_per_ip?;
        connection.seat = self.engine.per_ip.take(address.ip(), limit);
        connection.seat.is_none().then_some(Rejection::PerIp)
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

    /// The options were replaced.
    fn retune(&mut self, old: &Options, now: Moment) {
        self.doors.tune(&self.options);
        if self.options.linger_timeout < old.linger_timeout {
            self.parting.hurry(now, self.options.linger_timeout);
        }
        self.deadlines.retune(&self.engine, old, &self.options, now);
    }

    /// Lets everyone in who waits, closes the listeners, and waits for what is owed.
    fn drain(mut self, keys: &mut Vec<u64>) -> Drain {
        let mut drain = Drain::begin(&self.engine, &self.options);
        let now = self.engine.clock.now();
        self.doors.release(now, &self.engine.gate);
        // A client in the kernel's queue would get a reset when its listener closes. Whoever is
        // behind a full queue has come after the stop.
        let backlog = self.options.backlog as usize + 1;
        for number in self.doors.own() {
            self.accept(number, backlog, now);
        }
        self.doors.close(now, &self.poller, &self.engine.gate);
        self.parting.hurry(now, DRAIN_LINGER);
        drain.call_all(&self.engine);
        while !drain.is_over(&self.engine, self.parting.is_empty()) {
            self.turn(keys, Some(drain.deadline()));
        }
        drain.cut(&self.engine, &self.options);
        // Those that linger yet are cut too, and counted.
        self.read_mail(now);
        self.parting.expire(NEVER, &self.engine.gate);
        drain.finish(self.pool, &self.engine);
        drain
    }
}
