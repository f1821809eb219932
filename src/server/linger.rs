//! Lingering closes: reading and throwing away what a client still sends after we have ended.
//!
//! A socket that is closed with unread input answers with a reset, and a reset makes the
//! client's kernel drop replies the client has not read. So our side ends with a shutdown, and
//! the rest is read until the client ends too, within bounds of time, bytes and number. The accept
//! loop does that; a worker only hands it the socket.

use super::clock::{Moment, nanos};
use super::close::Reason;
use super::connection::send;
use super::gate::Gate;
use super::poller::LoopPoller;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Sockets that linger at a time: as many as may be open, but no fewer than a small crowd that is
/// refused at once, and no more than this. One more cuts the oldest.
pub(crate) const LINGERING: RangeInclusive<usize> = 64..=1024;
/// How many may linger in a server of so many connections.
pub(crate) fn most_lingering(max_connections: usize) -> usize {
    max_connections.clamp(*LINGERING.start(), *LINGERING.end())
}

/// Bytes thrown away for one socket.
const MAX_BYTES: usize = 4 << 20;
/// Longest linger during a drain.
pub(super) const DRAIN_LINGER: Duration = Duration::from_millis(500);

/// A socket whose connection is over.
#[derive(Debug)]
pub(super) struct Lingering {
    socket: OwnedFd,
    /// Of an admitted connection, which is counted as lingering, and as closed when the socket is;
    /// a refused one is counted already.
    pub(super) reason: Option<Reason>,
    until: Moment,
    left: usize,
}

impl Lingering {
    pub(super) fn new(socket: OwnedFd, reason: Option<Reason>) -> Self {
        Self { socket, reason, until: 0, left: MAX_BYTES }
    }

    /// Tells a client why it is not admitted, as far as its socket takes it at once.
    pub(super) fn refused(socket: OwnedFd, words: &[u8]) -> Self {
        send(socket.as_fd(), words);
        // An error here means that the peer is gone; the linger will find out.
        rustix::net::shutdown(&socket, Shutdown::Write).ok();
        Self::new(socket, None)
    }

    /// Throws away what has come. Says whether that was all there will be.
    fn discard(&mut self, scratch: &mut [u8]) -> bool {
        while self.left > 0 {
            match rustix::net::recv(&self.socket, &mut *scratch, RecvFlags::empty()) {
                Ok((0, _)) => return true,
                Ok((count, _)) => self.left = self.left.saturating_sub(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => return true,
            }
        }
        true
    }
}

/// The accept loop's lingering sockets, oldest first: all wait equally long, so the oldest is
/// also the first to be due.
#[derive(Debug)]
pub(super) struct Parting {
    sockets: BTreeMap<u64, Lingering>,
    most: usize,
    next: u64,
    scratch: Vec<u8>,
}

impl Parting {
    /// Of at most `most` sockets. `first` is the first of the keys that they are registered with.
    pub(super) fn new(most: usize, first: u64) -> Self {
        Self { sockets: BTreeMap::new(), most, next: first, scratch: vec![0; 16 << 10] }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// When the next one is over.
    pub(super) fn due(&self) -> Option<Moment> {
        self.sockets.first_key_value().map(|(_, oldest)| oldest.until)
    }

    /// Takes a socket in for `time`.
    pub(super) fn add(
        &mut self,
        mut lingering: Lingering,
        now: Moment,
        time: Duration,
        poller: &LoopPoller,
        gate: &Gate,
    ) {
        lingering.until = now.saturating_add(nanos(time));
        if lingering.discard(&mut self.scratch)
            || poller.register(&lingering.socket, self.next).is_err()
        {
            end(lingering, gate);
            return;
        }
        self.sockets.insert(self.next, lingering);
        self.next += 1;
        if self.sockets.len() > self.most {
            self.cut_oldest(gate);
        }
    }

    /// A socket has input or its end.
    pub(super) fn ready(&mut self, key: u64, gate: &Gate) {
        let Some(lingering) = self.sockets.get_mut(&key) else {
            return;
        };
        if lingering.discard(&mut self.scratch)
            && let Some(done) = self.sockets.remove(&key)
        {
            end(done, gate);
        }
    }

    /// Cuts those whose time is over.
    pub(super) fn expire(&mut self, now: Moment, gate: &Gate) {
        while self.due().is_some_and(|due| due <= now) {
            self.cut_oldest(gate);
        }
    }

    /// From now on none lingers for longer than `time`.
    pub(super) fn hurry(&mut self, now: Moment, time: Duration) {
        let latest = now.saturating_add(nanos(time));
        for lingering in self.sockets.values_mut() {
            lingering.until = lingering.until.min(latest);
        }
    }

    fn cut_oldest(&mut self, gate: &Gate) {
        if let Some((_, oldest)) = self.sockets.pop_first() {
            end(oldest, gate);
        }
    }
}

/// Closes the socket, which takes it out of the poller too, and counts the connection.
fn end(lingering: Lingering, gate: &Gate) {
    if let Some(reason) = lingering.reason {
        gate.block.closed[reason as usize].add(1);
        gate.lingering.fetch_sub(1, Ordering::SeqCst);
    }
}
