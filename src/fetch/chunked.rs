//! The chunked transfer coding, decoded (RFC 9112, section 7.1).
//!
//! Pure: bytes in, bytes out, in pieces of any size. Called by `body`; knows no socket. Chunk
//! extensions and trailer fields are read over, as they mean nothing to a file.

/// The longest line around the chunks, a size with its extensions, in bytes.
const MAX_LINE: usize = 4096;
/// All trailer fields together, in bytes.
const MAX_TRAILERS: usize = 16 * 1024;

/// What is wrong with a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// A chunk does not start with its size.
    #[error("a chunk's size is not a hexadecimal number")]
    Size,
    /// A size that no one can count to.
    #[error("a chunk's size is larger than 64 bits")]
    SizeTooLarge,
    /// A chunk is longer than its size says, or a line does not end as it must.
    #[error("CR LF is missing where a line or a chunk must end")]
    LineEnd,
    /// A size line is longer than 4,096 bytes.
    #[error("a chunk's extensions are longer than {MAX_LINE} bytes")]
    LineTooLong,
    /// The trailers are longer than 16,384 bytes.
    #[error("the trailer fields are longer than {MAX_TRAILERS} bytes")]
    TrailersTooLong,
}

/// Where the decoder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    FirstDigit,
    /// Behind a digit.
    Digits,
    /// Blanks behind the size; some servers pad it.
    Padding,
    /// In an extension.
    Extension,
    /// Behind the CR of a size line.
    SizeLineFeed,
    /// In a chunk, with `remaining` bytes to come.
    Data,
    /// Behind a chunk.
    DataReturn,
    /// Behind a chunk's CR.
    DataLineFeed,
    /// At the start of a line behind the last chunk.
    TrailerStart,
    /// In a trailer field.
    Trailer,
    /// Behind a trailer field's CR.
    TrailerLineFeed,
    /// Behind the CR of the empty line that ends all.
    LastLineFeed,
    /// All read.
    Done,
}

/// A decoder, good for one body.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    /// The size of the chunk while it is read, then what is to come of it.
    remaining: u64,
    /// Bytes of the size line, or of the trailers, so far.
    line: usize,
}

/// A step of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step<'a> {
    /// Body bytes; empty if the input held none.
    pub(super) data: &'a [u8],
    /// Bytes of input that the step took: all of it, unless data or the end came first.
    pub(super) consumed: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::FirstDigit, remaining: 0, line: 0 }
    }
}

