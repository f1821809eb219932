//! Connections to one server, and the loop that sends and reads on all of them.
//!
//! The loop is made to be cheaper than the cheapest server, so that it measures the server and
//! not itself: one epoll for all, edge-triggered and registered once; one read takes all that
//! came, one write carries all that is due. All that was announced at once is read, then the clock,
//! once, and then what is due is sent: so a latency is never too short, and too long by no more
//! than a few reads take.

use super::alarm::{ALARM, Alarm};
use super::connection::{Connection, End};
use super::exchange::{Broken, Exchange};
use super::pace::{Schedule, Turn};
use super::report::{Errors, Interval, Latency, Tally};
use super::words::Words;
use super::{Error, Load, Report, Share, Stop, limits};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One read: every reply that a connection can owe at the usual depths.
const READ: usize = 64 << 10;
/// Events that one wait may return. Few, so that a reply is timed soon after it was announced and
/// the server is kept supplied: with 512, a thousand connections cost the load a tenth more.
const EVENTS: usize = 64;
/// Connections that may be on their way at once: fewer than any server's backlog.
const DIALLING: usize = 100;
/// How long the loop sleeps at most: it looks whether to stop, and passes each second on.
const TICK: Duration = Duration::from_millis(100);

/// Open, greeted connections to one server, used by one thread.
///
/// Between two runs nothing is in flight, so that whoever measures the server from outside can
/// read its counters at rest.
#[derive(Debug)]
pub struct Session {
    load: Load,
    share: Share,
    sources: Vec<IpAddr>,
    words: Arc<Words>,
    epoll: OwnedFd,
    alarm: Alarm,
    /// The token of an event is the index here; `None` has ended.
    connections: Vec<Option<Connection>>,
    /// How many there will be.
    wanted: usize,
    /// How many can send.
    ready: usize,
    /// How many are on their way there.
    dialling: usize,
    /// What went wrong while connecting: part of the first report.
    errors: Errors,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What one run is to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) start: Instant,
    pub(super) warm_up: Duration,
    pub(super) stop: Stop,
}

impl Session {
    /// Opens the load's connections and reads each one's greeting. With a ramp they are opened by
    /// the first run. The load's threads are not used: a session is one. Blocks until they are
    /// open, each for as long as the load's patience.
    ///
    /// # Errors
    /// When the load is out of its bounds, or no connection is made and greeted in time. If only
    /// some are not, that is in the first report.
    pub fn connect(load: &Load) -> Result<Self, Error> {
        limits::check(load)?;
        Self::part(load, Share::WHOLE, &AtomicBool::new(false))
    }

    /// Opens one thread's part of the load's connections.
    pub(super) fn part(load: &Load, share: Share, cancel: &AtomicBool) -> Result<Self, Error> {
        let wanted = share.of_count(load.connections as u64) as usize;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(epoll_error)?;
        let mut session = Self {
            load: load.clone(),
            share,
            sources: limits::sources(load)?,
            words: Words::new(load),
            alarm: Alarm::new(&epoll).map_err(epoll_error)?,
            epoll,
            connections: Vec::with_capacity(wanted),
            wanted,
            ready: 0,
            dialling: 0,
            errors: Errors::default(),
            input: vec![0; READ],
            output: Vec::new(),
        };
        if load.ramp.is_zero() {
            let start = Instant::now();
            let window = Window { start, warm_up: Duration::ZERO, stop: Stop::Messages(0) };
            session.errors = session.drive(window, cancel, &mut drop)?;
            if session.ready == 0 && !cancel.load(Ordering::Relaxed) {
                let errors = Box::new(session.errors);
                return Err(Error::NotConnected {
                    connections: wanted,
                    target: load.target,
                    errors,
                });
            }
        }
        Ok(session)
    }

