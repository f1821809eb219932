//! Where a body ends: at a length, behind the last chunk, or with the stream.
//!
//! Pure: bytes in, body bytes out. Made by `head`, fed by `exchange`; knows no socket.

use super::Error;
use super::chunked::{Decoder, Step};

/// What is still to come of a body.
#[derive(Debug)]
pub(super) enum Body {
    /// `left` of `length` bytes.
    Length { left: u64, length: u64 },
    /// Chunks.
    Chunked(Decoder),
    /// Whatever comes until the server closes.
    ToTheEnd,
}

impl Body {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Decoder::default())
    }

    /// How long it will be, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Length { length, .. } => Some(*length),
            Self::Chunked(_) | Self::ToTheEnd => None,
        }
    }

    /// Whether nothing more belongs to it.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Length { left, .. } => *left == 0,
            Self::Chunked(decoder) => decoder.is_done(),
            Self::ToTheEnd => false,
        }
    }

    /// The next run of body bytes at the front of `input`, and how much of it that took.
    pub(super) fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, Error> {
        match self {
            Self::Length { left, .. } => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= length as u64;
                Ok(Step { data: &input[..length], consumed: length })
            }
            Self::Chunked(decoder) => Ok(decoder.step(input)?),
            Self::ToTheEnd => Ok(Step { data: input, consumed: input.len() }),
        }
    }

    /// The stream has ended, after `received` bytes of body.
    pub(super) fn end(&self, received: u64) -> Result<(), Error> {
        match self {
            Self::ToTheEnd => Ok(()),
            _ if self.is_whole() => Ok(()),
            Self::Length { length, .. } => Err(Error::Short { received, length: *length }),
            Self::Chunked(_) => Err(Error::ShortChunks { received }),
        }
    }
}
