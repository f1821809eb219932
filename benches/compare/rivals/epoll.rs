//! The limit: one thread, one epoll, and nothing but what the job needs.
//!
//! Edge-triggered and registered once per connection; one read takes all that came, one write
//! carries all replies, and both buffers are shared by all connections. A connection owns memory
//! only while it holds half a line or unsent replies. No metrics, no limits, no timeouts: this is
//! what the kernel charges for the messages, and all servers are compared with it.
//!
//! Tried and no cheaper: level-triggered, and edge-triggered without `EPOLLOUT` (the same within
//! the noise); `read` and `write` for `recv` and `send` (up to a tenth dearer).

use super::{GREETING, answer};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

const BUFFER: usize = 64 << 10;
/// Measured with 64 to 1,024: no difference at 64 connections, the cheapest at 1,000.
const EVENTS: usize = 512;
/// The token of the listener; connections have their index.
const LISTENER: u64 = u64::MAX;

struct Connection {
    socket: OwnedFd,
    /// Half a line.
    partial: Vec<u8>,
    /// What the socket had no room for.
    unsent: Vec<u8>,
}

struct Server {
    listener: TcpListener,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    input: Vec<u8>,
    output: Vec<u8>,
}

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server = Server {
        listener,
        epoll,
        connections: Vec::new(),
        free: Vec::new(),
        input: vec![0; BUFFER],
        output: Vec::with_capacity(BUFFER),
    };
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&server.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => server.accept()?,
                token => server.serve(token as usize),
            }
        }
    }
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
            if send(&socket, GREETING, SendFlags::NOSIGNAL).is_err() {
                continue;
            }
            let index = self.free.pop().unwrap_or(self.connections.len());
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), interest)?;
            let connection = Connection { socket, partial: Vec::new(), unsent: Vec::new() };
            if index == self.connections.len() {
                self.connections.push(Some(connection));
            } else {
                self.connections[index] = Some(connection);
            }
        }
    }

    fn serve(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        if connection.turn(&mut self.input, &mut self.output).is_none() {
            self.connections[index] = None;
            self.free.push(index);
        }
    }
}

impl Connection {
    /// Reads, answers and writes until the socket has no more; `None` at the connection's end.
    #[inline]
    fn turn(&mut self, input: &mut [u8], output: &mut Vec<u8>) -> Option<()> {
        if !self.unsent.is_empty() {
            let sent = write(&self.socket, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        // While replies wait, nothing is read: the client has to take them first.
        while self.unsent.is_empty() {
            let length = match recv(&self.socket, &mut *input, RecvFlags::empty()) {
                Ok((_, 0)) => return None,
                Ok((_, length)) => length,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(_) => return None,
            };
            output.clear();
            let flow = answer(&mut self.partial, &input[..length], output);
            let sent = write(&self.socket, output)?;
            if sent < output.len() {
                self.unsent.extend_from_slice(&output[sent..]);
            }
            flow?;
            // A short read has emptied the socket; the end of the stream is an event of its own
            // or, if it came together with these bytes, is seen by the next read or write.
            if length < input.len() {
                break;
            }
        }
        Some(())
    }
}

/// Writes what the socket takes; `None` if it is broken.
#[inline]
fn write(socket: &OwnedFd, bytes: &[u8]) -> Option<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match send(socket, &bytes[sent..], SendFlags::NOSIGNAL) {
            Ok(length) => sent += length,
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(sent)
}
