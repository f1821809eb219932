//! The engine.

mod address;
mod options;

pub use address::Address;
pub use options::{MAX_WORKERS, Options, default_workers};
