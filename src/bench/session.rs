//! Connections to one server, and the loop that sends and reads on all of them.
//!
//! The loop is made to be cheaper than the cheapest server, so that it measures the server and
//! not itself: one epoll for all, edge-triggered and registered once; one read takes all that
//! came, one write carries all that is due, and the clock is read once for both.

use super::exchange::{Exchange, Tally};
use super::{Error, Load, MAX_CONNECTIONS, MAX_IN_FLIGHT, Pace, Report, Stop};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// One read: every reply that a connection can owe at the usual depths.
const READ: usize = 64 << 10;
/// Events that one wait may return. Few, so that a reply is read soon after it was announced and
/// the server is kept supplied: with 512, a thousand connections cost the load a tenth more.
const EVENTS: usize = 64;
const GREETING: &[u8] = b"Welcome!";
/// The longest first line that is read to its end.
const LONGEST_GREETING: usize = 256;

/// Open, greeted connections to one server.
///
/// Between two runs nothing is in flight, so that whoever measures the server from outside can
/// read its counters at rest.
#[derive(Debug)]
pub struct Session {
    pace: Pace,
    patience: Duration,
    epoll: OwnedFd,
    /// The token of an event is the index here; `None` has ended.
    connections: Vec<Option<Connection>>,
    /// How many have not.
    open: usize,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Session {
    /// Opens the load's connections, one after the other, and reads each one's greeting.
    ///
    /// # Errors
    /// When the load is out of its bounds or a connection is not made and greeted in time.
    pub fn connect(load: &Load) -> Result<Self, Error> {
        let Pace::Closed { in_flight } = load.pace;
        if !load.target.ip().to_canonical().is_loopback() {
            return Err(Error::NotLoopback(load.target));
        }
        if !(1..=MAX_CONNECTIONS).contains(&load.connections) {
            return Err(Error::Connections(load.connections));
        }
        if !(1..=MAX_IN_FLIGHT).contains(&in_flight) {
            return Err(Error::InFlight(in_flight));
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(epoll_error)?;
        let mut session = Self {
            pace: load.pace,
            patience: load.patience,
            epoll,
            connections: Vec::with_capacity(load.connections),
            open: 0,
            input: vec![0; READ],
            output: Vec::new(),
        };
        for index in 0..load.connections {
            session.open(index, load)?;
        }
        Ok(session)
    }

    /// Sends until `stop`, then waits for what is in flight.
    ///
    /// # Errors
    /// Only when epoll fails; whatever happens to messages and connections is in the report.
    pub fn run(&mut self, stop: Stop) -> Result<Report, Error> {
        let start = Instant::now();
        let mut run = Run::new(stop, start);
        for index in 0..self.connections.len() {
            run.now = Instant::now();
            self.step(index, EventFlags::empty(), &mut run);
        }
        self.drive(&mut run)?;
        self.give_up(&mut run.tally);
        let Run { tally, last_reply, .. } = run;
        Ok(Report {
            messages: tally.right,
            errors: tally.errors,
            elapsed: last_reply - start,
            latency: tally.latency,
        })
    }

    /// Reads and sends until the run is over.
    fn drive(&mut self, run: &mut Run) -> Result<(), Error> {
        let mut events = Vec::with_capacity(EVENTS);
        while self.open > 0
            && let Some(timeout) = run.wait(self.patience)
        {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(epoll_error(error)),
            }
            run.now = Instant::now();
            for event in &events {
                self.step(event.data.u64() as usize, event.flags, run);
            }
        }
        Ok(())
    }

    fn open(&mut self, index: usize, load: &Load) -> Result<(), Error> {
        let (nth, of, target) = (index + 1, load.connections, load.target);
        let connect = |source| Error::Connect { nth, of, target, source };
        let (stream, first_line) = greeted(target, load.patience).map_err(connect)?;
        if first_line != GREETING {
            let got = String::from_utf8_lossy(&first_line).into_owned();
            return Err(Error::Greeting { nth, of, target, got });
        }
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), interest)
            .map_err(epoll_error)?;
        let exchange = Exchange::new(index);
        self.connections.push(Some(Connection { stream, exchange, unsent: Vec::new() }));
        self.open += 1;
        Ok(())
    }

    /// Reads what a connection has, if anything, and sends what is due.
    fn step(&mut self, index: usize, events: EventFlags, run: &mut Run) {
        let Some(connection) = &mut self.connections[index] else { return };
        let before = run.tally.unanswered();
        let mut open = connection.read(events, &mut self.input, run);
        if run.tally.unanswered() != before {
            run.last_reply = run.now;
        }
        if open {
            open = connection.send(self.pace, &mut self.output, run);
        }
        if !open {
            run.tally.errors.lost += connection.exchange.unanswered() as u64;
            run.tally.errors.hung_up += 1;
            self.connections[index] = None;
            self.open -= 1;
        }
    }

    /// Counts what was never answered, and closes the connections it was sent on.
    fn give_up(&mut self, tally: &mut Tally) {
        for place in &mut self.connections {
            let unanswered = place.as_ref().map_or(0, |open| open.exchange.unanswered());
            if unanswered > 0 {
                tally.errors.missing += unanswered as u64;
                *place = None;
                self.open -= 1;
            }
        }
    }
}

