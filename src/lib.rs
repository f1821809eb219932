//! A TCP server with a fixed pool of worker threads for blocking handlers.

pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod endpoint;
pub mod fetch;
pub mod metrics;
pub mod protocol;
pub mod server;
pub mod service;
