//! The integration tests: one crate, one module per behaviour, on the real binary over real
//! sockets.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // tests
#![allow(missing_docs, unreachable_pub)] // no API

mod advise;
mod browser;
mod client;
mod config;
mod dashboards;
mod endpoint;
mod exposition;
mod fetch;
mod hello;
mod limits;
mod metrics;
mod page;
mod prometheus;
mod services;
mod stop;
mod support;
