//! The integration tests: one crate, one module per behaviour, on the real binary over real
//! sockets.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // tests
#![allow(missing_docs, unreachable_pub)] // no API

mod activation;
mod advise;
mod bench;
mod browser;
mod chaos;
mod client;
mod config;
mod dashboards;
mod deploy;
mod drain;
mod endpoint;
mod examples;
mod exposition;
mod faults;
mod fetch;
mod hello;
mod library;
mod limits;
mod log;
mod manual;
mod metrics;
mod outputs;
mod overload;
mod page;
mod prometheus;
mod reload;
mod services;
mod stop;
mod support;
mod systemd;
mod time_outs;
mod tune;
mod watchdog;
