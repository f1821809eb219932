//! What a server exports: the names, types and help texts of its metrics, and which number of a
//! [`Snapshot`] each one is.
//!
//! The names and texts are an interface: dashboards and alerts are written against them.

use super::table::{Kind, Row, Samples, Table, Value};
use super::{Distribution, Snapshot};
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
        read: |_| vec![(BUILD.to_vec(), Value::Number(1.0))],
    },
    Row {
        name: "ready",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while the server reports ready, 0 while starting, draining or unhealthy.",
        read: |now| one(u64::from(now.ready)),
    },
    Row {
        name: "draining",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 from the start of a graceful stop until exit.",
        read: |now| one(u64::from(now.draining)),
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
        name: "workers_overdue",
        kind: Kind::Gauge,
        labels: &[],
        help: "Workers whose current turn has run longer than `stuck_after`.",
        read: |now| one(now.workers_overdue as u64),
    },
    Row {
        name: "worker_busy_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Seconds all workers together have spent in connection turns, including turns still \
               running.",
        read: |now| seconds(now.worker_busy_seconds),
    },
    Row {
        name: "worker_restarts_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Workers replaced after a panic escaped a turn.",
        read: |now| one(now.worker_restarts),
    },
    Row {
        name: "worker_turns_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Connection turns taken from the queue.",
        read: |now| one(now.worker_turns),
    },
    Row {
        name: "pool_saturated_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Seconds during which every worker was busy and at least one connection waited in \
               the queue.",
        read: |now| seconds(now.saturated_seconds),
    },
    Row {
        name: "pool_resizes_total",
        kind: Kind::Counter,
        labels: &["direction"],
        help: "Completed changes of the worker count.",
        read: |now| each(now.resizes.iter().copied()),
    },
    Row {
        name: "queue_limit",
        kind: Kind::Gauge,
        labels: &[],
        help: "Capacity of the queue between poller and workers.",
        read: |now| one(now.queue_limit as u64),
    },
    Row {
        name: "queue_wait_seconds",
        kind: Kind::Histogram,
        labels: &[],
        help: "Time a ready connection waited for a worker.",
        read: |now| spread(&now.queue_wait),
    },
    Row {
        name: "queue_shed_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Ready connections refused at the queue instead of being served.",
        read: |now| each([("late", now.queue_shed)]),
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
        name: "connection_duration_seconds",
        kind: Kind::Histogram,
        labels: &[],
        help: "Lifetime of admitted connections.",
        read: |now| spread(&now.connection_duration),
    },
    Row {
        name: "connection_parks_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Times a connection was handed back to the poller to wait for bytes.",
        read: |now| one(now.parks),
    },
    Row {
        name: "accept_errors_total",
        kind: Kind::Counter,
        labels: &["code"],
        help: "accept() failures.",
        read: |now| each(now.accept_errors.iter().copied()),
    },
    Row {
        name: "accept_pauses_total",
        kind: Kind::Counter,
        labels: &["cause"],
        help: "Times accepting was paused.",
        read: |now| each(now.accept_pauses.iter().copied()),
    },
    Row {
        name: "accept_paused_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Seconds spent not accepting.",
        read: |now| seconds(now.accept_paused_seconds),
    },
    Row {
        name: "listen_backlog",
        kind: Kind::Gauge,
        labels: &["listener"],
        help: "Connections waiting in the kernel accept queue at scrape time.",
        read: |now| backlogs(now, |(waiting, _)| waiting),
    },
    Row {
        name: "listen_backlog_limit",
        kind: Kind::Gauge,
        labels: &["listener"],
        help: "Effective length of the kernel accept queue.",
        read: |now| backlogs(now, |(_, limit)| limit),
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
        name: "message_duration_seconds",
        kind: Kind::Histogram,
        labels: &["phase"],
        help: "Time per message inside a worker.",
        read: |now| {
            vec![
                (vec!["handler"], Value::Spread(&now.handler_time)),
                (vec!["write"], Value::Spread(&now.write_time)),
            ]
        },
    },
    Row {
        name: "handler_seconds_squared_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Sum of the squares of the time per message in the handler; with the sum and count \
               of {prefix}_message_duration_seconds it gives the variance.",
        read: |now| seconds(now.handler_seconds_squared),
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
    seconds(number as f64)
}

fn seconds(number: f64) -> Samples<'static> {
    vec![(Vec::new(), Value::Number(number))]
}

fn spread(distribution: &Distribution) -> Samples<'_> {
    vec![(Vec::new(), Value::Spread(distribution))]
}

fn each<'a>(numbers: impl IntoIterator<Item = (&'a str, u64)>) -> Samples<'a> {
    let sample = |(value, number)| (vec![value], Value::Number(number as f64));
    numbers.into_iter().map(sample).collect()
}

fn backlogs(now: &Snapshot, part: fn((u64, u64)) -> u64) -> Samples<'_> {
    each(now.accepted.iter().filter_map(|one| Some((one.listener.as_str(), part(one.backlog?)))))
}