    /// Sends until `stop`, then waits for what is in flight, for each reply as long as the load's
    /// patience. Blocks until then.
    ///
    /// # Errors
    /// Only when epoll fails; whatever happens to messages and connections is in the report.
    pub fn run(&mut self, stop: Stop) -> Result<Report, Error> {
        let mut report = Report::new();
        let window = Window { start: Instant::now(), warm_up: Duration::ZERO, stop };
        let mut emit = |interval| report.add(&interval);
        let errors = self.drive(window, &AtomicBool::new(false), &mut emit)?;
        report.errors = errors;
        Ok(report)
    }

    /// Runs, and passes on each second that it has measured.
    pub(super) fn drive(
        &mut self,
        window: Window,
        cancel: &AtomicBool,
        emit: &mut dyn FnMut(Interval),
    ) -> Result<Errors, Error> {
        let mut run = Run::new(self, window);
        let mut events = Vec::with_capacity(EVENTS);
        run.now = Instant::now();
        loop {
            run.cancelled = cancel.load(Ordering::Relaxed);
            if run.cancelled {
                run.schedule.stop(run.now);
            }
            self.dial(&mut run)?;
            self.send_due(&mut run);
            self.sweep(&mut run);
            run.pass_on(emit);
            let Some(timeout) = self.wait(&run)? else { break };
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(epoll_error(error)),
            }
            for event in events.iter().filter(|event| event.data.u64() != ALARM) {
                self.step(event.data.u64() as usize, event.flags, &mut run);
            }
            run.settle();
        }
        Ok(self.end(run, emit))
    }

    /// Counts what was never sent or answered, and closes the connections that owe something.
    fn end(&mut self, mut run: Run, emit: &mut dyn FnMut(Interval)) -> Errors {
        run.tally.errors.unsent += run.schedule.abandon();
        run.pass_on_rest(emit);
        let mut errors = std::mem::take(&mut self.errors);
        errors.merge(run.tally.errors);
        errors
    }

    /// Whether there are connections to begin.
    fn has_to_dial(&self, run: &Run) -> bool {
        let in_time = self.load.ramp.is_zero() || !run.schedule.no_more(run.now);
        self.connections.len() < self.wanted && in_time && !run.cancelled
    }

    /// When the next connection is to be begun. They are the load's in turn with other threads'.
    fn dial_at(&self, run: &Run) -> Instant {
        let place = self.connections.len() * self.share.of + self.share.nth;
        run.start + self.load.ramp.mul_f64(place as f64 / self.load.connections as f64)
    }

    /// Begins the connections that are due.
    fn dial(&mut self, run: &mut Run) -> Result<(), Error> {
        while self.has_to_dial(run) && self.dialling < DIALLING && self.dial_at(run) <= run.now {
            let index = self.connections.len();
            let place = index * self.share.of + self.share.nth;
            let source = self.sources.get(place % self.sources.len().max(1)).copied();
            let exchange = Exchange::new(&self.words, place);
            let connection = match Connection::dial(self.load.target, source, exchange) {
                Ok(connection) => connection,
                Err(error) => {
                    self.connections.push(None);
                    run.count(End::NotMade(error), 0);
                    continue;
                }
            };
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, &connection.socket, EventData::new_u64(index as u64), interest)
                .map_err(epoll_error)?;
            self.connections.push(Some(connection));
            self.dialling += 1;
        }
        Ok(())
    }

    /// Sends what is due.
    fn send_due(&mut self, run: &mut Run) {
        let Self { connections, words, output, .. } = self;
        while let Some(turn) = run.schedule.next(run.now, |index| connections[index].is_some()) {
            let Turn { connection: index, .. } = turn;
            if let Some(connection) = &mut connections[index]
                && let Err(end) = connection.ask(turn, words, output, run.now, &mut run.tally)
            {
                run.count(end, connection.exchange.unanswered());
                connections[index] = None;
                self.ready -= 1;
            }
        }
    }

    /// Takes a connection's events.
    fn step(&mut self, index: usize, events: EventFlags, run: &mut Run) {
        let Some(connection) = &mut self.connections[index] else { return };
        let (was_ready, before) = (connection.is_ready(), connection.exchange.unanswered());
        let taken = connection.take(events, &self.words, &mut self.input, &mut run.tally);
        let unanswered = connection.exchange.unanswered();
        if before > unanswered {
            run.answered.push((index, before - unanswered));
        }
        if !was_ready && connection.is_ready() {
            self.dialling -= 1;
            self.ready += 1;
            run.schedule.ready(index, run.now);
        }
        if let Err(end) = taken {
            run.count(end, unanswered);
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        if let Some(connection) = self.connections[index].take() {
            *if connection.is_ready() { &mut self.ready } else { &mut self.dialling } -= 1;
        }
    }

    /// Gives up what has waited for longer than patience.
    fn sweep(&mut self, run: &mut Run) {
        if run.now < run.next_sweep {
            return;
        }
        run.next_sweep = run.now + TICK.min(self.load.patience / 4);
        let too_long = |since: Instant| run.now.duration_since(since) > self.load.patience;
        let mut given_up = Vec::new();
        for (index, connection) in self.connections.iter().enumerate() {
            let Some(connection) = connection else { continue };
            if !connection.is_ready() && too_long(connection.since) {
                run.tally.errors.timeout += 1;
                given_up.push(index);
            } else if connection.exchange.waiting_since().is_some_and(too_long) {
                run.tally.errors.missing += connection.exchange.unanswered() as u64;
                given_up.push(index);
            }
        }
        for index in given_up {
            self.close(index);
        }
        run.tally.errors.unsent += run.schedule.expire(run.now);
    }

    /// How long to wait for events, or `None` when the run is over.
    fn wait(&mut self, run: &Run) -> Result<Option<Timespec>, Error> {
        let has_to_dial = self.has_to_dial(run);
        let all_said = run.schedule.is_over(run.now) && run.tally.unanswered() == 0;
        let dialling = self.dialling > 0 && !run.cancelled;
        if !has_to_dial && !dialling && (all_said || self.ready == 0) {
            return Ok(None);
        }
        let mut wait = TICK.min(self.load.patience / 4);
        if let Some(until_due) = run.schedule.wait(run.now) {
            if until_due < wait && !until_due.is_zero() {
                self.alarm.set(run.now + until_due, run.now).map_err(epoll_error)?;
            }
            wait = wait.min(until_due);
        }
        if has_to_dial && self.dialling < DIALLING {
            wait = wait.min(self.dial_at(run).saturating_duration_since(run.now));
        }
        // Whole milliseconds, rounded up: what epoll takes. The alarm is exact.
        let millis = wait.as_nanos().div_ceil(1_000_000) as i64;
        Ok(Some(Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 }))
    }
}

