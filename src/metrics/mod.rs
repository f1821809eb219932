//! What the server counts, and how it is exported.

mod collector;
mod process;
mod snapshot;
mod table;

pub use collector::collector;
pub use process::process_collector;
pub use snapshot::{ListenerStats, Snapshot};
