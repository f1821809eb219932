//! Networks: whom a list of addresses means. The only place that knows `ipnet`.

use crate::protocol::ParseError;
use crate::service::Peer;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An IPv4 or IPv6 network such as `10.0.0.0/8`; a bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether one of `networks` holds the client. A Unix socket's clients have no address: the
    /// file's rights say who they may be, and no list of networks keeps them out.
    #[must_use]
    pub fn any_contains(networks: &[Self], client: Peer) -> bool {
        match client {
            Peer::Tcp(address) => networks.iter().any(|network| network.contains(address.ip())),
            Peer::Unix => true,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Network {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let network = text.parse::<IpNet>();
        let network = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network = network.map_err(|_| {
            format!(
                "`{text}` is not a network; allowed are `10.0.0.0/8`, `fd00::/8` and `10.1.2.3`"
            )
        })?;
        if network.trunc() != network {
            let network = network.trunc();
            return Err(
                format!("`{text}` has bits behind its prefix; the network is `{network}`").into()
            );
        }
        Ok(Self(network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("fd00::/8", "fdff::1", "fe80::1"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} not in {network}");
        }
        assert!(Network::any_contains(&[], Peer::Unix));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "everyone", "fd00::/129"] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains("is not a network"), "{error}");
        }
        let bits = "10.1.2.3/8".parse::<Network>().unwrap_err().to_string();
        assert!(bits.contains("the network is `10.0.0.0/8`"), "{bits}");
    }
}