impl Decoder {
    /// Whether the body has ended; bytes behind it are not looked at.
    #[must_use]
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads on: up to and with the next run of body bytes, or all of `input`.
    ///
    /// # Errors
    ///
    /// See [`ChunkError`]. The decoder is of no use after one.
    pub(super) fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, ChunkError> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let length = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                let data = &input[at..][..length.min(input.len() - at)];
                self.remaining -= data.len() as u64;
                if self.remaining == 0 {
                    self.state = State::DataReturn;
                }
                return Ok(Step { data, consumed: at + data.len() });
            }
            self.state = self.next(input[at])?;
            at += 1;
        }
        Ok(Step { data: &[], consumed: at })
    }

    /// One byte outside the data.
    fn next(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.count()?;
        match (self.state, byte) {
            (State::FirstDigit | State::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digit(byte)?;
                Ok(State::Digits)
            }
            (State::FirstDigit, _) => Err(ChunkError::Size),
            (State::Digits | State::Padding, b' ' | b'\t') => Ok(State::Padding),
            (State::Digits | State::Padding, b';') => Ok(State::Extension),
            (State::Digits | State::Padding | State::Extension, b'\r') => Ok(State::SizeLineFeed),
            (State::Extension, b'\n') => Err(ChunkError::LineEnd),
            (State::Extension, _) => Ok(State::Extension),
            (State::Digits | State::Padding, _) => Err(ChunkError::Size),
            (State::SizeLineFeed, b'\n') => {
                self.line = 0;
                Ok(if self.remaining == 0 { State::TrailerStart } else { State::Data })
            }
            (State::DataReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => {
                self.line = 0;
                Ok(State::FirstDigit)
            }
            (State::TrailerStart, b'\r') => Ok(State::LastLineFeed),
            (State::TrailerStart | State::Trailer, b'\n') => Err(ChunkError::LineEnd),
            (State::Trailer, b'\r') => Ok(State::TrailerLineFeed),
            (State::TrailerStart | State::Trailer, _) => Ok(State::Trailer),
            (State::TrailerLineFeed, b'\n') => Ok(State::TrailerStart),
            (State::LastLineFeed, b'\n') => Ok(State::Done),
            _ => Err(ChunkError::LineEnd),
        }
    }

    /// Bounds what stands around the data.
    fn count(&mut self) -> Result<(), ChunkError> {
        self.line += 1;
        let trailers = matches!(
            self.state,
            State::TrailerStart | State::Trailer | State::TrailerLineFeed | State::LastLineFeed
        );
        match trailers {
            true if self.line > MAX_TRAILERS => Err(ChunkError::TrailersTooLong),
            false if self.line > MAX_LINE => Err(ChunkError::LineTooLong),
            _ => Ok(()),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<(), ChunkError> {
        let digit = (byte as char).to_digit(16).ok_or(ChunkError::Size)?;
        self.remaining = self
            .remaining
            .checked_mul(16)
            .and_then(|size| size.checked_add(u64::from(digit)))
            .ok_or(ChunkError::SizeTooLarge)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes pieces; the body, whether it ended, and the bytes behind it.
    fn decode<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, bool, usize), ChunkError> {
        let (mut decoder, mut body, mut left) = (Decoder::default(), Vec::new(), 0);
        for mut piece in pieces {
            while !piece.is_empty() && !decoder.is_done() {
                let step = decoder.step(piece)?;
                assert!(step.consumed > 0, "a step takes something");
                body.extend_from_slice(step.data);
                piece = &piece[step.consumed..];
            }
            left += piece.len();
        }
        Ok((body, decoder.is_done(), left))
    }

    fn whole(input: &[u8]) -> Result<(Vec<u8>, bool, usize), ChunkError> {
        decode([input])
    }

    #[test]
    fn chunks_extensions_and_trailers() {
        let ok = |body: &[u8], left| Ok((body.to_vec(), true, left));
        assert_eq!(whole(b"0\r\n\r\n"), ok(b"", 0));
        assert_eq!(whole(b"5\r\nhello\r\n0\r\n\r\n"), ok(b"hello", 0));
        assert_eq!(whole(b"5;a=\"b\"\r\nhello\r\nA  \r\n0123456789\r\n00\r\n\r\n!!"), {
            ok(b"hello0123456789", 2)
        });
        assert_eq!(whole(b"1\r\nx\r\n0\r\nEtag: a\r\nB: c\r\n\r\n"), ok(b"x", 0));
        assert_eq!(whole(b"2\r\n\r\n\r\n0\r\n\r\n"), ok(b"\r\n", 0));
    }

    #[test]
    fn a_truncated_body_is_not_done() {
        let input = b"5;x\r\nhello\r\n0\r\nA: b\r\n\r\n";
        for end in 0..input.len() {
            let (_, done, _) = whole(&input[..end]).unwrap();
            assert!(!done, "the first {end} bytes");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (input, error) in [
            (&b"\r\n"[..], ChunkError::Size),
            (b"-1\r\n", ChunkError::Size),
            (b"0x5\r\n", ChunkError::Size),
            (b"5 5\r\nhello", ChunkError::Size),
            (b"5\nhello", ChunkError::Size),
            (b"5;a\nhello", ChunkError::LineEnd),
            (b"5\rhello", ChunkError::LineEnd),
            (b"10000000000000000\r\n", ChunkError::SizeTooLarge),
            (b"4\r\nhello\r\n", ChunkError::LineEnd),
            (b"5\r\nhello\n", ChunkError::LineEnd),
            (b"0\r\n\n", ChunkError::LineEnd),
            (b"0\r\nA: b\n", ChunkError::LineEnd),
            (b"0\r\n\rx", ChunkError::LineEnd),
        ] {
            assert_eq!(whole(input), Err(error), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn what_has_no_end_is_cut() {
        let endless = |start: &[u8]| [start, &[b'a'; MAX_TRAILERS + 1]].concat();
        assert_eq!(whole(&endless(b"5;")), Err(ChunkError::LineTooLong));
        assert_eq!(whole(&[b'0'; MAX_LINE + 1]), Err(ChunkError::LineTooLong));
        assert_eq!(whole(&endless(b"0\r\n")), Err(ChunkError::TrailersTooLong));
        let short_ones = [&b"0\r\n"[..], &b"A: b\r\n".repeat(MAX_TRAILERS / 6 + 1)].concat();
        assert_eq!(whole(&short_ones), Err(ChunkError::TrailersTooLong));
    }

    proptest! {
        #[test]
        fn any_chunks_in_any_pieces(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..8),
            extension in "(;[a-z]{0,9}(=[a-z\"]{0,9})?)?",
            trailer in "([A-Z][a-z]{0,9}: [ -~]{0,20}\r\n){0,3}",
            cut in 1_usize..50,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(format!("0{extension}\r\n{trailer}\r\n").as_bytes());
            prop_assert_eq!(decode(wire.chunks(cut)), Ok((chunks.concat(), true, 0)));
        }

        #[test]
        fn arbitrary_bytes_do_not_depend_on_the_pieces(
            wire in prop::collection::vec(
                prop::sample::select(&b"0123fA;\r\n: x"[..]), 0..60),
            cut in 1_usize..9,
        ) {
            let all = whole(&wire).map(|(body, done, _)| (body, done));
            let pieces = decode(wire.chunks(cut)).map(|(body, done, _)| (body, done));
            prop_assert_eq!(all, pieces);
        }
    }
}
