//! The load generator: many connections, each with a number of messages in flight, from one
//! thread; every reply is checked and timed.
//!
//! Closed loop: a connection sends its next message when a reply has come. Speaks the hello
//! service's protocol in `line` framing. Library code: prints nothing, and stops by itself.

mod client;

use client::Client;
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Room for one read: more than a connection has in flight.
const READ_SIZE: usize = 64 << 10;
/// The longest latency told apart.
const LONGEST: Duration = Duration::from_secs(60);
/// A server that neither greets nor answers for this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to do to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The server; a loopback address.
    pub target: SocketAddr,
    /// Connections held open.
    pub connections: usize,
    /// Messages that each connection keeps under way, at least 1.
    pub in_flight: usize,
    /// Time before the measured window.
    pub warm_up: Duration,
    /// Length of the measured window.
    pub duration: Duration,
}

/// A moment of a run, for a caller who measures something else beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The measured window begins.
    Begins,
    /// The measured window is over.
    Ends,
}

/// What came of it, within the measured window.
#[derive(Debug, Clone)]
pub struct Report {
    /// Replies that were right.
    pub messages: u64,
    /// Replies that were wrong, during the whole run.
    pub wrong: u64,
    /// Connections that the server ended, during the whole run.
    pub lost: u64,
    /// Length of the window.
    pub elapsed: Duration,
    latency: Histogram<u64>,
}

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target is somewhere else.
    #[error("{0} is not a loopback address, and load goes nowhere else")]
    NotLoopback(SocketAddr),
    /// A number is 0 that must not be.
    #[error("a load needs at least one connection and one message in flight")]
    Nothing,
    /// A connection could not be opened or greeted.
    #[error("connection {number} to {target}: {source}")]
    Connect {
        /// Which one, from 1.
        number: usize,
        /// Where to.
        target: SocketAddr,
        /// What was wrong.
        source: io::Error,
    },
    /// No reply came for ten seconds.
    #[error("the server has not answered for {} s", PATIENCE.as_secs())]
    Silent,
    /// The system refused something.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Report {
    /// The latency below which this share of the replies came: 0.5 is the median.
    #[must_use]
    pub fn latency(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(quantile))
    }

    /// Replies a second.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }
}

/// Opens the connections, loads the server, and closes them. `mark` is called at both ends of
/// the measured window. Blocks for warm-up and duration, and for as long as connecting takes.
///
/// # Errors
///
/// The target is not on loopback, a connection cannot be opened, or the server falls silent. A
/// wrong reply or a lost connection is no error but a count.
pub fn run(load: &Load, mark: impl FnMut(Mark)) -> Result<Report, Error> {
    if load.in_flight == 0 {
        return Err(Error::Nothing);
    }
    let sockets = connect(load.target, load.connections)?;
    Run::new(load, sockets)?.drive(mark)
}

/// Opens connections and waits for each one's greeting. Holding them is a load of its own: what
/// an idle connection costs.
///
/// # Errors
///
/// As [`run`].
pub fn connect(target: SocketAddr, connections: usize) -> Result<Vec<TcpStream>, Error> {
    if !target.ip().is_loopback() {
        return Err(Error::NotLoopback(target));
    }
    if connections == 0 {
        return Err(Error::Nothing);
    }
    let open = |number| {
        client::connect(target, PATIENCE).map_err(|source| Error::Connect {
            number,
            target,
            source,
        })
    };
    (1..=connections).map(open).collect()
}

/// A run under way.
struct Run<'a> {
    load: &'a Load,
    epoll: OwnedFd,
    clients: Vec<Client>,
    report: Report,
    /// Replies count from `Begins` to `Ends` only.
    measuring: bool,
}

impl<'a> Run<'a> {
    fn new(load: &'a Load, sockets: Vec<TcpStream>) -> Result<Self, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let mut clients = Vec::with_capacity(sockets.len());
        for (number, socket) in sockets.into_iter().enumerate() {
            socket.set_nonblocking(true)?;
            let key = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &socket, key, flags).map_err(io::Error::from)?;
            clients.push(Client::new(socket, number as u32, load.in_flight));
        }
        let latency = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3)
            .map_err(io::Error::other)?;
        let report = Report { messages: 0, wrong: 0, lost: 0, elapsed: Duration::ZERO, latency };
        Ok(Self { load, epoll, clients, report, measuring: false })
    }

    fn drive(mut self, mut mark: impl FnMut(Mark)) -> Result<Report, Error> {
        let start = Instant::now();
        let begin = start + self.load.warm_up;
        for client in &mut self.clients {
            client.send_first(start);
        }
        self.serve_until(begin)?;
        mark(Mark::Begins);
        self.measuring = true;
        let begun = Instant::now();
        self.serve_until(begun + self.load.duration)?;
        self.report.elapsed = begun.elapsed();
        mark(Mark::Ends);
        Ok(self.report)
    }

    /// Sends, receives and checks until `end`.
    fn serve_until(&mut self, end: Instant) -> Result<(), Error> {
        let mut events = Vec::with_capacity(64);
        let mut room = vec![0; READ_SIZE];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let patience = left.min(PATIENCE);
            let timeout = Timespec {
                tv_sec: patience.as_secs() as i64,
                tv_nsec: patience.subsec_nanos().into(),
            };
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(0) if patience == PATIENCE => return Err(Error::Silent),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            for event in &events {
                self.serve(event.data.u64() as usize, &mut room);
            }
            if self.report.lost as usize == self.clients.len() {
                return Err(Error::Silent);
            }
        }
    }

    fn serve(&mut self, number: usize, room: &mut [u8]) {
        let client = &mut self.clients[number];
        let (measuring, report) = (self.measuring, &mut self.report);
        let now = Instant::now();
        let mut wrong = 0;
        let alive = client.serve(room, now, |sent| match sent {
            Some(sent) if measuring => {
                report.messages += 1;
                let latency = now.saturating_duration_since(sent).as_nanos() as u64;
                report.latency.saturating_record(latency.max(1));
            }
            Some(_) => {}
            None => wrong += 1,
        });
        report.wrong += wrong;
        report.lost += u64::from(!alive);
    }
}

#[cfg(test)]
mod tests;
