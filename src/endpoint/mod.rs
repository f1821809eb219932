//! The side endpoint: metrics, health and readiness over HTTP, beside the service and apart from
//! it. It has a small engine of its own, so that it answers while the service's workers are all
//! busy or stuck: that is the point of it.

mod http;
mod routes;
#[cfg(test)]
mod tests;

pub use routes::{Endpoint, Readiness};
