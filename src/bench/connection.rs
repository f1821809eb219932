//! One connection's socket: opened, read and written without blocking. Knows no pace.

use super::exchange::{Broken, Exchange};
use super::pace::Turn;
use super::report::Tally;
use super::words::Words;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send,
    socket_with, sockopt,
};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// What epoll tells of a stream's end.
const ENDING: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum End {
    /// It was not made.
    NotMade(io::Error),
    Closed,
    Reset,
    Broken(Broken),
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) exchange: Exchange,
    /// When it was begun.
    pub(super) since: Instant,
    connected: bool,
    /// What the socket had no room for.
    unsent: Vec<u8>,
}

impl Connection {
    /// Begins to connect.
    pub(super) fn dial(
        target: SocketAddr,
        source: Option<IpAddr>,
        exchange: Exchange,
    ) -> io::Result<Self> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let Some(source) = source {
            bind(&socket, &SocketAddr::new(source, 0))?;
        }
        match connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let (since, unsent) = (Instant::now(), Vec::new());
        Ok(Self { socket, exchange, since, connected: false, unsent })
    }

    /// Whether it is connected and greeted.
    pub(super) fn is_ready(&self) -> bool {
        self.connected && self.exchange.greeted()
    }

    /// Takes note of events: finishes to connect, writes what is left over, reads until there is
    /// no more.
    pub(super) fn take(
        &mut self,
        events: EventFlags,
        words: &Words,
        input: &mut [u8],
        tally: &mut Tally,
    ) -> Result<(), End> {
        if !self.connected {
            if let Err(error) = sockopt::socket_error(&self.socket).and_then(|outcome| outcome) {
                return Err(End::NotMade(error.into()));
            }
            self.connected = events.contains(EventFlags::OUT);
        }
        if !self.unsent.is_empty() {
            let sent = self.write(&self.unsent)?;
            self.unsent.drain(..sent);
        }
        if !events.intersects(EventFlags::IN | ENDING) {
            return Ok(());
        }
        loop {
            let length = match recv(&self.socket, &mut *input, RecvFlags::empty()) {
                Ok((_, 0)) => return Err(End::Closed),
                Ok((_, length)) => length,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(_) => return Err(End::Reset),
            };
            self.exchange.hear(words, &input[..length], tally).map_err(End::Broken)?;
            // A short read has emptied the socket, and what comes later is a new edge; but the
            // end of the stream may have been part of this one.
            if length < input.len() && !events.intersects(ENDING) {
                return Ok(());
            }
        }
    }

    /// Sends a turn's messages, or as much of them as the socket takes; the rest follows.
    pub(super) fn ask(
        &mut self,
        turn: Turn,
        words: &Words,
        output: &mut Vec<u8>,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), End> {
        if !self.unsent.is_empty() {
            self.exchange.ask(words, turn, now, &mut self.unsent, tally);
            return Ok(());
        }
        output.clear();
        self.exchange.ask(words, turn, now, output, tally);
        let sent = self.write(output)?;
        self.unsent.extend_from_slice(&output[sent..]);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Writes as much as the socket takes.
    fn write(&self, bytes: &[u8]) -> Result<usize, End> {
        let mut sent = 0;
        while sent < bytes.len() {
            match send(&self.socket, &bytes[sent..], SendFlags::NOSIGNAL) {
                Ok(length) => sent += length,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => return Err(End::Reset),
            }
        }
        Ok(sent)
    }
}
