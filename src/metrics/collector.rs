//! What a server exports: the names, types and help texts of its metrics, and which number of a
//! [`Snapshot`] each one is.
//!
//! The names and texts are an interface: dashboards and alerts are written against them.

use super::Snapshot;
use super::table::{Kind, Row, Samples, Table};
use prometheus::core::Collector;

/// The metrics of one server, for a `prometheus::Registry`. `snapshot` is called once per
/// scrape and should be cheap; `prefix` stands before each name, with an underscore: `welcomed`
/// gives `welcomed_workers`.
///
/// # Errors
///
/// If `prefix` makes no valid metric names.
pub fn collector(
    prefix: &str,
    snapshot: impl Fn() -> Snapshot + Send + Sync + 'static,
) -> prometheus::Result<Box<dyn Collector>> {
    Ok(Box::new(Table::new(prefix, FAMILIES, snapshot)?))
}

const FAMILIES: &[Row<Snapshot>] = &[
    Row {
        name: "build_info",
        kind: Kind::Gauge,
        labels: &["version", "revision", "rustc", "target"],
        help: "Build information; always 1.",
        read: |_| vec![(BUILD.to_vec(), 1.0)],
    },
    Row {
        name: "workers",
        kind: Kind::Gauge,
        labels: &[],
        help: "Worker threads that exist now.",
        read: |now| one(now.workers as u64),
    },
    Row {
        name: "workers_limit",
        kind: Kind::Gauge,
        labels: &[],
        help: "Configured number of worker threads.",
        read: |now| one(now.workers_limit as u64),
    },
    Row {
        name: "workers_busy",
        kind: Kind::Gauge,
        labels: &[],
        help: "Worker threads running a connection turn now; never above {prefix}_workers.",
        read: |now| one(now.workers_busy as u64),
    },
    Row {
        name: "connections",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "Open client connections by state; the sum is all open connections.",
        read: |now| {
            each([
                ("parked", now.parked),
                ("queued", now.queued),
                ("active", now.active),
                ("closing", now.closing),
            ])
        },
    },
    Row {
        name: "connections_limit",
        kind: Kind::Gauge,
        labels: &[],
        help: "Configured maximum of open client connections.",
        read: |now| one(now.connections_limit as u64),
    },
    Row {
        name: "connections_accepted_total",
        kind: Kind::Counter,
        labels: &["listener"],
        help: "Connections accepted.",
        read: |now| each(now.accepted.iter().map(|one| (one.listener.as_str(), one.accepted))),
    },
    Row {
        name: "connections_rejected_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Connections closed by the server before the first message, by reason.",
        read: |now| each(now.rejected.iter().copied()),
    },
    Row {
        name: "connections_closed_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Admitted connections closed, by reason.",
        read: |now| each(now.closed.iter().copied()),
    },
    Row {
        name: "messages_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Complete messages answered or failed.",
        read: |now| one(now.messages),
    },
    Row {
        name: "message_errors_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Messages that ended in an error.",
        read: |now| each(now.message_errors.iter().copied()),
    },
    Row {
        name: "received_bytes_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Payload bytes read from clients (after TLS).",
        read: |now| one(now.received_bytes),
    },
    Row {
        name: "sent_bytes_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Payload bytes written to clients (before TLS).",
        read: |now| one(now.sent_bytes),
    },
    Row {
        name: "handler_panics_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Panics caught in user handlers.",
        read: |now| one(now.handler_panics),
    },
];

/// The values of `build_info`, in the order of its labels; the last three come from `build.rs`.
const BUILD: [&str; 4] = [
    env!("CARGO_PKG_VERSION"),
    env!("BUILT_FROM_REVISION"),
    env!("BUILT_BY_RUSTC"),
    env!("BUILT_FOR_TARGET"),
];

fn one(number: u64) -> Samples<'static> {
    vec![(Vec::new(), number as f64)]
}

fn each<'a>(numbers: impl IntoIterator<Item = (&'a str, u64)>) -> Samples<'a> {
    numbers.into_iter().map(|(value, number)| (vec![value], number as f64)).collect()
}
