//! The tutorial's client: it reads the greeting, says one name after another, and reads the reply
//! to each before the next.
//!
//! [`health`] is the other small client, for probes. Prints nothing, reads no environment; knows
//! the wire and no command line.
//!
//! ```no_run
//! use std::time::Duration;
//! use welcomed::client::{Client, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::connect(&"localhost:9999".parse()?, Options::default())?;
//! assert_eq!(client.greeting(Duration::from_secs(5))?, b"Welcome!");
//! assert_eq!(client.ask(b"Michael")?, b"Hello, Michael!");
//! client.finish();
//! # Ok(())
//! # }
//! ```

pub mod health;
mod stream;
mod target;

pub use target::{ConnectError, Target};

use crate::dial::Deadline;
use crate::protocol::Framing;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;
use stream::Stream;

/// For the look-up and all addresses; a network that drops our packets would take minutes.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long the end waits for the server's end.
const CLOSING_PATIENCE: Duration = Duration::from_secs(1);

/// The longest reply taken. What is longer is a service of another kind.
pub const LONGEST_REPLY_BYTES: usize = 16 << 20;

/// With one of these the engine gives a client up; the end of the stream follows.
const LAST_WORDS: [&str; 3] = ["Busy, try again later.", "Message too long (", "Internal error."];

/// How the client speaks, and how long it waits. By default: lines, and for ever.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// As on the server. [`Auto`](Framing::Auto) speaks as [`Line`](Framing::Line) does, which a
    /// server with either of them understands.
    pub framing: Framing,
    /// How long a reply may take, and how long a name may be stuck on its way; `None`: for ever.
    pub reply_timeout: Option<Duration>,
}

/// What the client waited for, or was about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited {
    /// The server's first words.
    Greeting,
    /// The reply to this name.
    Reply(Vec<u8>),
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greeting => f.write_str("the greeting"),
            Self::Reply(name) => write!(f, "the reply to `{}`", excerpt(name)),
        }
    }
}

/// Enough of the bytes to know them again, on one line and without control characters.
fn excerpt(bytes: &[u8]) -> String {
    const LONGEST: usize = 60;
    let text = String::from_utf8_lossy(bytes);
    let mut characters = text.chars();
    let mut excerpt: String = characters.by_ref().take(LONGEST).collect();
    if characters.next().is_some() {
        excerpt.push('…');
    }
    excerpt.escape_debug().to_string()
}

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name cannot be sent in this framing. Nothing was sent.
    #[error("{0}")]
    Unsendable(#[from] Unsendable),
    /// The server ended the stream or lost the connection.
    #[error("the server went away ({cause}) while {awaited} was awaited")]
    Gone {
        /// What was missing then.
        awaited: Awaited,
        /// How it went: `end of stream`, or the operating system's word.
        cause: Cow<'static, str>,
        /// What it said instead, if anything.
        last_words: Vec<u8>,
    },
    /// It took too long.
    #[error(
        "{awaited} did not come within {}{}",
        humantime::format_duration(*.within), half(.so_far)
    )]
    TimedOut {
        /// What did not come.
        awaited: Awaited,
        /// The time that it had.
        within: Duration,
        /// What came of it.
        so_far: Vec<u8>,
    },
    /// A reply that does not end.
    #[error("{0} is longer than {LONGEST_REPLY_BYTES} bytes")]
    TooLong(Awaited),
}

fn half(so_far: &[u8]) -> String {
    match so_far {
        [] => String::new(),
        _ => format!("; without an end of line came `{}`", excerpt(so_far)),
    }
}

/// Why a name cannot be sent as one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsendable {
    /// Line framing takes it for two.
    #[error("a name cannot contain a newline unless the framing is `raw`")]
    Newline,
    /// It is no bytes at all, and nothing answers to that.
    #[error("a name cannot be empty when the framing is `raw`")]
    Empty,
}

impl Options {
    /// Whether `name` is one message in this framing.
    ///
    /// # Errors
    /// It is none, or two.
    pub fn check(&self, name: &[u8]) -> Result<(), Unsendable> {
        match self.framing {
            Framing::Raw if name.is_empty() => Err(Unsendable::Empty),
            Framing::Auto | Framing::Line if name.contains(&b'\n') => Err(Unsendable::Newline),
            _ => Ok(()),
        }
    }
}

/// A connection to a server, with at most one name on its way.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<Stream>,
    options: Options,
}

impl Client {
    /// Connects to the first of the target's addresses that answers. Blocks, for at most five
    /// seconds, the look-up of a host's name included.
    ///
    /// # Errors
    /// None of them does; the error names each, and says what came of the last.
    pub fn connect(target: &Target, options: Options) -> Result<Self, ConnectError> {
        let stream = target.connect(&Deadline::within(Some(CONNECT_PATIENCE)))?;
        // A socket that takes no timeout would be a broken one, and its first use says so.
        stream.set_write_timeout(options.reply_timeout).ok();
        // In `raw` a reply is what one read returns, so that should be all that there is.
        Ok(Self { reader: BufReader::with_capacity(1 << 16, stream), options })
    }