/// One run's clock and counts.
struct Run {
    stop: Stop,
    start: Instant,
    /// When the clock was last read.
    now: Instant,
    /// When a reply last came.
    last_reply: Instant,
    tally: Tally,
}

impl Run {
    fn new(stop: Stop, start: Instant) -> Self {
        Self { stop, start, now: start, last_reply: start, tally: Tally::new() }
    }

    /// How many messages may still be sent.
    fn allowance(&self) -> u64 {
        self.stop.allows(self.now - self.start, self.tally.sent)
    }

    /// How long to wait for events, or `None` when the run is over.
    fn wait(&self, patience: Duration) -> Option<Timespec> {
        if self.tally.unanswered() == 0 && self.allowance() == 0 {
            return None;
        }
        let left = patience.saturating_sub(self.now - self.last_reply);
        if left.is_zero() {
            return None;
        }
        let until_stop = self.stop.remaining(self.now - self.start);
        let wait = until_stop.filter(|time| !time.is_zero()).map_or(left, |time| time.min(left));
        // Whole milliseconds, rounded up: what every kernel's epoll takes.
        let millis = wait.as_nanos().div_ceil(1_000_000) as i64;
        Some(Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 })
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    exchange: Exchange,
    /// What the socket had no room for.
    unsent: Vec<u8>,
}

impl Connection {
    /// Reads until there is no more; false at the connection's end.
    fn read(&mut self, events: EventFlags, input: &mut [u8], run: &mut Run) -> bool {
        let ending = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if !events.intersects(EventFlags::IN | ending) {
            return true;
        }
        loop {
            let length = match recv(&self.stream, &mut *input, RecvFlags::empty()) {
                Ok((_, 0)) => return false,
                Ok((_, length)) => length,
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => continue,
                Err(_) => return false,
            };
            run.now = Instant::now();
            if self.exchange.hear(&input[..length], run.now, &mut run.tally).is_err() {
                return false;
            }
            // A short read has emptied the socket, and what comes later is a new edge; but the
            // end of the stream may have been part of this one.
            if length < input.len() && !events.intersects(ending) {
                return true;
            }
        }
    }

    /// Sends what is due; false if the connection takes nothing any more.
    fn send(&mut self, pace: Pace, output: &mut Vec<u8>, run: &mut Run) -> bool {
        let due = pace.due(self.exchange.unanswered()) as u64;
        let count = due.min(run.allowance()) as usize;
        if count > 0 && self.unsent.is_empty() {
            output.clear();
            self.exchange.ask(count, run.now, output, &mut run.tally);
            return match self.write(output) {
                Ok(length) => {
                    self.unsent.extend_from_slice(&output[length..]);
                    true
                }
                Err(_) => false,
            };
        }
        if count > 0 {
            self.exchange.ask(count, run.now, &mut self.unsent, &mut run.tally);
        }
        if self.unsent.is_empty() {
            return true;
        }
        let sent = self.write(&self.unsent);
        sent.map(|length| drop(self.unsent.drain(..length))).is_ok()
    }

    /// Writes as much as the socket takes.
    fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match send(&self.stream, &bytes[sent..], SendFlags::NOSIGNAL) {
                Ok(length) => sent += length,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }
}

/// Connects and reads the first line, without its newline, or as much of it as a greeting may
/// have. The stream does not block any more.
fn greeted(target: SocketAddr, patience: Duration) -> io::Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&target, patience)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = Vec::new();
    let mut buffer = [0; LONGEST_GREETING];
    while !line.ends_with(b"\n") && line.len() < LONGEST_GREETING {
        // A server says nothing after its greeting, so that whatever comes belongs to it.
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the server hung up before its greeting")),
            Ok(length) => line.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let message = format!("no greeting within {patience:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            Err(error) => return Err(error),
        }
    }
    if line.ends_with(b"\n") {
        line.pop();
    }
    stream.set_nonblocking(true)?;
    Ok((stream, line))
}

fn epoll_error(error: Errno) -> Error {
    Error::Epoll(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let pace = Pace::Closed { in_flight: MAX_IN_FLIGHT };
        let load = Load { connections: 1, pace, ..Load::new(target) };
        let mut session = Session::connect(&load).unwrap();
        let connection = session.connections[0].as_ref().unwrap();
        sockopt::set_socket_send_buffer_size(&connection.stream, 4096).unwrap();

        let mut run = Run::new(Stop::Messages(2 * MAX_IN_FLIGHT as u64), Instant::now());
        session.step(0, EventFlags::empty(), &mut run);
        assert!(!session.connections[0].as_ref().unwrap().unsent.is_empty());
        go.send(()).unwrap();
        session.drive(&mut run).unwrap();

        assert_eq!(run.tally.right, 2 * MAX_IN_FLIGHT as u64);
        assert!(run.tally.errors.is_empty(), "{}", run.tally.errors);
        drop(session);
        server.join().unwrap();
    }
}
