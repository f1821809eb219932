//! The discard service of RFC 863.

use super::{Context, Flow, Reply, Service, ServiceError};

/// Reads messages and answers none ([RFC 863](https://www.rfc-editor.org/rfc/rfc863)).
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Service for Discard {
    fn call(&self, _: &mut Context<'_>, _: &[u8], _: &mut Reply<'_>) -> Result<Flow, ServiceError> {
        Ok(Flow::Silent)
    }
}
