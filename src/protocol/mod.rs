//! Bytes to messages: what a message is, where it ends, and how long it may be.
//!
//! TCP has no messages, so the framing is configured. Pure: no socket, no clock, no thread; the
//! engine feeds it what it has read and it says what stands there.

use std::fmt;
use std::str::FromStr;

/// A text that is not what it is read as. Says which text, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

impl From<String> for ParseError {
    fn from(what: String) -> Self {
        Self(what)
    }
}

/// How messages are told apart in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Framing {
    /// Until a connection has sent its first newline, as [`Raw`](Framing::Raw); from then on as
    /// [`Line`](Framing::Line). Lets `nc`, `telnet` and the tutorial's client (which sends no
    /// newlines) all work. Its limit: a first line that arrives in two segments is two messages.
    #[default]
    Auto,
    /// What stands before `\n`; one `\r` before it is dropped. Replies end with `\n`.
    Line,
    /// What one read returned, the tutorial's rule. Replies end with nothing.
    Raw,
    /// Up to and with the first empty line: an HTTP head. Replies end with nothing.
    Head,
}

impl Framing {
    /// The framings that a configuration may name, with their names.
    pub const NAMED: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("line", Self::Line), ("raw", Self::Raw)];

    /// What ends a reply to no message in particular: a greeting or a refusal.
    #[must_use]
    pub fn ending(self) -> Ending {
        match self {
            Self::Auto | Self::Line => Ending::Newline,
            Self::Raw | Self::Head => Ending::Nothing,
        }
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Line => "line",
            Self::Raw => "raw",
            Self::Head => "head",
        })
    }
}

impl FromStr for Framing {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let named = Self::NAMED.iter().find(|(name, _)| *name == text);
        named.map(|(_, framing)| *framing).ok_or_else(|| {
            format!("`{text}` is not a framing; allowed are `auto`, `line` and `raw`").into()
        })
    }
}

/// What ends a reply on the wire: the same as ended its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// `\n`
    Newline,
    /// Nothing.
    Nothing,
}

impl Ending {
    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Newline => b"\n",
            Self::Nothing => b"",
        }
    }
}

/// What stands at the front of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split<'a> {
    /// A whole message.
    Message {
        /// The message without its framing.
        body: &'a [u8],
        /// What ends the reply to it.
        ending: Ending,
        /// Bytes of input it took, framing included; at least 1.
        consumed: usize,
    },
    /// No whole message yet: read more. At the end of the stream: nothing more comes of it.
    Incomplete,
    /// The message is longer than the limit; there is no way on from here.
    TooLong,
}

/// What a connection's framing remembers between two reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// `auto`: a newline has been seen.
    lines: bool,
    /// Bytes at the front of the input that are known to hold no end, so that a long message in
    /// many pieces is searched once.
    searched: usize,
}

/// A framing with its limit.
#[derive(Debug, Clone, Copy)]
pub struct Splitter {
    framing: Framing,
    max_message: usize,
}

impl Splitter {
    /// Messages of at most `max_message` bytes, framing not counted.
    #[must_use]
    pub fn new(framing: Framing, max_message: usize) -> Self {
        Self { framing, max_message }
    }

    /// How many bytes the next read may take, when the caller's buffer has room for `room`: in
    /// `raw` one read is one message, so no more than the limit.
    #[must_use]
    pub fn read_limit(&self, progress: &Progress, room: usize) -> usize {
        let one_read_is_one_message = match self.framing {
            Framing::Raw => true,
            Framing::Auto => !progress.lines,
            Framing::Line | Framing::Head => false,
        };
        if one_read_is_one_message { room.min(self.max_message) } else { room }
    }

    /// Looks at the front of `input`, which starts where the last message ended. `at_end`: the
    /// stream has ended and nothing will follow.
    #[inline]
    pub fn split<'a>(&self, progress: &mut Progress, input: &'a [u8], at_end: bool) -> Split<'a> {
        if input.is_empty() {
            return Split::Incomplete;
        }
        match self.framing {
            Framing::Line => self.line(progress, input),
            Framing::Raw => self.whole(input),
            Framing::Auto => self.auto(progress, input, at_end),
            Framing::Head => self.head(progress, input),
        }
    }

    fn whole<'a>(&self, input: &'a [u8]) -> Split<'a> {
        if input.len() > self.max_message {
            return Split::TooLong;
        }
        Split::Message { body: input, ending: Ending::Nothing, consumed: input.len() }
    }

    #[inline]
    fn line<'a>(&self, progress: &mut Progress, input: &'a [u8]) -> Split<'a> {
        let Some(end) = memchr::memchr(b'\n', &input[progress.searched..]) else {
            progress.searched = input.len();
            // One byte more than the limit may still be the `\r` that is dropped.
            let held_back = usize::from(input.last() == Some(&b'\r'));
            return if input.len() - held_back > self.max_message {
                Split::TooLong
            } else {
                Split::Incomplete
            };
        };
        let end = progress.searched + end;
        progress.searched = 0;
        let body = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        if body.len() > self.max_message {
            return Split::TooLong;
        }
        Split::Message { body, ending: Ending::Newline, consumed: end + 1 }
    }

    fn auto<'a>(&self, progress: &mut Progress, input: &'a [u8], at_end: bool) -> Split<'a> {
        if !progress.lines {
            if !input.contains(&b'\n') {
                return self.whole(input);
            }
            progress.lines = true;
        }
        match self.line(progress, input) {
            // An unterminated last line is a message here.
            Split::Incomplete if at_end => self.whole(input),
            split => split,
        }
    }

    fn head<'a>(&self, progress: &mut Progress, input: &'a [u8]) -> Split<'a> {
        // The end may straddle the place up to which was searched: up to three bytes of it.
        let from = progress.searched.saturating_sub(3);
        let Some(consumed) = end_of_head(&input[from..]).map(|end| from + end) else {
            progress.searched = input.len();
            return if input.len() > self.max_message { Split::TooLong } else { Split::Incomplete };
        };
        progress.searched = 0;
        if consumed > self.max_message {
            return Split::TooLong;
        }
        Split::Message { body: &input[..consumed], ending: Ending::Nothing, consumed }
    }
}

/// Where the first empty line ends: behind `\n\r\n` or `\n\n`.
fn end_of_head(input: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', input).find_map(|at| match &input[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}