    /// Waits for the greeting and returns it, without what ends it.
    ///
    /// # Errors
    /// It does not come within `patience`, or the server goes away.
    pub fn greeting(&mut self, patience: Duration) -> Result<Vec<u8>, Error> {
        self.receive(Some(patience), || Awaited::Greeting)
    }

    /// Sends a name and reads the reply, without what ends it. Blocks until then, or for as long
    /// as [`Options::reply_timeout`] says.
    ///
    /// # Errors
    /// The name cannot be sent, the reply does not come in time, or the server goes away.
    pub fn ask(&mut self, name: &[u8]) -> Result<Vec<u8>, Error> {
        self.options.check(name)?;
        let awaited = || Awaited::Reply(name.to_vec());
        let timeout = self.options.reply_timeout;
        match self.send(name) {
            Ok(()) => self.receive(timeout, awaited),
            Err(error) if is_timeout(&error) => Err(Error::TimedOut {
                awaited: awaited(),
                within: timeout.unwrap_or_default(),
                so_far: Vec::new(),
            }),
            // It went earlier than we sent; why, it may have said.
            Err(error) => Err(Error::Gone {
                awaited: awaited(),
                cause: error.to_string().into(),
                last_words: self.rest(),
            }),
        }
    }

    /// Says `exit`, and waits a second at most for the server's end of the stream, so that nothing
    /// is reset. Everything asked for has been answered by now, so no failure matters.
    pub fn finish(mut self) {
        if self.send(b"exit").and_then(|()| self.reader.get_ref().finish()).is_ok() {
            self.rest();
        }
    }

    fn send(&mut self, name: &[u8]) -> io::Result<()> {
        // One write, so that a name and its end travel in one segment.
        let message = [name, self.options.framing.ending().bytes()].concat();
        self.reader.get_mut().write_all(&message)
    }

    fn receive(
        &mut self,
        timeout: Option<Duration>,
        awaited: impl FnOnce() -> Awaited,
    ) -> Result<Vec<u8>, Error> {
        self.reader.get_mut().set_deadline(timeout);
        let mut reply = Vec::new();
        let cause = match self.read_reply(&mut reply) {
            Ok(true) if self.are_last_words(&reply) => "end of stream".into(),
            Ok(true) => return Ok(reply),
            Ok(false) if reply.len() > LONGEST_REPLY_BYTES => {
                return Err(Error::TooLong(awaited()));
            }
            Ok(false) => "end of stream".into(),
            Err(error) if is_timeout(&error) => {
                let within = timeout.unwrap_or_default();
                return Err(Error::TimedOut { awaited: awaited(), within, so_far: reply });
            }
            Err(error) => error.to_string().into(),
        };
        Err(Error::Gone { awaited: awaited(), cause, last_words: reply })
    }

    /// Reads into `reply`; whether it is whole.
    fn read_reply(&mut self, reply: &mut Vec<u8>) -> io::Result<bool> {
        if self.options.framing == Framing::Raw {
            let chunk = loop {
                match self.reader.fill_buf() {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    filled => break filled?,
                }
            };
            reply.extend_from_slice(chunk);
            let length = chunk.len();
            self.reader.consume(length);
            return Ok(length > 0);
        }
        let limit = LONGEST_REPLY_BYTES as u64 + 1;
        self.reader.by_ref().take(limit).read_until(b'\n', reply)?;
        let is_whole = reply.pop_if(|last| *last == b'\n').is_some();
        if is_whole {
            reply.pop_if(|last| *last == b'\r');
        }
        Ok(is_whole)
    }

    /// Whether this is how the server gives us up: one of its sentences and then the end. A
    /// service may well say the same and go on.
    fn are_last_words(&mut self, reply: &[u8]) -> bool {
        if !LAST_WORDS.iter().any(|words| reply.starts_with(words.as_bytes())) {
            return false;
        }
        self.reader.get_mut().set_deadline(Some(CLOSING_PATIENCE));
        self.reader.fill_buf().map_or_else(|error| !is_timeout(&error), <[u8]>::is_empty)
    }

    /// What still comes, for a moment.
    fn rest(&mut self) -> Vec<u8> {
        self.reader.get_mut().set_deadline(Some(CLOSING_PATIENCE));
        let mut rest = Vec::new();
        // What came before an error is all there is.
        self.reader.by_ref().take(LONGEST_REPLY_BYTES as u64).read_to_end(&mut rest).ok();
        rest
    }
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}
