//! What the server counts, and how it is exported.

mod block;
mod snapshot;

pub(crate) use block::{Block, Counter};
pub use snapshot::{ListenerStats, Snapshot};
