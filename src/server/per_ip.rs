//! How many connections each address has.
//!
//! Asked by the accept loop while `max_connections_per_ip` is set. A connection holds its [`Seat`]
//! and gives it back by being dropped, on whatever thread that happens.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which is what one
/// subscriber has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        // An IPv4 client of an IPv6 socket is an IPv4 client.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// The clients that have connections, with their number.
#[derive(Debug, Default)]
pub(super) struct PerIp(Mutex<HashMap<Client, usize>>);

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Seat {
    counts: Arc<PerIp>,
    client: Client,
}

impl PerIp {
    /// A place for one more connection from `address`, if it has fewer than `limit`.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Box<Seat>> {
        let client = Client::from(address);
        let mut counts = self.lock();
        let count = counts.entry(client).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Box::new(Seat { counts: Arc::clone(self), client }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Client, usize>> {
        // Nothing done under the lock panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PerIp;
    use std::net::IpAddr;
    use std::sync::Arc;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_seats_and_gives_them_back() {
        let counts = Arc::new(PerIp::default());
        let held: Vec<_> = (0..2).map(|_| counts.take(ip("10.0.0.9"), 2).unwrap()).collect();
        assert!(counts.take(ip("10.0.0.9"), 2).is_none());
        assert!(counts.take(ip("::ffff:10.0.0.9"), 2).is_none(), "the same client");
        assert!(counts.take(ip("10.0.0.10"), 2).is_some());
        drop(held);
        assert!(counts.lock().is_empty(), "nothing stays behind");
    }

    #[test]
    fn an_ipv6_client_is_its_network_of_64_bits() {
        let counts = Arc::new(PerIp::default());
        let _held = counts.take(ip("2001:db8:0:1::1"), 1).unwrap();
        assert!(counts.take(ip("2001:db8:0:1:ffff::2"), 1).is_none());
        assert!(counts.take(ip("2001:db8:0:2::1"), 1).is_some());
        let _loopback = counts.take(ip("::1"), 1).unwrap();
        assert!(counts.take(ip("0.0.0.0"), 1).is_some(), "no address of the other kind");
    }
}
