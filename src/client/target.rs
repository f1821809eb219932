//! Whom to connect to, and the attempts to do so. Knows no protocol.

use super::stream::Stream;
use crate::dial::{self, Deadline};
use crate::protocol::ParseError;
use crate::server::Address;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

/// Between two looks whether there is room in a queue.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A server to connect to: `127.0.0.1:9999`, `[::1]:9999`, `localhost:9999` or
/// `unix:/run/welcomed.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address that needs no look-up.
    Address(Address),
    /// A host's name and a port. It may have several addresses; each is tried.
    Host(String, u16),
}

impl Target {
    /// Connects to the first address that answers before the deadline.
    pub(super) fn connect(&self, deadline: &Deadline) -> Result<Stream, ConnectError> {
        let socket = match self {
            Self::Address(Address::Unix(path)) => {
                return connect_unix(path, deadline)
                    .map(Stream::from)
                    .map_err(|error| ConnectError(format!("cannot connect to {self}: {error}")));
            }
            Self::Address(Address::Tcp(address)) => {
                dial::first_of(vec![*address], &address.to_string(), deadline)
            }
            Self::Host(name, port) => dial::tcp(name, *port, deadline),
        };
        let socket = socket.map_err(|error| ConnectError(error.to_string()))?;
        // A name is one small segment: waiting for more to send with it helps nobody. Without it
        // the conversation is slower, not wrong.
        socket.set_nodelay(true).ok();
        Ok(socket.into())
    }
}

/// A Unix socket's connect is done at once, or waits for room in the server's queue, which the
/// kernel bounds by no time.
fn connect_unix(path: &Path, deadline: &Deadline) -> io::Result<UnixStream> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    while let Err(error) = socket.connect(&address) {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error);
        }
        if deadline.left().is_err() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(LOOK_AGAIN);
    }
    socket.set_nonblocking(false)?;
    Ok(OwnedFd::from(socket).into())
}

/// What was tried in vain: the addresses, and what the last of them said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.starts_with("unix:") || text.parse::<SocketAddr>().is_ok() {
            return text.parse().map(Self::Address);
        }
        let host =
            text.rsplit_once(':').filter(|(name, _)| !name.is_empty() && !name.contains(':'));
        host.and_then(|(name, port)| Some(Self::Host(name.to_owned(), port.parse().ok()?)))
            .ok_or_else(|| {
                format!(
                    "`{text}` is not an address; allowed are `127.0.0.1:9999`, `[::1]:9999`, \
                     `host:9999` and `unix:/path`"
                )
                .into()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_target_is_an_address_or_a_name_with_a_port() {
        for text in ["127.0.0.1:9999", "[::1]:9999", "localhost:9999", "unix:/run/a.sock"] {
            assert_eq!(text.parse::<Target>().map(|target| target.to_string()), Ok(text.into()));
        }
        for text in ["", "Michael", ":9999", "host:", "host:70000", "::1:9999", "unix:"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
