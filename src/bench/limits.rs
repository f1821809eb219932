//! What a load may be: its bounds, whom it may be put on, and where it may come from. Pure.

use super::{
    Error, LONGEST, Load, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_SOURCE, MAX_IN_FLIGHT, MAX_MESSAGE,
    MAX_RATE, MAX_THREADS, Pace, Payload, Stop,
};
use crate::protocol::Framing;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Whether an address is of this machine or of a network that is not the internet: loopback,
/// RFC 1918, link-local or unique local (RFC 4193).
#[must_use]
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Refuses what is out of bounds.
pub(super) fn check(load: &Load) -> Result<(), Error> {
    if !load.any_target && !is_private(load.target.ip()) {
        return Err(Error::Foreign(load.target.ip()));
    }
    if !(1..=MAX_CONNECTIONS).contains(&load.connections) {
        return Err(Error::Connections(load.connections));
    }
    if !(1..=MAX_THREADS.min(load.connections)).contains(&load.threads) {
        return Err(Error::Threads(load.threads, load.connections));
    }
    match load.pace {
        Pace::Closed { in_flight, .. } if !(1..=MAX_IN_FLIGHT).contains(&in_flight) => {
            return Err(Error::InFlight(in_flight));
        }
        Pace::Closed { in_flight, .. } if in_flight > 1 && is_raw(load) => return Err(Error::Raw),
        // Written so that a rate that is no number is refused too.
        Pace::Open { rate, .. } if !(rate > 0.0 && rate <= MAX_RATE) => {
            return Err(Error::Rate(rate));
        }
        Pace::Closed { .. } | Pace::Open { .. } => {}
    }
    check_times(load)?;
    check_messages(load)?;
    sources(load).map(drop)
}

fn is_raw(load: &Load) -> bool {
    matches!(load.framing, Framing::Raw | Framing::Head)
}

fn check_times(load: &Load) -> Result<(), Error> {
    let think = match load.pace {
        Pace::Closed { think, .. } => think,
        Pace::Open { .. } => Duration::ZERO,
    };
    let measured = match load.measured {
        Stop::After(time) => time,
        Stop::Messages(_) => Duration::ZERO,
    };
    let times = [
        ("a duration", measured),
        ("a warm-up", load.warm_up),
        ("a ramp", load.ramp),
        ("a think time", think),
        ("a timeout", load.patience),
    ];
    if load.patience.is_zero() {
        return Err(Error::Time("a timeout", load.patience));
    }
    match times.into_iter().find(|(_, time)| *time > LONGEST) {
        Some((what, time)) => Err(Error::Time(what, time)),
        None => Ok(()),
    }
}

fn check_messages(load: &Load) -> Result<(), Error> {
    let shortest = usize::from(is_raw(load));
    let lines = match &load.payload {
        Payload::Size(length) if (1..=MAX_MESSAGE).contains(length) => return Ok(()),
        Payload::Size(length) => return Err(Error::Size(*length)),
        Payload::Lines(lines) => lines,
    };
    if lines.is_empty() {
        return Err(Error::NoMessages);
    }
    for (number, line) in (1..).zip(lines.iter()) {
        let problem = match line.as_slice() {
            line if line.len() < shortest => "it is empty, and `raw` has no empty messages",
            line if line.len() > MAX_MESSAGE => "it is longer than 1 MiB",
            line if line.contains(&b'\n') => "it contains a newline",
            line if line.ends_with(b"\r") => "it ends with a carriage return, which is framing",
            b"exit" if load.expect == super::Expect::Hello => "`exit` ends the connection",
            _ => continue,
        };
        return Err(Error::Message { number, problem });
    }
    Ok(())
}

/// Where the connections come from; nothing if the system may choose.
pub(super) fn sources(load: &Load) -> Result<Vec<IpAddr>, Error> {
    let needed = load.connections.div_ceil(MAX_CONNECTIONS_PER_SOURCE);
    let sources = match load.target.ip().to_canonical() {
        IpAddr::V4(v4) if needed > 1 && load.sources.is_empty() && v4.is_loopback() => {
            // The whole network is this machine's.
            let first = u32::from(Ipv4Addr::LOCALHOST);
            (first..).take(needed).map(|bits| IpAddr::V4(bits.into())).collect()
        }
        _ => load.sources.clone(),
    };
    let family = |source: &&IpAddr| source.is_ipv4() != load.target.is_ipv4();
    if let Some(source) = sources.iter().find(family) {
        return Err(Error::Family(*source, load.target));
    }
    if sources.len().max(1) < needed {
        return Err(Error::Sources { connections: load.connections, needed, given: sources.len() });
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Expect, Load};
    use std::net::SocketAddr;

    fn load() -> Load {
        Load::new(([127, 0, 0, 1], 9).into())
    }

    #[test]
    fn only_networks_of_ones_own_are_private() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.32.0.1",
            "192.0.2.1",
            "0.0.0.0",
            "255.255.255.255",
            "2001:db8::1",
            "::",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_with_the_bounds() {
        let other = SocketAddr::from(([192, 0, 2, 1], 9));
        let open = |rate| Pace::Open { rate, arrivals: Default::default() };
        let lines = |lines: &[&str]| {
            Payload::Lines(lines.iter().map(|line| line.as_bytes().to_vec()).collect())
        };
        let raw = Framing::Raw;
        let six = "::1".parse().unwrap();
        let rows = [
            (Load::new(other), "192.0.2.1 is not a loopback or private address"),
            (Load { connections: 0, ..load() }, "0 connections; allowed are 1 to 100000"),
            (Load { threads: 65, ..load() }, "65 threads for 64 connections"),
            (Load { pace: Pace::closed(0), ..load() }, "allowed are 1 to 10000"),
            (Load { pace: Pace::closed(2), framing: raw, ..load() }, "one message in flight"),
            (Load { pace: open(0.0), ..load() }, "0 messages per second"),
            (Load { pace: open(f64::NAN), ..load() }, "NaN messages per second"),
            (Load { ramp: Duration::MAX, ..load() }, "a ramp of"),
            (Load { patience: Duration::ZERO, ..load() }, "more than 0s"),
            (Load { payload: Payload::Size(0), ..load() }, "0 bytes"),
            (Load { payload: lines(&[]), ..load() }, "no messages"),
            (Load { payload: lines(&["a", "exit"]), ..load() }, "message 2: `exit` ends"),
            (Load { payload: lines(&[""]), framing: raw, ..load() }, "message 1: it is empty"),
            (Load { sources: vec![six], ..load() }, "from ::1 to 127.0.0.1:9"),
            (
                Load { connections: 28_001, ..Load::new("[::1]:9".parse().unwrap()) },
                "28001 connections need 2 source addresses, 0 are given",
            ),
        ];
        for (load, expected) in rows {
            let error = check(&load).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        check(&load()).unwrap();
        check(&Load { any_target: true, ..Load::new(other) }).unwrap();
        check(&Load { expect: Expect::Echo, payload: lines(&["exit"]), ..load() }).unwrap();
    }

    #[test]
    fn loopback_has_sources_for_any_number() {
        assert_eq!(sources(&load()).unwrap(), Vec::<IpAddr>::new());
        let many = sources(&Load { connections: 60_000, ..load() }).unwrap();
        let many: Vec<String> = many.iter().map(IpAddr::to_string).collect();
        assert_eq!(many, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    }
}
