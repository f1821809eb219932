//! Networks from arbitrary text, and what they hold, against bits compared one by one.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use welcomed::server::Network;
use welcomed::service::Peer;

#[derive(Debug, Arbitrary)]
enum Address {
    V4(u32),
    V6(u128),
}

impl Address {
    fn ip(&self) -> IpAddr {
        match *self {
            Self::V4(bits) => Ipv4Addr::from_bits(bits).into(),
            Self::V6(bits) => Ipv6Addr::from_bits(bits).into(),
        }
    }

    /// Its bits, the first one first.
    fn bits(&self) -> Vec<bool> {
        match *self {
            Self::V4(bits) => (0..32).rev().map(|at| bits >> at & 1 == 1).collect(),
            Self::V6(bits) => (0..128).rev().map(|at| bits >> at & 1 == 1).collect(),
        }
    }

    /// The same with all bits but the first `prefix` turned by `mask`.
    fn turned(&self, prefix: usize, mask: u128) -> Self {
        let bits = |width: u32| u128::MAX.checked_shr(128 - width + prefix as u32).unwrap_or(0);
        match *self {
            Self::V4(it) => Self::V4(it ^ (mask & bits(32)) as u32),
            Self::V6(it) => Self::V6(it ^ (mask & bits(128))),
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Input {
    networks: Vec<(Address, u8)>,
    client: Address,
    mask: u128,
    text: String,
}

fuzz_target!(|data: &[u8]| {
    let mut data = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut data) else { return };
    let mut networks = Vec::new();
    let mut held = false;
    for (address, prefix) in input.networks.iter().take(8) {
        let bits = address.bits();
        // One prefix in a few is too long.
        let prefix = usize::from(*prefix) % (bits.len() + 3);
        let parsed = format!("{}/{prefix}", address.ip()).parse::<Network>();
        let valid = prefix <= bits.len() && bits[prefix..].iter().all(|bit| !bit);
        let Ok(network) = parsed else {
            assert!(!valid, "{address:?}/{prefix}: {parsed:?}");
            continue;
        };
        assert!(valid, "{address:?}/{prefix}: {parsed:?}");
        assert_eq!(network.to_string().parse(), Ok(network));
        let holds = |client: &Address| {
            let client = client.bits();
            client.len() == bits.len() && client[..prefix] == bits[..prefix]
        };
        // The client is seldom in a network by chance; turned bits of the network's own are.
        for client in
            [&input.client, &address.turned(prefix, input.mask), &address.turned(0, input.mask)]
        {
            assert_eq!(network.contains(client.ip()), holds(client), "{client:?} in {network}");
        }
        held |= holds(&input.client);
        networks.push(network);
    }
    let client = Peer::Tcp(SocketAddr::new(input.client.ip(), 1));
    assert_eq!(Network::any_contains(&networks, client), held);
    assert!(Network::any_contains(&networks, Peer::Unix));

    match input.text.parse::<Network>() {
        Ok(network) => assert_eq!(network.to_string().parse(), Ok(network)),
        Err(error) => assert!(error.to_string().contains(&input.text)),
    }
});
