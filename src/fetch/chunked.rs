//! The chunked transfer coding (RFC 9112, section 7.1), decoded as it comes. Pure.

/// The longest line of a chunk's size with its extensions, and of the trailers together.
const LONGEST_LINE: usize = 4 << 10;
const LONGEST_TRAILERS: usize = 64 << 10;

/// What is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// A line with a size.
    Size,
    /// So many bytes of a chunk.
    Data(u64),
    /// The end of line behind a chunk.
    DataEnd,
    /// A line of the trailers, or the empty one that ends them.
    Trailer,
    /// Nothing: what follows is not part of the body.
    Done,
}

/// A decoder in the middle of a body.
#[derive(Debug)]
pub struct Decoder {
    expect: Expect,
    /// The line so far.
    line: Vec<u8>,
    trailers: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { expect: Expect::Size, line: Vec::new(), trailers: 0 }
    }
}

impl Decoder {
    /// Decodes the next piece of the stream, and hands out what of the body was in it.
    ///
    /// # Errors
    ///
    /// What was wrong with the coding, or the error of `body`.
    pub fn decode<E: From<String>>(
        &mut self,
        mut input: &[u8],
        mut body: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !input.is_empty() && self.expect != Expect::Done {
            if let Expect::Data(left) = self.expect {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let (data, rest) = input.split_at(length);
                body(data)?;
                input = rest;
                let left = left - length as u64;
                self.expect = if left == 0 { Expect::DataEnd } else { Expect::Data(left) };
                continue;
            }
            let end = memchr::memchr(b'\n', input);
            let (piece, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
            self.line.extend_from_slice(piece);
            input = rest;
            if self.line.len() > LONGEST_LINE {
                return Err(format!("a line of {} bytes in the coding", self.line.len()).into());
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                self.expect = self.after(line.trim_ascii_end())?;
            }
        }
        Ok(())
    }

    /// Whether the body is whole.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.expect == Expect::Done
    }

    /// What follows a whole line.
    fn after(&mut self, line: &[u8]) -> Result<Expect, String> {
        let shown = || line.escape_ascii().to_string();
        match self.expect {
            Expect::Size => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                match size(digits.trim_ascii_end()) {
                    Some(0) => Ok(Expect::Trailer),
                    Some(size) => Ok(Expect::Data(size)),
                    None => Err(format!("`{}` is not the size of a chunk", shown())),
                }
            }
            Expect::DataEnd if line.is_empty() => Ok(Expect::Size),
            Expect::DataEnd => Err(format!("a chunk goes on beyond its size: `{}`", shown())),
            Expect::Trailer if line.is_empty() => Ok(Expect::Done),
            Expect::Trailer => {
                self.trailers += line.len();
                if self.trailers > LONGEST_TRAILERS {
                    return Err(format!("more than {LONGEST_TRAILERS} bytes of trailers"));
                }
                Ok(Expect::Trailer)
            }
            Expect::Data(_) | Expect::Done => unreachable!("no line is expected here"),
        }
    }
}

/// Hexadecimal digits and nothing else, at most 16 of them.
fn size(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::Decoder;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), String> {
        let (mut decoder, mut body) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.decode(piece, |bytes| {
                body.extend_from_slice(bytes);
                Ok::<(), String>(())
            })?;
        }
        Ok((body, decoder.is_done()))
    }

    #[test]
    fn extensions_and_trailers_are_passed_over() {
        let coded = b"4;name=\"v\"\r\nWiki\r\n00A \r\n0123456789\r\n0\r\nX: y\r\n\r\nbehind";
        assert_eq!(decode(&[coded]), Ok((b"Wiki0123456789".to_vec(), true)));
    }

    #[test]
    fn a_body_that_stops_early_is_not_done() {
        assert_eq!(decode(&[b"4\r\nWi"]), Ok((b"Wi".to_vec(), false)));
        assert_eq!(decode(&[b"4\r\nWiki\r\n0\r\n"]), Ok((b"Wiki".to_vec(), false)));
    }

    #[test]
    fn what_is_not_the_coding_is_refused() {
        for (coded, reason) in [
            (&b"x\r\n"[..], "`x` is not the size"),
            (b"\r\n", "is not the size"),
            (b"-1\r\n", "is not the size"),
            (b"+1\r\n", "is not the size"),
            (b"11111111111111111\r\n", "is not the size"),
            (b"2\r\nabc\r\n", "beyond its size"),
            (&[b'1'; 5000], "a line of 5000 bytes"),
        ] {
            let refused = decode(&[coded]).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        let trailers = [b"0\r\n".to_vec(), b"Name: value\r\n".repeat(10_000)].concat();
        assert!(decode(&[&trailers]).unwrap_err().contains("bytes of trailers"));
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(any::<usize>(), 0..20),
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                coded.extend(chunk);
                coded.extend(b"\r\n");
            }
            coded.extend(b"0\r\n\r\n");
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (coded.len() + 1)).collect();
            places.extend([0, coded.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|it| &coded[it[0]..it[1]]).collect();
            prop_assert_eq!(decode(&pieces), Ok((chunks.concat(), true)));
        }
    }
}
