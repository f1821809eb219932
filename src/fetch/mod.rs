//! The tutorial's web client: one GET over a plain socket, the head here, the body there.
//!
//! Owns the way from a URL to a whole body: [`Url`] (what can be asked for), the exchange (one
//! request on one connection), the head and the body's end. Called by `welcomed fetch`; it prints
//! nothing, writes no file and reports to an [`Observer`].
//!
//! HTTP/1.1 with `Connection: close`, no TLS, no content codings. Everything that a server sends
//! is bounded: 64 KiB and 128 fields of head, 16 interim answers, the lines between chunks; the
//! body and the time are where [`Options`] says so.

mod body;
mod chunked;
mod exchange;
mod head;
mod url;

use crate::dial::{Deadline, TimeIsUp};
use exchange::Exchange;
use std::io;
use std::time::Duration;

pub use crate::dial::{Error as DialError, Tried};
pub use chunked::ChunkError;
pub use head::Head;
pub use url::{Url, UrlError};

/// How far a fetch may go. By default: no limits, and no redirects.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How long all of it may take: resolving, connecting, redirects, body. `None`: for ever.
    pub max_time: Option<Duration>,
    /// How many bytes of body. `None`: any number.
    pub max_size: Option<u64>,
    /// How many redirects are followed. At 0 a redirect is an answer like any other.
    pub max_redirects: usize,
}

/// A redirect that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redirect {
    /// The status and its reason.
    pub status_line: String,
    /// Where to: resolved, or as it came if it is no URL.
    pub to: String,
    /// Whether the fetch goes on there.
    pub followed: bool,
}

/// Hears of a fetch while it runs, and takes the body.
pub trait Observer {
    /// A redirect was met; if it is followed, its head and body are not reported.
    fn redirect(&mut self, _redirect: &Redirect) {}

    /// The answer's head is here, and the body begins; `length` is its size if that is known.
    ///
    /// # Errors
    ///
    /// Ends the fetch with [`Error::Output`].
    fn head(&mut self, head: &Head, length: Option<u64>) -> io::Result<()>;

    /// The next bytes of the body.
    ///
    /// # Errors
    ///
    /// Ends the fetch with [`Error::Output`].
    fn body(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Asked before each read and ten times a second while nothing comes; `false` ends the fetch
    /// with [`Error::Interrupted`].
    fn go_on(&mut self) -> bool {
        true
    }
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] crate::dial::Error),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Connection(#[source] io::Error),
    /// The time is up.
    #[error("not finished within {after:?}")]
    TimedOut {
        /// How long there was.
        after: Duration,
    },
    /// The server closed before its answer's head was whole.
    #[error("the server closed the connection after {received} bytes, before a whole head")]
    NoAnswer {
        /// Bytes of head.
        received: usize,
    },
    /// Another protocol, or none.
    #[error("the server's answer is not HTTP/1.1: {reason}")]
    NotHttp {
        /// What is wrong with it.
        reason: String,
    },
    /// A head without an end.
    #[error("the answer's head is longer than {limit} bytes")]
    HeadTooLarge {
        /// How long it may be.
        limit: usize,
    },
    /// A coding that was not asked for.
    #[error("the transfer coding `{codings}` is not supported; allowed is `chunked`")]
    Coding {
        /// What the head says.
        codings: String,
    },
    /// A length that is no number.
    #[error("the answer's Content-Length `{value}` is not a number of bytes")]
    Length {
        /// What the head says.
        value: String,
    },
    /// Two lengths: the body's end is in doubt.
    #[error("the answer has two lengths, both {first} and {other}")]
    Lengths {
        /// The first.
        first: String,
        /// One that differs.
        other: String,
    },
    /// The stream ended inside the body.
    #[error("the body is cut short: {received} of {length} bytes came")]
    Short {
        /// Bytes that came.
        received: u64,
        /// Bytes that were announced.
        length: u64,
    },
    /// The stream ended before the last chunk.
    #[error("the body is cut short: the stream ended inside its chunks, after {received} bytes")]
    ShortChunks {
        /// Bytes that came.
        received: u64,
    },
    /// A chunk is not one.
    #[error("the chunked body is malformed: {0}")]
    Chunk(#[from] ChunkError),
    /// More body than allowed.
    #[error("the body is larger than the limit of {limit} bytes{}", announced(*.length))]
    TooLarge {
        /// How long it may be.
        limit: u64,
        /// How long it said it would be, if it did.
        length: Option<u64>,
    },
    /// A redirect that cannot be followed.
    #[error("the redirect to `{to}` cannot be followed: {source}")]
    Redirect {
        /// To where.
        to: String,
        /// Why not.
        source: UrlError,
    },
    /// Redirects without an end.
    #[error("more than {limit} redirects; the last one leads to {to}")]
    TooManyRedirects {
        /// How many are allowed.
        limit: usize,
        /// Where it would go on.
        to: String,
    },
    /// The observer could not take the head or the body.
    #[error("{0}")]
    Output(#[source] io::Error),
    /// The observer wanted no more.
    #[error("interrupted")]
    Interrupted,
}

fn announced(length: Option<u64>) -> String {
    length.map(|length| format!(": it has {length}")).unwrap_or_default()
}

impl From<TimeIsUp> for Error {
    fn from(TimeIsUp { after }: TimeIsUp) -> Self {
        Self::TimedOut { after }
    }
}

/// Fetches `url` and hands head and body to `observer`. Whatever its status, an answer that came
/// whole is a success. Blocks until then, or for [`Options::max_time`]; the observer may end it.
///
/// # Errors
///
/// See [`Error`]. The observer may have seen part of the body by then.
pub fn fetch(url: Url, options: &Options, observer: &mut dyn Observer) -> Result<Head, Error> {
    let deadline = Deadline::within(options.max_time);
    let mut url = url;
    let mut followed = 0;
    loop {
        let mut exchange = Exchange::start(&url, &deadline)?;
        let head = exchange.head(observer)?;
        if let Some(location) = head.location() {
            let follow = options.max_redirects > 0;
            let resolved = url.resolve(location);
            let to = match &resolved {
                Ok(to) => to.clone(),
                Err(_) => String::from_utf8_lossy(location).into_owned(),
            };
            let followable = follow && followed < options.max_redirects;
            let status_line = head.status_line();
            observer.redirect(&Redirect { status_line, to: to.clone(), followed: followable });
            if follow {
                if !followable {
                    return Err(Error::TooManyRedirects { limit: options.max_redirects, to });
                }
                followed += 1;
                let next = resolved.and_then(|to| to.parse());
                url = next.map_err(|source| Error::Redirect { to, source })?;
                continue;
            }
        }
        let body = head.body()?;
        observer.head(&head, body.length()).map_err(Error::Output)?;
        exchange.body(body, options.max_size, observer)?;
        return Ok(head);
    }
}

/// Reads an answer to the end, as [`fetch`] does once it has asked.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_answer(
    stream: impl io::Read,
    max_size: Option<u64>,
    observer: &mut dyn Observer,
) -> Result<Head, Error> {
    let deadline = Deadline::within(None);
    let mut exchange = Exchange::over(stream, &deadline);
    let head = exchange.head(observer)?;
    let body = head.body()?;
    observer.head(&head, body.length()).map_err(Error::Output)?;
    exchange.body(body, max_size, observer)?;
    Ok(head)
}
