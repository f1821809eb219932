//! A connection's input buffer: bytes that were read and not yet made into messages.
//!
//! Used by a worker during a turn, as its own scratch buffer or as what the connection kept from
//! an earlier turn. Knows no socket and no framing.

/// Room offered to one read.
const READ_SIZE: usize = 64 << 10;
/// A rest of up to this is copied into a buffer of its own size when the connection is put away;
/// a larger one stays in its buffer, which has up to four times its size.
const SMALL: usize = READ_SIZE / 4;

/// Bytes between `start` and `end` are unread; what is behind `end` is room.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The first `count` unread bytes have become a message.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "a message is made of what was read");
    }

    /// Room for one read, at least half a read's size.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() - self.end < READ_SIZE / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.bytes.len() - self.end < READ_SIZE / 2 {
                // By doubling, so that a long message is not copied at each of its reads.
                self.bytes.resize((2 * self.end).max(self.end + READ_SIZE), 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    /// A read has put `count` bytes into the room.
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// The input for a turn: the worker's scratch buffer with what the connection kept, or, if
    /// that is much, the connection's own.
    pub(super) fn begin(kept: &mut Self, scratch: &mut Self) -> Self {
        let rest = std::mem::take(kept);
        if rest.unread().len() > SMALL {
            return rest;
        }
        let mut input = std::mem::take(scratch);
        if !rest.is_empty() {
            input.room()[..rest.unread().len()].copy_from_slice(rest.unread());
            input.filled(rest.unread().len());
        }
        input
    }

    /// After the turn: a connection keeps what is unread and no more memory than that needs; the
    /// worker gets a buffer back.
    pub(super) fn put_away(mut self, kept: &mut Self, scratch: &mut Self) {
        if !self.is_empty() && self.end - self.start > SMALL {
            *kept = self;
            return;
        }
        *kept = Self { bytes: self.unread().to_vec(), start: 0, end: self.end - self.start };
        if scratch.bytes.is_empty() && self.bytes.len() == READ_SIZE {
            (self.start, self.end) = (0, 0);
            *scratch = self;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, READ_SIZE};

    fn put(input: &mut Input, bytes: &[u8]) {
        input.room()[..bytes.len()].copy_from_slice(bytes);
        input.filled(bytes.len());
    }

    #[test]
    fn a_small_rest_takes_its_own_size_and_the_scratch_buffer_comes_back() {
        let (mut kept, mut scratch) = (Input::default(), Input::default());
        let mut input = Input::begin(&mut kept, &mut scratch);
        put(&mut input, b"Ann\nBo");
        input.consume(4);
        input.put_away(&mut kept, &mut scratch);
        assert_eq!((kept.unread(), kept.bytes.len()), (&b"Bo"[..], 2));
        assert_eq!((scratch.bytes.len(), scratch.is_empty()), (READ_SIZE, true));

        let mut input = Input::begin(&mut kept, &mut scratch);
        put(&mut input, b"b\n");
        assert_eq!(input.unread(), b"Bob\n");
        input.consume(4);
        input.put_away(&mut kept, &mut scratch);
        assert_eq!(kept.bytes.capacity(), 0);
    }

    #[test]
    fn a_large_rest_moves_without_a_copy_and_grows_by_doubling() {
        let (mut kept, mut scratch) = (Input::default(), Input::default());
        let mut expected = Vec::new();
        for round in 0..100_u8 {
            let mut input = Input::begin(&mut kept, &mut scratch);
            let piece = vec![round; 20_000];
            put(&mut input, &piece);
            expected.extend_from_slice(&piece);
            input.put_away(&mut kept, &mut scratch);
        }
        assert_eq!(kept.unread(), expected);
        assert!(kept.bytes.len() <= 2 * expected.len() + READ_SIZE);
    }
}
