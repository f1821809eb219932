//! A service that takes its time: the tutorial's `sleep(1)`.

use super::{Context, Flow, Refusal, Reply, Service, ServiceError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Sleeps before each message of another service, on the worker that serves it: work that blocks,
/// for trying out pool sizes and for the tutorial's server (one second a message, `exit` too).
#[derive(Debug, Clone)]
pub struct Delayed<S> {
    inner: S,
    delay: Delay,
}

/// A delay that can be changed while a service uses it. A clone is the same delay.
#[derive(Debug, Clone, Default)]
pub struct Delay {
    nanos: Arc<AtomicU64>,
}

impl Delay {
    /// Changes it for messages from now on. More than 584 years is as long as that.
    pub fn set(&self, delay: Duration) {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.store(nanos, Ordering::Relaxed);
    }

    /// Waits for as long as it is. Most often that is not at all, and costs a load.
    #[inline]
    fn pass(&self) {
        let nanos = self.nanos.load(Ordering::Relaxed);
        if nanos != 0 {
            thread::sleep(Duration::from_nanos(nanos));
        }
    }

    /// What it is now.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

impl From<Duration> for Delay {
    fn from(duration: Duration) -> Self {
        let delay = Self::default();
        delay.set(duration);
        delay
    }
}

impl<S: Service> Delayed<S> {
    /// `inner`, with `delay` before each message. Zero does not sleep at all.
    #[must_use]
    pub fn new(inner: S, delay: impl Into<Delay>) -> Self {
        Self { inner, delay: delay.into() }
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
        self.delay.pass();
        self.inner.call(ctx, message, reply)
    }

    fn refuse(&self, refusal: Refusal, reply: &mut Reply<'_>) {
        self.inner.refuse(refusal, reply);
    }
}
