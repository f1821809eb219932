//! The reply under construction.
//!
//! Owns the bound on its length. Filled by a service, made and read by the engine; knows nothing
//! of where the bytes go.

use std::io;

/// Where a service writes its answer.
///
/// The bytes go straight behind the replies that already wait to be sent. Growing beyond the
/// server's bound (`max_pending_output`) makes the reply fail: it is then dropped whole, counted
/// as `reply_too_large`, and the connection closes with [`Refusal::Internal`](super::Refusal).
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    limit: usize,
    overflowed: bool,
}

impl<'a> Reply<'a> {
    /// A reply that is appended to `out` and may have `limit` bytes.
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>, limit: usize) -> Self {
        let start = out.len();
        Self { out, start, limit, overflowed: false }
    }

    /// Appends `bytes`.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.len() > self.limit - self.len() {
            self.overflowed = true;
        } else if !self.overflowed {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len() - self.start
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether more was written than the bound allows.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Takes back everything written.
    pub fn clear(&mut self) {
        self.out.truncate(self.start);
        self.overflowed = false;
    }
}

/// `write!` into a reply. A write beyond the bound is an error of kind `OutOfMemory`; the bound
/// is checked by the engine too, so that the error may be ignored.
impl io::Write for Reply<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        if self.overflowed {
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                format!("the reply is longer than {} bytes", self.limit),
            ));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;
    use std::io::Write;

    #[test]
    fn a_reply_keeps_to_its_bound_and_spares_what_stands_before_it() {
        let mut out = b"earlier\n".to_vec();
        let mut reply = Reply::new(&mut out, 5);
        reply.push(b"12345");
        assert!(!reply.overflowed());
        assert!(write!(reply, "6").is_err());
        assert!(reply.overflowed());
        reply.push(b"");
        assert_eq!(reply.len(), 5);
        reply.clear();
        assert!(reply.is_empty() && !reply.overflowed());
        assert_eq!(out, b"earlier\n");
    }
}
