//! Whom to connect to, and the attempts to do so. Knows no protocol.

use super::stream::Stream;
use crate::protocol::ParseError;
use crate::server::Address;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks whether there is room in a queue.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A server to connect to: `127.0.0.1:9999`, `[::1]:9999`, `localhost:9999` or
/// `unix:/run/welcomed.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address that needs no look-up.
    Address(Address),
    /// A host's name and a port. It may have several addresses; each is tried.
    Host(String),
}

impl Target {
    /// Connects to the first address that answers. `patience` is asked before each attempt for the
    /// time that it may take.
    pub(super) fn connect(&self, patience: impl Fn() -> Duration) -> Result<Stream, ConnectError> {
        let addresses = match self {
            Self::Address(Address::Unix(path)) => {
                return connect_unix(path, patience())
                    .map(Stream::from)
                    .map_err(|error| ConnectError::refused(&[(self.to_string(), error)]));
            }
            Self::Address(Address::Tcp(address)) => vec![*address],
            Self::Host(name) => look_up(name)?,
        };
        let mut failures = Vec::new();
        for address in addresses {
            match TcpStream::connect_timeout(&address, patience()) {
                Ok(socket) => {
                    // A name is one small segment: waiting for more to send with it helps nobody.
                    // Without it the conversation is slower, not wrong.
                    socket.set_nodelay(true).ok();
                    return Ok(socket.into());
                }
                Err(error) => failures.push((address.to_string(), error)),
            }
        }
        Err(ConnectError::refused(&failures))
    }
}

/// A Unix socket's connect is done at once, or waits for room in the server's queue, which the
/// kernel bounds by no time.
fn connect_unix(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let (address, began) = (SockAddr::unix(path)?, Instant::now());
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    while let Err(error) = socket.connect(&address) {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error);
        }
        if began.elapsed() >= patience {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(LOOK_AGAIN);
    }
    socket.set_nonblocking(false)?;
    Ok(OwnedFd::from(socket).into())
}

fn look_up(name: &str) -> Result<Vec<SocketAddr>, ConnectError> {
    let failed = |error: &dyn fmt::Display| ConnectError(format!("look up `{name}`: {error}"));
    let found: Vec<_> = name.to_socket_addrs().map_err(|error| failed(&error))?.collect();
    if found.is_empty() { Err(failed(&"it has no address")) } else { Ok(found) }
}

/// What was tried in vain.
#[derive(Debug, thiserror::Error)]
#[error("cannot {0}")]
pub struct ConnectError(String);

impl ConnectError {
    fn refused(failures: &[(String, io::Error)]) -> Self {
        let each = failures.iter().map(|(address, error)| format!("{address}: {error}"));
        Self(format!("connect to {}", each.collect::<Vec<_>>().join("; ")))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host(name) => f.write_str(name),
        }
    }
}

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.starts_with("unix:") || text.parse::<SocketAddr>().is_ok() {
            return text.parse().map(Self::Address);
        }
        match text.rsplit_once(':') {
            Some((host, port))
                if !host.is_empty() && !host.contains(':') && port.parse::<u16>().is_ok() =>
            {
                Ok(Self::Host(text.to_owned()))
            }
            _ => Err(format!(
                "`{text}` is not an address; allowed are `127.0.0.1:9999`, `[::1]:9999`, \
                 `host:9999` and `unix:/path`"
            )
            .into()),
        }
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
