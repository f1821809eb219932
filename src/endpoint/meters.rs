//! What the side endpoint counts of itself, and how it is exported.
//!
//! Written by `routes` at each request, read by the registry at each scrape. Requests are few, so
//! plain shared atomics do.

use super::history::History;
use super::policy::Policy;
use crate::metrics::{Kind, Row, Samples, Snapshot, Table, Value};
use crate::server::Handle;
use prometheus::core::Collector;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Classes of status codes.
const CODES: [&str; 3] = ["2xx", "4xx", "5xx"];
/// The label of a path that is no route.
const OTHER: &str = "other";

/// The counters of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Meters {
    /// By route's path, the last for no route; then by class of code.
    requests: Vec<(&'static str, [AtomicU64; CODES.len()])>,
    malformed: AtomicU64,
    denied: AtomicU64,
    /// Of the last scrape.
    scrape_nanos: AtomicU64,
    scrape_errors: AtomicU64,
    /// Knows the configuration's fingerprint.
    policy: Arc<Policy>,
    /// The endpoint's own engine, once it is made.
    engine: OnceLock<Handle>,
    /// That of the server it reports on, if it keeps one.
    history: OnceLock<Arc<History>>,
}

impl Meters {
    /// Of an endpoint whose routes have these paths.
    pub(super) fn new(policy: Arc<Policy>, paths: impl Iterator<Item = &'static str>) -> Self {
        let requests = paths.chain([OTHER]).map(|path| (path, Default::default())).collect();
        Self { policy, requests, ..Self::default() }
    }

    /// A request for the route of this number was answered.
    pub(super) fn answered(&self, route: Option<usize>, status: u16) {
        let class = match status {
            0..=399 => 0,
            400..=499 => 1,
            _ => 2,
        };
        let route = route.unwrap_or(self.requests.len() - 1);
        self.requests[route].1[class].fetch_add(1, Ordering::Relaxed);
    }

    /// A head that is no request that we serve.
    pub(super) fn refused_malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// A client that is not on the list.
    pub(super) fn refused_denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// A scrape is done.
    pub(super) fn scraped(&self, took: Duration, failed: bool) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.scrape_nanos.store(nanos, Ordering::Relaxed);
        self.scrape_errors.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    /// The engine that the endpoint runs on; may be set once.
    pub(super) fn set_engine(&self, engine: Handle) {
        self.engine.set(engine).ok();
    }

    /// The history of the server that the endpoint reports on; may be set once.
    pub(super) fn set_history(&self, history: Arc<History>) {
        // As above: an endpoint has one.
        self.history.set(history).ok();
    }

    /// The collector for the endpoint's registry.
    pub(super) fn collector(
        self: &Arc<Self>,
        prefix: &str,
    ) -> prometheus::Result<Box<dyn Collector>> {
        let meters = Arc::clone(self);
        let reading = move || Reading {
            recommended: meters.history.get().and_then(|it| it.advice().recommended.ok()),
            engine: meters.engine.get().map(Handle::stats).unwrap_or_default(),
            config: meters.policy.fingerprint(),
            meters: Arc::clone(&meters),
        };
        Ok(Box::new(Table::new(prefix, FAMILIES, reading)?))
    }
}

/// One reading of both.
struct Reading {
    meters: Arc<Meters>,
    engine: Snapshot,
    config: Option<String>,
    recommended: Option<usize>,
}

const FAMILIES: &[Row<Reading>] = &[
    Row {
        name: "admin_requests_total",
        kind: Kind::Counter,
        labels: &["path", "code"],
        help: "Requests on the side port.",
        read: requests,
    },
    Row {
        name: "admin_rejected_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Side-port connections refused before routing.",
        read: |now| {
            let closed = |reason: &str| {
                let closed = now.engine.closed.iter();
                closed.filter(|(label, _)| *label == reason).map(|(_, count)| count).sum::<u64>()
            };
            let limit: u64 = now.engine.rejected.iter().map(|(_, count)| count).sum();
            [
                ("limit", limit),
                ("timeout", closed("read_timeout")),
                ("malformed", now.meters.malformed.load(Ordering::Relaxed)),
                ("auth", now.meters.denied.load(Ordering::Relaxed)),
            ]
            .map(|(reason, count)| (vec![reason], Value::Number(count as f64)))
            .to_vec()
        },
    },
    Row {
        name: "pool_recommended_workers",
        kind: Kind::Gauge,
        labels: &[],
        help: "Worker count the advisor suggests for the last window; absent until it has enough \
               samples.",
        read: |now| {
            let workers = now.recommended.into_iter();
            workers.map(|workers| (Vec::new(), Value::Number(workers as f64))).collect()
        },
    },
    Row {
        name: "scrape_duration_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Time the previous /metrics response took to build.",
        read: |now| {
            let nanos = now.meters.scrape_nanos.load(Ordering::Relaxed);
            vec![(Vec::new(), Value::Number(nanos as f64 / 1e9))]
        },
    },
    Row {
        name: "scrape_errors_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Collectors that failed during a scrape.",
        read: |now| {
            let errors = now.meters.scrape_errors.load(Ordering::Relaxed);
            vec![(Vec::new(), Value::Number(errors as f64))]
        },
    },
    Row {
        name: "config_info",
        kind: Kind::Gauge,
        labels: &["hash"],
        help: "Hash of the active configuration; always 1.",
        read: |now| {
            let known = now.config.as_ref();
            known.map(|hash| (vec![hash.as_str()], Value::Number(1.0))).into_iter().collect()
        },
    },
];

fn requests(now: &Reading) -> Samples<'_> {
    let mut samples = Vec::new();
    for (path, counts) in &now.meters.requests {
        for (code, count) in CODES.into_iter().zip(counts) {
            let count = count.load(Ordering::Relaxed);
            samples.push((vec![*path, code], Value::Number(count as f64)));
        }
    }
    samples
}
