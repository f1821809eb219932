//! The log's counters on `/metrics`.
//!
//! Registered by `serve` beside the endpoint's own; read at each scrape.

use super::BACKEND;
use super::backend::{Backend, COUNTED};
use crate::endpoint::Endpoint;
use crate::metrics::{Kind, Row, Table, Value};
use crate::server::Error;

/// Has `endpoint` export the counters of the log, once it is installed.
pub(in crate::cli) fn export(endpoint: &Endpoint) -> Result<(), Error> {
    let Some(backend) = BACKEND.get() else {
        return Ok(());
    };
    let table = Table::new("welcomed", FAMILIES, move || backend);
    let registered = table.and_then(|table| endpoint.registry().register(Box::new(table)));
    registered.map_err(|error| Error::Invalid(error.to_string()))
}

const FAMILIES: &[Row<&'static Backend>] = &[
    Row {
        name: "log_messages_total",
        kind: Kind::Counter,
        labels: &["level"],
        help: "Log records emitted.",
        read: |log| {
            let levels = COUNTED.iter().zip(log.counts());
            let sample = |((name, _), count): (&(&'static str, _), u64)| {
                (vec![*name], Value::Number(count as f64))
            };
            levels.map(sample).collect()
        },
    },
    Row {
        name: "log_dropped_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Log records dropped because the log queue was full.",
        read: |log| vec![(Vec::new(), Value::Number(log.lost() as f64))],
    },
];
