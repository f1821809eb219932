//! The echo service of RFC 862, message by message.

use super::{Context, Flow, Reply, Service, ServiceError};

/// Sends every message back as it came ([RFC 862](https://www.rfc-editor.org/rfc/rfc862)). It
/// has no greeting and no way to end but the end of the stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

impl Service for Echo {
    fn call(
        &self,
        _: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        reply.push(message);
        Ok(Flow::Continue)
    }
}