/// One run's clock and counts.
struct Run {
    start: Instant,
    /// When the clock was last read.
    now: Instant,
    schedule: Schedule,
    tally: Tally,
    /// Connections that have got replies since the clock was read, and how many.
    answered: Vec<(usize, usize)>,
    /// The second that is being measured, from 0.
    second: u64,
    /// Errors before it.
    errors: u64,
    next_sweep: Instant,
    cancelled: bool,
}

impl Run {
    fn new(session: &Session, window: Window) -> Self {
        let Window { start, warm_up, stop } = window;
        let stop = match stop.part(session.share) {
            Stop::After(time) => Stop::After(time + warm_up),
            stop @ Stop::Messages(_) => stop,
        };
        let mut schedule = Schedule::new(&session.load, session.share, start, stop);
        for (index, connection) in session.connections.iter().enumerate() {
            if connection.as_ref().is_some_and(Connection::is_ready) {
                schedule.ready(index, start);
            }
        }
        Self {
            start,
            now: start,
            schedule,
            tally: Tally::new(start + warm_up),
            answered: Vec::with_capacity(EVENTS),
            second: 0,
            errors: 0,
            next_sweep: start,
            cancelled: false,
        }
    }

    /// Reads the clock, and takes what was answered until then.
    fn settle(&mut self) {
        self.now = Instant::now();
        self.tally.settle(self.now);
        for (index, messages) in self.answered.drain(..) {
            self.schedule.answered(index, messages, self.now);
        }
    }

