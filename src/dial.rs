//! From a name and a port to a connected stream: resolve, try each address, keep to a deadline.
//!
//! Owns what comes before the first byte is sent; knows no protocol. Used by `client` and `fetch`.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Until when something may take, or that it may take for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    limit: Option<(Instant, Duration)>,
}

/// The time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeIsUp {
    /// How long there was.
    pub after: Duration,
}

impl Deadline {
    /// From now on; `None` is no limit, and so is a limit beyond what the clock can count.
    #[must_use]
    pub(crate) fn within(limit: Option<Duration>) -> Self {
        let at = |limit| Some((Instant::now().checked_add(limit)?, limit));
        Self { limit: limit.and_then(at) }
    }

    /// What is left, never zero; `None` if there is no limit.
    ///
    /// # Errors
    ///
    /// Nothing is left.
    pub(crate) fn left(&self) -> Result<Option<Duration>, TimeIsUp> {
        let Some((at, after)) = self.limit else { return Ok(None) };
        match at.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(TimeIsUp { after }),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name has no address.
    #[error("cannot find the address of `{host}`: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// None of the addresses took the connection.
    #[error("cannot connect to {tried}: {source}")]
    Connect {
        /// All addresses, in the order in which they were tried.
        tried: Tried,
        /// What the last one said.
        source: io::Error,
    },
    /// The time was up before that.
    #[error("no connection to `{host}` within {after:?}")]
    TimedOut {
        /// The name.
        host: String,
        /// How long there was.
        after: Duration,
    },
}

/// The addresses that were tried; its `Display` separates them by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried(pub Vec<SocketAddr>);

impl std::fmt::Display for Tried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, address) in self.0.iter().enumerate() {
            write!(f, "{}{address}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Connects to `host`, a name or an IP address without brackets: each of its addresses in turn,
/// IPv6 and IPv4, until one answers.
///
/// # Errors
///
/// See [`Error`].
pub(crate) fn tcp(host: &str, port: u16, deadline: &Deadline) -> Result<TcpStream, Error> {
    first_of(resolve(host, port, deadline)?, host, deadline)
}

/// Connects to the first of the addresses of `host` that answers.
///
/// # Errors
///
/// See [`Error`]; the name is known by now.
pub(crate) fn first_of(
    addresses: Vec<SocketAddr>,
    host: &str,
    deadline: &Deadline,
) -> Result<TcpStream, Error> {
    let timed_out = |TimeIsUp { after }| Error::TimedOut { host: host.to_owned(), after };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (place, address) in addresses.iter().enumerate() {
        let attempt = match deadline.left().map_err(timed_out)? {
            // A silent address leaves the ones behind it their share of the time.
            Some(left) => {
                let share = left / u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
                TcpStream::connect_timeout(address, share.max(Duration::from_millis(1)))
            }
            None => TcpStream::connect(address),
        };
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    deadline.left().map_err(timed_out)?;
    Err(Error::Connect { tried: Tried(addresses), source: last })
}

/// All addresses of a name. The system's resolver cannot be interrupted, so with a deadline it
/// runs in a thread of its own, which is left to itself when the time is up.
fn resolve(host: &str, port: u16, deadline: &Deadline) -> Result<Vec<SocketAddr>, Error> {
    let failed = |source| Error::Resolve { host: host.to_owned(), source };
    let timed_out = |TimeIsUp { after }| Error::TimedOut { host: host.to_owned(), after };
    let Some(left) = deadline.left().map_err(timed_out)? else {
        return Ok((host, port).to_socket_addrs().map_err(failed)?.collect());
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    let name = host.to_owned();
    let resolver = move || {
        let addresses = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Nobody listens any more once the time is up.
        drop(sender.send(addresses));
    };
    thread::Builder::new().name("resolve".to_owned()).spawn(resolver).map_err(failed)?;
    match receiver.recv_timeout(left) {
        Ok(addresses) => addresses.map_err(failed),
        Err(RecvTimeoutError::Timeout) => {
            deadline.left().map_err(timed_out)?;
            Err(failed(io::ErrorKind::TimedOut.into()))
        }
        Err(RecvTimeoutError::Disconnected) => Err(failed(io::Error::other("the resolver died"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Deadline, Error, TimeIsUp, Tried, tcp};
    use socket2::{Domain, Socket, Type};
    use std::net::SocketAddr;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn connects_to_a_name_whichever_of_its_addresses_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for limit in [None, Some(Duration::from_secs(30))] {
            let stream = tcp("localhost", port, &Deadline::within(limit)).unwrap();
            assert_eq!(stream.peer_addr().unwrap().port(), port);
        }
    }

    #[test]
    fn a_refusal_names_every_address() {
        // Bound and not listening: nobody else can get it meanwhile.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let error = tcp("127.0.0.1", port, &Deadline::within(None)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")), "{error}");
        let tried =
            Tried(vec![([127, 0, 0, 1], 1).into(), (std::net::Ipv6Addr::LOCALHOST, 2).into()]);
        assert_eq!(tried.to_string(), "127.0.0.1:1, [::1]:2");
    }

    #[test]
    fn a_deadline_in_the_past_is_up() {
        let deadline = Deadline::within(Some(Duration::ZERO));
        assert_eq!(deadline.left(), Err(TimeIsUp { after: Duration::ZERO }));
        assert!(matches!(tcp("127.0.0.1", 1, &deadline), Err(Error::TimedOut { .. })));
        assert_eq!(Deadline::within(Some(Duration::MAX)).left(), Ok(None));
    }
}
