//! Runs against a real server: messages that arrive at random, a handler that takes as long as a
//! seeded distribution says, and how long each message waited.
//!
//! Server, handler and clients are in this process, so that a wait is measured by one clock: from
//! when the message was due to when the handler began with it. Knows no formula.

use super::simulation::{Chance, Shape};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use welcomed::protocol::Framing;
use welcomed::server::{Address, Handle, Options, Report, Server};
use welcomed::service::{Context, Flow, Reply, Service, ServiceError};

/// A message takes the next of so many connections, which has long had its reply: so arrivals are
/// open, whatever the server does.
const CONNECTIONS: usize = 400;

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub workers: usize,
    pub arrivals_per_second: f64,
    pub service: Shape,
    pub service_seconds: f64,
    pub messages: usize,
    pub seed: u64,
}

/// What each message met, in order of arrival, in seconds.
#[derive(Debug, Default)]
pub struct Met {
    /// From when it was due to the handler.
    pub waits: Vec<f64>,
    /// In the handler.
    pub services: Vec<f64>,
    /// How long the run took.
    pub seconds: f64,
    /// CPU time of the process.
    pub cpu_seconds: f64,
}

/// A handler that takes its time and writes down when it began.
struct Timed {
    run: Run,
    start: Instant,
    /// By message, in nanoseconds since the start.
    began: Vec<AtomicU64>,
    took: Vec<AtomicU64>,
}

impl Service for Timed {
    fn call(
        &self,
        _: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        let began = self.start.elapsed();
        let number: usize = std::str::from_utf8(message)?.parse()?;
        // From the message's number alone, whoever serves it and when.
        let mut chance = Chance::new(self.run.seed ^ (number as u64).wrapping_mul(0x9e37_79b9));
        let seconds = self.run.service.sample(self.run.service_seconds, &mut chance);
        thread::sleep(Duration::from_secs_f64(seconds));
        let took = self.start.elapsed() - began;
        self.began[number].store(began.as_nanos() as u64, Ordering::Relaxed);
        self.took[number].store(took.as_nanos() as u64, Ordering::Relaxed);
        reply.push(b"done");
        Ok(Flow::Continue)
    }
}

/// A server in this process; its drop ends it.
pub struct Running {
    pub handle: Handle,
    thread: Option<JoinHandle<Report>>,
}

impl Running {
    pub fn start(workers: usize, service: impl Service) -> Result<Self, String> {
        let options = Options { workers, framing: Framing::Line, ..Options::default() };
        let wrong = |error: welcomed::server::Error| error.to_string();
        let builder = Server::builder().options(options).listen("127.0.0.1:0").map_err(wrong)?;
        let server = builder.build(service).map_err(wrong)?;
        let handle = server.handle();
        let run = move || server.run().unwrap_or_default();
        let thread = thread::Builder::new().name("accept".to_owned()).spawn(run);
        Ok(Self { handle, thread: Some(thread.map_err(|error| error.to_string())?) })
    }

    pub fn address(&self) -> Result<SocketAddr, String> {
        match &self.handle.local_addrs()[0] {
            Address::Tcp(address) => Ok(*address),
            other => Err(format!("{other} is no TCP address")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        // A panic of the accept loop was printed where it happened.
        self.thread.take().map(JoinHandle::join);
    }
}

/// Runs it.
pub fn run(run: Run) -> Result<Met, String> {
    let count = || (0..run.messages).map(|_| AtomicU64::new(0)).collect();
    let timed = Arc::new(Timed { run, start: Instant::now(), began: count(), took: count() });
    let server = Running::start(run.workers, Arc::clone(&timed))?;
    let mut clients = Clients::connect(server.address()?).map_err(|error| error.to_string())?;
    let cpu = cpu_seconds();
    let begin = timed.start.elapsed().as_secs_f64();
    let mut chance = Chance::new(run.seed);
    let mut due = Vec::with_capacity(run.messages);
    let mut at = begin;
    for number in 0..run.messages {
        at += chance.exponential() / run.arrivals_per_second;
        due.push(at);
        let left = at - timed.start.elapsed().as_secs_f64();
        if left > 0.0 {
            thread::sleep(Duration::from_secs_f64(left));
        }
        clients.send(number).map_err(|error| format!("message {number}: {error}"))?;
    }
    clients.finish(run.messages).map_err(|error| error.to_string())?;
    let seconds = |nanos: &AtomicU64| nanos.load(Ordering::Relaxed) as f64 / 1e9;
    Ok(Met {
        waits: timed.began.iter().zip(&due).map(|(at, due)| seconds(at) - due).collect(),
        services: timed.took.iter().map(seconds).collect(),
        seconds: at - begin,
        cpu_seconds: cpu_seconds() - cpu,
    })
}

/// Connections that are used in turn.
struct Clients {
    sockets: Vec<TcpStream>,
    replies: usize,
}

impl Clients {
    fn connect(server: SocketAddr) -> io::Result<Self> {
        let connect = |_| {
            let socket = TcpStream::connect(server)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let sockets = (0..CONNECTIONS).map(connect).collect::<io::Result<_>>()?;
        Ok(Self { sockets, replies: 0 })
    }

    fn send(&mut self, number: usize) -> io::Result<()> {
        let index = number % self.sockets.len();
        self.hear(index)?;
        self.sockets[index].write_all(format!("{number}\n").as_bytes())
    }

    /// Reads the replies that have come to a connection.
    fn hear(&mut self, index: usize) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.sockets[index].read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    self.replies += buffer[..length].iter().filter(|byte| **byte == b'\n').count();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the replies that are still owed.
    fn finish(&mut self, messages: usize) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.replies < messages {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{} of {messages} replies", self.replies)));
            }
            for index in 0..self.sockets.len() {
                self.hear(index)?;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// CPU time of this process so far.
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