    /// Counts a connection's end, and the messages that are lost with it.
    fn count(&mut self, end: End, unanswered: usize) {
        let errors = &mut self.tally.errors;
        errors.lost += unanswered as u64;
        match end {
            End::NotMade(error) => {
                errors.connect += 1;
                errors.note(|| error.to_string());
            }
            End::Closed => errors.closed += 1,
            End::Reset => errors.reset += 1,
            End::Broken(Broken::Refused) => errors.refused += 1,
            // Counted with the message; it is we who close.
            End::Broken(Broken::Endless) => {}
        }
    }

    /// Passes on the seconds that are over.
    fn pass_on(&mut self, emit: &mut dyn FnMut(Interval)) {
        while self.now >= self.tally.measured_from + Duration::from_secs(self.second + 1) {
            self.cut(Duration::from_secs(1), emit);
        }
    }

    /// Passes on what has been measured since, if that is anything.
    fn pass_on_rest(&mut self, emit: &mut dyn FnMut(Interval)) {
        self.pass_on(emit);
        let begun = self.tally.measured_from + Duration::from_secs(self.second);
        let is_empty = self.tally.latency.count() == 0 && self.tally.errors.total() == self.errors;
        if self.now > begun && (!is_empty || self.until() > begun) {
            self.cut(self.now - begun, emit);
        }
    }

    /// The load's end, as far as it has come, or the last reply if that is later.
    fn until(&self) -> Instant {
        let end = self.schedule.until().map_or(self.tally.last_reply, |until| until.min(self.now));
        end.max(self.tally.last_reply)
    }

    fn cut(&mut self, length: Duration, emit: &mut dyn FnMut(Interval)) {
        let errors = self.tally.errors.total();
        emit(Interval {
            second: self.second,
            length,
            latency: std::mem::replace(&mut self.tally.latency, Latency::new()),
            errors: errors - self.errors,
            until: self.until().saturating_duration_since(self.tally.measured_from),
        });
        self.second += 1;
        self.errors = errors;
    }
}

fn epoll_error(error: Errno) -> Error {
    Error::Epoll(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{MAX_IN_FLIGHT, Pace};
    use rustix::net::sockopt;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn what_the_socket_has_no_room_for_is_sent_later() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        sockopt::set_socket_recv_buffer_size(&listener, 4096).unwrap();
        let target = listener.local_addr().unwrap();
        let (go, gone) = mpsc::channel();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"Welcome!\n").unwrap();
            gone.recv().unwrap();
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                writeln!(stream, "Hello, {}!", line.unwrap()).unwrap();
            }
        });
        let load = Load { connections: 1, pace: Pace::closed(MAX_IN_FLIGHT), ..Load::new(target) };
        let mut session = Session::connect(&load).unwrap();
        let connection = session.connections[0].as_ref().unwrap();
        sockopt::set_socket_send_buffer_size(&connection.socket, 4096).unwrap();

        let start = Instant::now();
        let stop = Stop::Messages(MAX_IN_FLIGHT as u64);
        let mut run = Run::new(&session, Window { start, warm_up: Duration::ZERO, stop });
        session.send_due(&mut run);
        assert!(session.connections[0].as_ref().unwrap().has_unsent());
        go.send(()).unwrap();
        let mut events = Vec::with_capacity(EVENTS);
        while run.tally.unanswered() > 0 {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            epoll::wait(&session.epoll, spare, None).unwrap();
            for event in &events {
                session.step(event.data.u64() as usize, event.flags, &mut run);
            }
            run.settle();
        }
        assert_eq!(run.tally.right, MAX_IN_FLIGHT as u64);
        assert!(run.tally.errors.is_empty(), "{}", run.tally.errors);
        drop(session);
        server.join().unwrap();
    }
}
