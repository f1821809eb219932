//! What the server counts, and how it is exported.

mod snapshot;

pub use snapshot::{ListenerStats, Snapshot};
