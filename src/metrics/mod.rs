//! What the server counts, and how it is exported.

mod block;
mod collector;
mod process;
mod snapshot;
mod table;

pub(crate) use block::{Block, Counter};
pub use collector::collector;
pub use process::process_collector;
pub use snapshot::{Distribution, LIFETIMES, ListenerStats, SECONDS, Snapshot};
