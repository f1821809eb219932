//! A service that takes its time: the tutorial's `sleep(1)`.

use super::{Context, Flow, Refusal, Reply, Service, ServiceError};
use std::thread;
use std::time::Duration;

/// Sleeps before each message of another service, on the worker that serves it: work that blocks,
/// for trying out pool sizes and for the tutorial's server (one second a message, `exit` too).
#[derive(Debug, Clone, Copy)]
pub struct Delayed<S> {
    inner: S,
    delay: Duration,
}

impl<S: Service> Delayed<S> {
    /// `inner`, with `delay` before each message. Zero does not sleep at all.
    #[must_use]
    pub fn new(inner: S, delay: Duration) -> Self {
        Self { inner, delay }
    }
}

impl<S: Service> Service for Delayed<S> {
    fn greet(&self, ctx: &mut Context<'_>, reply: &mut Reply<'_>) -> Result<Flow, ServiceError> {
        self.inner.greet(ctx, reply)
    }

    fn call(
        &self,
        ctx: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        if !self.delay.is_zero() {
            thread::sleep(self.delay);
        }
        self.inner.call(ctx, message, reply)
    }

    fn refuse(&self, refusal: Refusal, reply: &mut Reply<'_>) {
        self.inner.refuse(refusal, reply);
    }
}
