//! A connected socket, TCP or Unix, that reads up to a deadline. Knows no protocol.

use socket2::Socket;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Its reads fail with [`io::ErrorKind::TimedOut`] once the deadline is over, however many of
/// them it takes.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    deadline: Option<Instant>,
}

impl Stream {
    /// Holds for the reads from now on; `None`: they wait for as long as it takes.
    pub(super) fn set_deadline(&mut self, timeout: Option<Duration>) {
        // A deadline beyond what the clock can say is none.
        self.deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    }

    /// Limits the time that one write may be stuck.
    pub(super) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(timeout.map(settable))
    }

    /// Ends our side of the stream.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}

/// The kernel takes a timeout of zero for none.
fn settable(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self { socket: socket.into(), deadline: None }
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self { socket: OwnedFd::from(socket).into(), deadline: None }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(left.map(settable))?;
        self.socket.read(buffer).map_err(timed_out)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A blocking socket's timeout comes as `WouldBlock`.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}
