//! One connection of the load: what it has sent, and what it must get back.
//!
//! Every message is a name of its own: the connection's number and a count, in fixed width, so
//! that a reply that is lost, repeated, out of order or another client's is seen.

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const GREETING: &[u8] = b"Welcome!\n";
/// Hexadecimal digits of a name.
const NAME: usize = 12;
const BEFORE: &[u8] = b"Hello, ";
const AFTER: &[u8] = b"!\n";
const REPLY: usize = BEFORE.len() + NAME + AFTER.len();

/// Connects and reads the greeting.
pub(super) fn connect(target: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect_timeout(&target, patience)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(patience))?;
    let mut greeting = [0; GREETING.len()];
    socket.read_exact(&mut greeting)?;
    if greeting != GREETING {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not say `Welcome!`"));
    }
    Ok(socket)
}

pub(super) struct Client {
    socket: TcpStream,
    number: u32,
    /// The count of the next message to send, and of the next reply to come.
    sends: u32,
    expects: u32,
    /// When the messages under way were sent, in order.
    sent: VecDeque<Instant>,
    /// Not yet taken by the socket.
    output: Vec<u8>,
    /// The part of a reply that has come.
    partial: Vec<u8>,
    in_flight: usize,
    alive: bool,
}

impl Client {
    pub(super) fn new(socket: TcpStream, number: u32, in_flight: usize) -> Self {
        Self {
            socket,
            number,
            sends: 0,
            expects: 0,
            sent: VecDeque::with_capacity(in_flight),
            output: Vec::with_capacity(in_flight * (NAME + 1)),
            partial: Vec::new(),
            in_flight,
            alive: true,
        }
    }

    /// Sends as many messages as shall be under way.
    pub(super) fn send_first(&mut self, now: Instant) {
        for _ in 0..self.in_flight {
            self.compose(now);
        }
        self.flush();
    }

    /// Reads what has come, tells `reply` of each answer (when its message was sent; nothing for
    /// a wrong one), and sends the next messages with one write. Says whether the connection
    /// still stands; when it no longer does, that is said once.
    pub(super) fn serve(
        &mut self,
        room: &mut [u8],
        now: Instant,
        mut reply: impl FnMut(Option<Instant>),
    ) -> bool {
        if !self.alive {
            return true;
        }
        loop {
            match rustix::net::recv(&self.socket, &mut *room, RecvFlags::empty()) {
                Ok((0, _)) => self.alive = false,
                Ok((count, _)) => {
                    self.take(&room[..count], now, &mut reply);
                    if count == room.len() {
                        continue;
                    }
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(_) => self.alive = false,
            }
            break;
        }
        if !self.output.is_empty() {
            self.flush();
        }
        self.alive
    }

    /// Splits what was read into replies; they all have the same length.
    fn take(&mut self, mut bytes: &[u8], now: Instant, reply: &mut impl FnMut(Option<Instant>)) {
        if !self.partial.is_empty() {
            let (rest, later) = bytes.split_at(bytes.len().min(REPLY - self.partial.len()));
            self.partial.extend_from_slice(rest);
            bytes = later;
            if self.partial.len() < REPLY {
                return;
            }
            let whole = std::mem::take(&mut self.partial);
            self.check(&whole, now, reply);
        }
        let mut replies = bytes.chunks_exact(REPLY);
        for whole in &mut replies {
            self.check(whole, now, reply);
        }
        self.partial.extend_from_slice(replies.remainder());
    }

    fn check(&mut self, bytes: &[u8], now: Instant, reply: &mut impl FnMut(Option<Instant>)) {
        let sent = self.sent.pop_front();
        let name = name(self.number, self.expects);
        self.expects = self.expects.wrapping_add(1);
        let right = bytes.starts_with(BEFORE)
            && bytes[BEFORE.len()..].starts_with(&name)
            && bytes.ends_with(AFTER);
        reply(if right { sent } else { None });
        if sent.is_some() {
            self.compose(now);
        }
    }

    fn compose(&mut self, now: Instant) {
        self.output.extend_from_slice(&name(self.number, self.sends));
        self.output.push(b'\n');
        self.sends = self.sends.wrapping_add(1);
        self.sent.push_back(now);
    }

    /// Sends what is composed; what the socket does not take goes with the next event.
    fn flush(&mut self) {
        let mut gone = 0;
        while gone < self.output.len() {
            match rustix::net::send(&self.socket, &self.output[gone..], SendFlags::NOSIGNAL) {
                Ok(count) => gone += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    self.alive = false;
                    break;
                }
            }
        }
        self.output.drain(..gone);
    }
}

/// Twelve hexadecimal digits: four of the connection's number, eight of the message's.
fn name(number: u32, count: u32) -> [u8; NAME] {
    let bits = (u64::from(number & 0xffff) << 32) | u64::from(count);
    let mut name = [0; NAME];
    for (at, digit) in name.iter_mut().enumerate() {
        let nibble = (bits >> (4 * (NAME - 1 - at))) & 0xf;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
    name
}
