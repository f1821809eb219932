//! A connection: its socket, and what it keeps between two turns.
//!
//! Owned by one slot of the table. Does the non-blocking reads and writes for whoever has it, and
//! says when it has waited too long, and for what; knows no worker and no table.

use super::clock::{Moment, NEVER, nanos};
use super::close::Reason;
use super::input::Input;
use super::options::Options;
use super::per_ip::Seat;
use crate::protocol::Progress;
use crate::service::Peer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::any::Any;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One client.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    pub(super) id: u64,
    pub(super) peer: Peer,
    pub(super) opened: Moment,
    /// Not greeted and not in the poller yet.
    pub(super) fresh: bool,
    /// A short read does not mean that there is no more: the peer has ended its side or sent an
    /// urgent byte, as an event has told; or a descriptor, of which none tells, over a Unix socket.
    pub(super) stops_short: bool,
    /// The peer's end was read.
    pub(super) at_end: bool,
    /// It closes for this reason once its output is sent.
    pub(super) ending: Option<Reason>,
    /// Unread input; while parked, no more than half a message, but for a connection that owes
    /// output.
    pub(super) input: Input,
    pub(super) progress: Progress,
    /// It was parked with half a message ...
    pub(super) half: bool,
    /// ... for the first time then; else, when it was last parked.
    since: Moment,
    /// Output that the socket had no room for.
    output: Output,
    /// Why it is to end when it has had what it is owed, if it is.
    pub(super) leaving: Option<Reason>,
    /// Then: how much of the input arrived before that and is still to be read.
    pub(super) quota: u64,
    /// Its place among those of its address, if they are counted.
    pub(super) seat: Option<Box<Seat>>,
    /// The service's own state.
    pub(super) state: Option<Box<dyn Any + Send>>,
}

/// Unsent bytes, of which the first `sent` are gone.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    sent: usize,
    /// When the socket last took some.
    progress: Moment,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Bytes(usize),
    End,
    /// Nothing there now.
    Drained,
    Broken,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// All of it is with the kernel.
    All,
    /// The socket is full; the rest is kept.
    Partly,
    Broken,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, id: u64, peer: Peer, now: Moment) -> Self {
        Self {
            socket,
            id,
            peer,
            opened: now,
            fresh: true,
            stops_short: peer == Peer::Unix,
            at_end: false,
            ending: None,
            input: Input::default(),
            progress: Progress::default(),
            half: false,
            since: now,
            output: Output::default(),
            leaving: None,
            quota: u64::MAX,
            seat: None,
            state: None,
        }
    }

    /// It is to end: what has arrived by now is still answered, and no more, so that a client that
    /// keeps sending cannot hold it.
    pub(super) fn leave(&mut self, reason: Reason) {
        if self.leaving.is_none() {
            self.leaving = Some(reason);
            self.quota = self.unread_in_kernel();
        }
    }

    /// When it has been open for long enough.
    pub(super) fn expires(&self, options: &Options) -> Moment {
        let Some(age) = options.max_age else {
            return NEVER;
        };
        // Between 90 and 110 %. Clients that come together have numbers in sequence, which the
        // golden ratio spreads evenly (Knuth, TAOCP 3, 6.4).
        let spread = self.id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        let age = u128::from(nanos(age)) * u128::from(9 * 1024 + 2 * spread) / (10 * 1024);
        self.opened.saturating_add(u64::try_from(age).unwrap_or(u64::MAX))
    }

    /// It waits from now on; for room, its input is not what it waits for.
    pub(super) fn rests(&mut self, now: Moment) {
        if self.owes_output() {
            return;
        }
        if self.input.is_empty() || !self.half {
            self.since = now;
        }
        self.half = !self.input.is_empty();
    }

    /// When it has waited long enough.
    pub(super) fn deadline(&self, options: &Options) -> Moment {
        if self.owes_output() {
            return self.output.progress.saturating_add(nanos(options.write_timeout));
        }
        let timeout =
            if self.input.is_empty() { options.idle_timeout } else { options.message_timeout };
        self.since.saturating_add(nanos(timeout)).min(self.expires(options))
    }

    /// What it has waited for too long, now that its deadline has passed.
    pub(super) fn overdue(&self, options: &Options, now: Moment) -> Reason {
        if self.owes_output() {
            Reason::WriteTimeout
        } else if self.expires(options) <= now {
            Reason::MaxAge
        } else if self.input.is_empty() {
            Reason::Idle
        } else {
            Reason::ReadTimeout
        }
    }

    /// Whether input is there, whoever knows of it: asked before it is closed for waiting.
    pub(super) fn is_readable(&self) -> bool {
        let now = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
        // An error is no reason to wait on.
        poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], now).is_ok_and(|ready| ready > 0)
    }

    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Reads what is there into `room`, which is not empty.
    pub(super) fn read(&self, room: &mut [u8]) -> Read {
        loop {
            return match rustix::net::recv(&self.socket, &mut *room, RecvFlags::empty()) {
                Ok((0, _)) => Read::End,
                Ok((count, _)) => Read::Bytes(count),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Read::Drained,
                Err(_) => Read::Broken,
            };
        }
    }

    /// Sends `bytes`, and keeps what the socket does not take. Only while nothing is kept.
    /// Returns how many it took too.
    pub(super) fn write(&mut self, bytes: &[u8], now: Moment) -> (Written, usize) {
        debug_assert!(!self.owes_output(), "output is sent in order");
        let (written, count) = send(self.socket.as_fd(), bytes);
        if written == Written::Partly {
            self.output = Output { bytes: bytes[count..].to_vec(), sent: 0, progress: now };
        }
        (written, count)
    }

    /// Sends what is kept.
    pub(super) fn write_rest(&mut self, now: Moment) -> (Written, usize) {
        let output = &mut self.output;
        let (written, count) = send(self.socket.as_fd(), &output.bytes[output.sent..]);
        if count > 0 {
            output.sent += count;
            output.progress = now;
        }
        if written == Written::All {
            self.output = Output::default();
        }
        (written, count)
    }

    pub(super) fn owes_output(&self) -> bool {
        !self.output.bytes.is_empty()
    }

    /// Bytes that have arrived and were not read.
    pub(super) fn unread_in_kernel(&self) -> u64 {
        // A socket that cannot say has nothing that could be answered.
        rustix::io::ioctl_fionread(&self.socket).unwrap_or(0)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends until all is taken or the socket is full. A peer that is gone is `Broken`, not SIGPIPE.
pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> (Written, usize) {
    let mut sent = 0;
    while sent < bytes.len() {
        match rustix::net::send(socket, &bytes[sent..], SendFlags::NOSIGNAL) {
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return (Written::Partly, sent),
            Err(_) => return (Written::Broken, sent),
        }
    }
    (Written::All, sent)
}
