//! What the server counts, and how it is exported.

mod backlog;
mod block;
mod collector;
mod process;
mod quantile;
mod snapshot;
mod table;

pub(crate) use backlog::listen_backlog;
pub(crate) use block::{Block, Counter, FIRST_BUCKET_NANOS, Stopwatch, counters};
pub use collector::collector;
pub(crate) use process::blocked_signals;
pub use process::process_collector;
/// The crate whose registry these metrics are made for: a service that registers metrics of its
/// own takes it from here, and has the same version.
pub use prometheus;
pub use snapshot::{Distribution, LIFETIMES, ListenerStats, SECONDS, Snapshot, TurnNow};
pub(crate) use table::{Kind, Row, Samples, Table, Value};
