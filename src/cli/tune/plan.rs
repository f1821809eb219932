//! What is to be measured: one service, one load, one pool after another. Starts nothing.

use crate::bench::{Arrivals, Expect, Load, Pace, Payload, Stop};
use crate::config::{ServiceKind, Settings};
use crate::protocol::Framing;
use crate::server::Options;
use crate::service::{Context, Flow, Peer, Reply, Service};
use crate::sizing::Target;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Places in the server's table beside the load's connections.
const SPARE_PLACES: usize = 16;
/// What a server of ours may still owe when its load is over is of no interest.
const LONGEST_DRAIN: Duration = Duration::from_secs(5);

/// What the arguments ask for.
pub(super) struct Wanted {
    pub(super) sizes: Vec<usize>,
    pub(super) pace: Pace,
    pub(super) connections: usize,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) payload: Payload,
    pub(super) expect: Option<Expect>,
    pub(super) patience: Duration,
    pub(super) seed: u64,
    pub(super) target: Target,
}

/// What to run and how to load it.
pub(super) struct Plan {
    pub(super) sizes: Vec<usize>,
    /// Of each server, but for its size.
    pub(super) options: Options,
    pub(super) service: Arc<dyn Service>,
    /// Of each server, but for its address.
    pub(super) load: Load,
    pub(super) duration: Duration,
    pub(super) target: Target,
    /// The service, in words.
    pub(super) about: String,
}

impl Plan {
    /// `own` is a program's own service, in the place of the one that the settings name.
    pub(super) fn new(
        wanted: Wanted,
        settings: &Settings,
        own: Option<Arc<dyn Service>>,
    ) -> Result<Self, String> {
        let options = options(settings, wanted.connections);
        let usual = match (&own, settings.service) {
            (Some(_), _) => Expect::Any,
            (None, ServiceKind::Hello) => Expect::Hello,
            (None, ServiceKind::Echo) => Expect::Echo,
            (None, ServiceKind::Discard) => {
                let place = settings.place("service.kind");
                return Err(format!(
                    "{place}: `discard` sends no replies, so that no load can wait for them; \
                     allowed here: hello, echo"
                ));
            }
        };
        let longest = match &wanted.payload {
            Payload::Size(size) => *size,
            Payload::Lines(lines) => lines.iter().map(Vec::len).max().unwrap_or(0),
        };
        if longest > options.max_message {
            let place = settings.place("service.max_message");
            return Err(format!("{place}: the payload has messages of {longest} bytes"));
        }
        let about = about(settings, own.is_some(), options.framing);
        let service = own.unwrap_or_else(|| settings.build_service().0);
        let load = Load {
            connections: wanted.connections,
            pace: wanted.pace,
            payload: wanted.payload,
            expect: wanted.expect.unwrap_or(usual),
            greeting: greets(&*service)?,
            framing: options.framing,
            warm_up: wanted.warm_up,
            measured: Stop::After(wanted.duration),
            patience: wanted.patience,
            seed: wanted.seed,
            ..Load::new((Ipv4Addr::LOCALHOST, 0).into())
        };
        let Wanted { sizes, duration, target, .. } = wanted;
        Ok(Self { sizes, options, service, load, duration, target, about })
    }

    /// When all is done, if nothing comes between.
    pub(super) fn takes(&self) -> Duration {
        (self.load.warm_up + self.duration) * self.sizes.len() as u32
    }

    /// What is done, in one line.
    pub(super) fn describe(&self) -> String {
        let connections = self.load.connections;
        let pace = match self.load.pace {
            Pace::Closed { think, .. } if think.is_zero() => "closed loop".to_owned(),
            Pace::Closed { think, .. } => format!("closed loop, think time {think:?}"),
            Pace::Open { rate, arrivals: Arrivals::Constant } => {
                format!("open loop, {rate} messages/s, constant arrivals")
            }
            Pace::Open { rate, arrivals: Arrivals::Poisson } => {
                format!("open loop, {rate} messages/s, Poisson arrivals")
            }
        };
        let noun = if connections == 1 { "connection" } else { "connections" };
        format!(
            "{}; {connections} {noun}, {pace}; each size {:?} after {:?} of warm-up",
            self.about, self.duration, self.load.warm_up
        )
    }
}

/// The settings' options, without what is between the clients and the pool: a load that is turned
/// away says nothing about the pool's size.
fn options(settings: &Settings, connections: usize) -> Options {
    let options = settings.options();
    Options {
        // Every line of a load ends; only a first one could come apart.
        framing: if options.framing == Framing::Auto { Framing::Line } else { options.framing },
        max_connections: connections.saturating_add(SPARE_PLACES),
        max_connections_per_ip: None,
        allow: Vec::new(),
        deny: Vec::new(),
        max_queue_wait: None,
        max_age: None,
        drain_delay: Duration::ZERO,
        drain_timeout: options.drain_timeout.min(LONGEST_DRAIN),
        ..options
    }
}

fn about(settings: &Settings, own: bool, framing: Framing) -> String {
    let name = match (own, settings.service) {
        (true, _) => "the program's own service",
        (false, ServiceKind::Hello) => "hello",
        (false, ServiceKind::Echo) => "echo",
        (false, ServiceKind::Discard) => "discard",
    };
    let delay = settings.work_delay;
    let work = if own || delay.is_zero() { String::new() } else { format!(", {delay:?} of work") };
    format!("{name}{work}, {framing} framing")
}

/// Whether the service speaks first: it is asked, as the engine asks it.
fn greets(service: &dyn Service) -> Result<bool, String> {
    let (mut state, mut words) = (None, Vec::new());
    let mut context = Context::new(0, Peer::Unix, false, &mut state);
    let flow = service.greet(&mut context, &mut Reply::new(&mut words, usize::MAX));
    match flow {
        Ok(Flow::Continue) => Ok(true),
        Ok(Flow::Silent) => Ok(false),
        Ok(Flow::Close) => Err("tune: the service ends a connection with its greeting".to_owned()),
        Err(error) => Err(format!("tune: the service's greeting failed: {error}")),
    }
}
