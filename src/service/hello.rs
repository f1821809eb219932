//! The tutorial's service: greets, and says hello to each name.

use super::{Context, Flow, Reply, Service, ServiceError};

/// Says `Welcome!` to a new client, answers each message with `Hello, <message>!`, and closes on
/// `exit`. The message comes back byte for byte; an empty one gets `Hello, !`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hello;

impl Service for Hello {
    fn greet(&self, _: &mut Context<'_>, reply: &mut Reply<'_>) -> Result<Flow, ServiceError> {
        reply.push(b"Welcome!");
        Ok(Flow::Continue)
    }

    fn call(
        &self,
        _: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        if message == b"exit" {
            return Ok(Flow::Close);
        }
        reply.push(b"Hello, ");
        reply.push(message);
        reply.push(b"!");
        Ok(Flow::Continue)
    }
}
