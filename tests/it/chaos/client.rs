//! Carries out a plan on a real connection and writes down what it sees. Judges nothing.

use super::plan::{Leaves, Plan, Road};
use super::transcript::{End, Moment, Transcript, Wrote};
use crate::faults::base::reset;
use socket2::{Domain, Socket, Type};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Messages in one write, at most.
const BATCH: usize = 32;

/// What all clients know.
#[derive(Clone, Copy)]
pub struct World {
    pub server: SocketAddr,
    /// The run's beginning.
    pub began: Instant,
    /// How long a client waits for anything.
    pub patience: Duration,
}

impl World {
    pub fn now(&self) -> Moment {
        self.began.elapsed()
    }

    /// Does what the plan says, to the connection's end.
    pub fn visit(&self, plan: Plan) -> Transcript {
        let connected = self.now();
        let mut seen = Transcript {
            plan,
            connected,
            wrote: Wrote::default(),
            heard: Vec::new(),
            rest: String::new(),
            end: End::Left,
            ended: connected,
        };
        match self.connect(seen.plan.road) {
            Ok(socket) => self.talk(&mut seen, socket),
            Err(error) => seen.end = End::Failed(format!("connect: {error}")),
        }
        seen.ended = self.now();
        seen
    }

    fn connect(&self, road: Road) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if road == Road::Narrow {
            socket.set_recv_buffer_size(4096)?;
        }
        let to = if let Road::Relay(relay, _) = road { relay } else { self.server };
        socket.connect_timeout(&to.into(), self.patience)?;
        socket.set_read_timeout(Some(self.patience))?;
        socket.set_write_timeout(Some(self.patience))?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }

    /// One thread writes and one reads: neither side ever waits for the other to do both.
    fn talk(&self, seen: &mut Transcript, socket: TcpStream) {
        let (grant, permits) = channel();
        for _ in 0..seen.plan.window {
            // The receiver is here.
            grant.send(()).ok();
        }
        let plan = seen.plan.clone();
        thread::scope(|scope| {
            let writer = scope.spawn(|| self.write(&plan, &socket, permits));
            seen.end = self.read(seen, &socket, grant);
            seen.wrote = writer.join().unwrap();
        });
        if matches!(plan.leaves, Leaves::Resetting { .. }) {
            reset(socket);
        }
    }

    /// Sends as many messages as there are permits, until there will be no more of either.
    fn write(&self, plan: &Plan, mut socket: &TcpStream, permits: Receiver<()>) -> Wrote {
        let mut wrote = Wrote::default();
        let mut write = |wrote: &mut Wrote, text: &str| {
            let result = socket.write_all(text.as_bytes());
            wrote.bytes.0 += if result.is_ok() { text.len() } else { 0 };
            wrote.bytes.1 += text.len();
            result.is_ok()
        };
        while wrote.sent.len() < plan.messages.len() {
            // Who reads has gone.
            let Ok(()) = permits.recv() else { return wrote };
            let more = permits.try_iter().take(BATCH - 1).count();
            let batch = plan.messages[wrote.sent.len()..].iter().take(1 + more);
            let lines: Vec<String> = batch.map(|message| message.line()).collect();
            let succeeded = write(&mut wrote, &lines.concat());
            wrote.sent.extend(lines.iter().map(|_| self.now()));
            if !succeeded {
                return wrote;
            }
        }
        if plan.half && !write(&mut wrote, "half a mess") {
            return wrote;
        }
        if plan.leaves == Leaves::HalfClosing && socket.shutdown(Shutdown::Write).is_ok() {
            wrote.finished = Some(self.now());
        }
        wrote
    }

    /// Reads lines until the end, the server's or its own; every line permits another message.
    fn read(&self, seen: &mut Transcript, socket: &TcpStream, grant: Sender<()>) -> End {
        let narrow = seen.plan.road == Road::Narrow;
        let mut reader = BufReader::with_capacity(if narrow { 2048 } else { 8192 }, socket);
        loop {
            let count = seen.heard.len();
            match seen.plan.leaves {
                Leaves::Closing if count == seen.plan.messages.len() => return End::Left,
                Leaves::Resetting { after } if count >= after => return End::Left,
                _ => {}
            }
            let mut line = Vec::new();
            let result = reader.read_until(b'\n', &mut line);
            if line.pop_if(|last| *last == b'\n').is_some() {
                seen.heard.push((String::from_utf8_lossy(&line).into_owned(), self.now()));
                // A writer that has sent all has gone.
                grant.send(()).ok();
                if narrow {
                    thread::sleep(Duration::from_millis(1)); // a slow reader is what it is
                }
                continue;
            }
            seen.rest = String::from_utf8_lossy(&line).into_owned();
            return match result {
                Ok(_) => End::Clean,
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionReset => End::Reset,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => End::TimedOut,
                    _ => End::Failed(format!("read: {error}")),
                },
            };
        }
    }
}
