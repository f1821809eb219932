//! The kernel's accept queue of a listening TCP socket, as `/proc/net/tcp` shows it.
//!
//! Called at a scrape. Reads by hand: the listening sockets stand first in that file, and a
//! parser of the whole would make the kernel walk through every connection of the machine.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};

/// The state LISTEN, in hexadecimal.
const LISTEN: &str = "0A";

/// How many connections wait to be accepted on `address`, and how many may, if the socket asked
/// for `asked`. Nothing if it is not listened on or the kernel does not say.
pub(crate) fn listen_backlog(address: SocketAddr, asked: u32) -> Option<(u64, u64)> {
    let table = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let lines = BufReader::new(File::open(table).ok()?).lines().skip(1).map_while(Result::ok);
    let waiting = find(lines, &in_hex(address))?;
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    Some((waiting, u64::from(asked).min(most.trim().parse().ok()?)))
}

/// The receive queue in the LISTEN line of this local address.
fn find(lines: impl Iterator<Item = String>, local: &str) -> Option<u64> {
    for line in lines {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (own, _, state, queues) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        if state != LISTEN {
            return None;
        }
        if own == local {
            return u64::from_str_radix(queues.split_once(':')?.1, 16).ok();
        }
    }
    None
}

/// As the kernel writes it: the address in 32-bit words of the machine's order, then the port.
fn in_hex(address: SocketAddr) -> String {
    let words = |bytes: &[u8]| -> String {
        let words = bytes.chunks_exact(4);
        words
            .map(|it| format!("{:08X}", u32::from_ne_bytes([it[0], it[1], it[2], it[3]])))
            .collect()
    };
    let host = match address.ip() {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    };
    format!("{host}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::listen_backlog;
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn clients_that_wait_are_counted() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has nothing to listen on there.
            let Ok(listener) = TcpListener::bind(host) else {
                continue;
            };
            let address = listener.local_addr().unwrap();
            assert_eq!(listen_backlog(address, 7), Some((0, 7)), "{host}");
            let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
            let deadline = Instant::now() + Duration::from_secs(10);
            while listen_backlog(address, 7) != Some((3, 7)) {
                assert!(Instant::now() < deadline, "{:?}", listen_backlog(address, 7));
                thread::yield_now();
            }
            drop((clients, listener));
            assert_eq!(listen_backlog(address, 7), None);
        }
    }
}
