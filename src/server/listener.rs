//! Listening sockets: bound by whoever makes a server, accepted from by its accept loop.

use super::address::Address;
use super::options::Options;
use crate::service::Peer;
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// As it was asked for; the value of the label `listener`.
    asked: Address,
    /// As it is: with the port that the kernel chose.
    bound: Address,
    inherited: bool,
    /// The file of a Unix socket that is ours.
    file: Option<FileId>,
}

/// Device and number of a file: its path may be another's by now.
#[derive(Debug, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Self(meta.dev(), meta.ino()))
    }
}

/// Why a [`Listener`] could not be had. Names the address and what was wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    address: Address,
    source: io::Error,
}

/// What an accept brought.
#[derive(Debug)]
pub(super) enum Accepted {
    Client(OwnedFd, Peer),
    /// Nobody waits.
    Nobody,
    /// This client is gone or unreachable; the next may not be.
    Lost(Errno),
    /// The machine has no descriptors or no memory, or something is wrong that we do not know:
    /// trying again at once is no use.
    Exhausted(Errno),
}

impl Listener {
    /// Binds `address` and listens, with a kernel queue of `backlog` connections.
    ///
    /// A Unix socket's file that nobody listens on any more is replaced.
    ///
    /// # Errors
    ///
    /// The address is in use, not ours, or not allowed.
    pub fn bind(address: &Address, backlog: u32) -> Result<Self, ListenError> {
        Self::bind_with_mode(address, backlog, None)
    }

    /// The same; a Unix socket's file gets these rights (`0o660`) before anybody can connect. A
    /// TCP address has none.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_with_mode(
        address: &Address,
        backlog: u32,
        mode: Option<u32>,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address: address.clone(), source };
        let (socket, file) = match address {
            Address::Tcp(address) => bind_tcp(*address).map(|socket| (socket, None)),
            Address::Unix(path) => bind_unix(path).map(|socket| (socket, FileId::of(path).ok())),
        }
        .map_err(failed)?;
        let listen = || {
            if let (Address::Unix(path), Some(mode)) = (address, mode) {
                fs::set_permissions(path, Permissions::from_mode(mode))?;
            }
            socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
            socket.set_nonblocking(true)?;
            socket.local_addr()
        };
        let local = listen().map_err(failed)?;
        let bound = local.as_socket().map_or_else(|| address.clone(), Address::Tcp);
        Ok(Self { socket, asked: address.clone(), bound, inherited: false, file })
    }

    /// Takes a socket that somebody else has bound, listens on, and will keep when we are gone, as
    /// systemd does. Its backlog is left as it is. At the end the clients in its queue are left to
    /// the successor, and a Unix socket's file stays.
    ///
    /// # Errors
    ///
    /// It is not a TCP or Unix stream socket, or it does not listen.
    pub fn inherit(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = Socket::from(socket.into());
        let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if socket.r#type()? != Type::STREAM {
            return wrong("it is not a stream socket");
        }
        if !sockopt::socket_acceptconn(&socket)? {
            return wrong("it does not listen");
        }
        let Some(bound) = address(&socket.local_addr()?) else {
            return wrong("it is neither a TCP nor a Unix socket");
        };
        socket.set_nonblocking(true)?;
        Ok(Self { socket, asked: bound.clone(), bound, inherited: true, file: None })
    }

    /// Whether somebody else keeps the socket: then it is theirs to end, with all who wait.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// The address as it was asked for.
    #[must_use]
    pub fn asked(&self) -> &Address {
        &self.asked
    }

    /// The address as it is: a port 0 has become a real one.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        &self.bound
    }

    /// Sets what the kernel does about silent TCP clients. Accepted sockets inherit it, so it
    /// costs a connection nothing.
    pub(super) fn tune(&self, options: &Options) -> io::Result<()> {
        if !matches!(self.bound, Address::Tcp(_)) {
            return Ok(());
        }
        sockopt::set_socket_keepalive(&self.socket, options.tcp_keepalive.is_some())?;
        if let Some(idle) = options.tcp_keepalive {
            // The kernel counts whole seconds.
            sockopt::set_tcp_keepidle(&self.socket, idle.max(Duration::from_secs(1)))?;
        }
        let patience = options.tcp_user_timeout.unwrap_or_default().as_millis();
        let patience = u32::try_from(patience).unwrap_or(u32::MAX);
        Ok(sockopt::set_tcp_user_timeout(&self.socket, patience)?)
    }

    /// Takes the next client, without waiting. Its socket does not block, and a TCP one sends at
    /// once: replies are gathered here, not in the kernel.
    pub(super) fn accept(&self) -> Accepted {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        match acceptfrom_with(&self.socket, flags) {
            Ok((socket, address)) => {
                let peer = peer(address);
                if let Peer::Tcp(_) = peer
                    && let Err(errno) = sockopt::set_tcp_nodelay(&socket, true)
                {
                    return Accepted::Lost(errno);
                }
                Accepted::Client(socket, peer)
            }
            Err(Errno::AGAIN) => Accepted::Nobody,
            Err(Errno::INTR) => self.accept(),
            Err(errno) if is_of_one_client(errno) => Accepted::Lost(errno),
            Err(errno) => Accepted::Exhausted(errno),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.bound
            && self.file.is_some()
            && FileId::of(path).ok() == self.file
        {
            // Somebody may remove it before us.
            fs::remove_file(path).ok();
        }
    }
}

/// Where a socket is bound; a Unix socket without a file is written as `@name`.
fn address(local: &SockAddr) -> Option<Address> {
    if let Some(address) = local.as_socket() {
        return Some(Address::Tcp(address));
    }
    let named = local.as_pathname().map(Path::to_owned);
    let path = named.or_else(|| {
        let name = local.as_abstract_namespace()?;
        Some(OsString::from_vec([b"@", name].concat()).into())
    });
    path.map(Address::Unix)
}

fn bind_tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart may bind while connections of its predecessor are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` means IPv6 only, on every system: IPv4 has an address of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        outcome => outcome?,
    }
    Ok(socket)
}

/// Whether `path` is a socket that nobody listens on. Anything else is not ours to remove.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    // Without waiting: the queue of one that hangs may be full.
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    is_socket && connect().err().is_some_and(refused)
}

/// Whether an accept failed because of the client it would have returned: accept(2) names these,
/// network errors that were pending on the new socket and a firewall's veto.
fn is_of_one_client(errno: Errno) -> bool {
    const LOST: [Errno; 12] = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::NONET,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::PERM,
        Errno::PROTO,
        Errno::TIMEDOUT,
    ];
    LOST.contains(&errno)
}

fn peer(address: Option<SocketAddrAny>) -> Peer {
    address.and_then(|address| SocketAddr::try_from(address).ok()).map_or(Peer::Unix, Peer::Tcp)
}
