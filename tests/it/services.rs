//! Services that a test drives: they block, fail and panic when a message says so.

use crossbeam_channel::Receiver;
use welcomed::service::{Context, Flow, Reply, Service, ServiceError};

/// Echoes; on one certain message it waits until the test lets it go on. `slow` takes longer
/// than the engine's idea of a slow call.
pub struct Gate {
    message: &'static str,
    open: Receiver<()>,
}

impl Gate {
    pub fn new(message: &'static str, open: Receiver<()>) -> Self {
        Self { message, open }
    }
}

impl Service for Gate {
    fn call(
        &self,
        _: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        if message == self.message.as_bytes() {
            // A closed channel is an open gate.
            self.open.recv().ok();
        }
        if message == b"slow" {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        reply.push(message);
        Ok(Flow::Continue)
    }
}

/// Does what it is told: `panic`, `panic number`, `panic later`, `break the turn`, `fail`, `big`,
/// `close`, `count`; else echoes.
pub struct Obedient;

/// A connection's state whose end is a bug.
#[derive(Default)]
struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        panic!("as told");
    }
}

/// An error whose end is a bug: it panics where nobody expects a panic of the service.
#[derive(Debug)]
struct FragileError;

impl std::fmt::Display for FragileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("as told")
    }
}

impl std::error::Error for FragileError {}

impl Drop for FragileError {
    fn drop(&mut self) {
        panic!("as told");
    }
}

impl Service for Obedient {
    fn call(
        &self,
        ctx: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        match message {
            b"panic" => panic!("as told"),
            b"panic number" => std::panic::panic_any(7),
            b"panic later" => {
                ctx.state::<Fragile>();
            }
            b"break the turn" => return Err(FragileError.into()),
            b"fail" => return Err("as told".into()),
            b"big" => reply.push(&vec![b'x'; 100 << 20]),
            b"close" => {
                reply.push(b"bye");
                return Ok(Flow::Close);
            }
            b"count" => {
                let count = ctx.state::<u32>();
                *count += 1;
                reply.push(count.to_string().as_bytes());
            }
            other => reply.push(other),
        }
        Ok(Flow::Continue)
    }
}
