//! Fetching a page over a raw socket: the tutorial's second client.
//!
//! Resolves, connects, sends one request, reads the answer to its end, decodes and checks it.
//! Library code: what has come is handed to a [`Sink`]; nothing is printed and no file touched.

mod chunked;
mod response;
mod url;

use response::{Body, LONGEST_HEAD};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

pub use chunked::Decoder;
pub use response::Head;
pub use url::Url;

/// How long one address may take to answer a connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most redirects that are followed.
pub const MOST_REDIRECTS: usize = 10;

/// Bounds of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// For all of it, redirects included; the look-up of a name may take longer. Default: none.
    pub max_time: Option<Duration>,
    /// Longest body in bytes. Default: none.
    pub max_size: Option<u64>,
    /// Follow redirects, at most [`MOST_REDIRECTS`]. Default: no.
    pub follow: bool,
}

/// Where an answer goes.
pub trait Sink {
    /// A head has come, of the answer or of a redirect before it.
    ///
    /// # Errors
    ///
    /// Whatever ends the fetch.
    fn head(&mut self, head: &Head) -> io::Result<()>;

    /// The next bytes of the answer's body.
    ///
    /// # Errors
    ///
    /// Whatever ends the fetch.
    fn body(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's name has no address.
    #[error("{host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the look-up said.
        source: io::Error,
    },
    /// No address could be connected to. Names each with its error.
    #[error("cannot connect to {0}")]
    Connect(String),
    /// The connection broke.
    #[error("{url}: {source}")]
    Io {
        /// What was being fetched.
        url: Url,
        /// What went wrong.
        source: io::Error,
    },
    /// The answer is not what HTTP allows, or not whole. Says what is wrong.
    #[error("{url}: {reason}")]
    Answer {
        /// What was being fetched.
        url: Url,
        /// What is wrong.
        reason: String,
    },
    /// It took longer than `max_time`.
    #[error("{url}: not done after {}", humantime::format_duration(*.after))]
    TooSlow {
        /// What was being fetched.
        url: Url,
        /// The bound.
        after: Duration,
    },
    /// The body is longer than `max_size`.
    #[error("{url}: the body is longer than {limit} bytes")]
    TooLarge {
        /// What was being fetched.
        url: Url,
        /// The bound.
        limit: u64,
    },
    /// A redirect leads nowhere that can be fetched, or there are too many.
    #[error("{url}: redirected {reason}")]
    Redirect {
        /// What was being fetched.
        url: Url,
        /// Where to, and why not.
        reason: String,
    },
    /// The sink would not take more.
    #[error(transparent)]
    Sink(io::Error),
}

/// Fetches a page; `sink` gets its head and its body. Returns the status of the answer. Blocks
/// until it is whole.
///
/// # Errors
///
/// Anything but a whole answer. Its status does not matter.
pub fn fetch(url: &Url, options: &Options, sink: &mut dyn Sink) -> Result<u16, Error> {
    let mut url = url.clone();
    let deadline = options.max_time.map(|time| (Instant::now() + time, time));
    for _ in 0..=MOST_REDIRECTS {
        let mut exchange = Exchange::begin(&url, options, deadline)?;
        let (head, body, rest) = exchange.read_head()?;
        sink.head(&head).map_err(Error::Sink)?;
        let next = match &head.location {
            Some(location) if options.follow => {
                url.resolve(location).map_err(|reason| Error::Redirect {
                    url: url.clone(),
                    reason: format!("to where it cannot go: {reason}"),
                })?
            }
            _ => {
                exchange.read_body(body, rest, sink)?;
                return Ok(head.status);
            }
        };
        url = next;
    }
    Err(Error::Redirect { url, reason: format!("more than {MOST_REDIRECTS} times") })
}

/// One request and its answer.
struct Exchange<'a> {
    url: &'a Url,
    options: &'a Options,
    deadline: Option<(Instant, Duration)>,
    socket: TcpStream,
}

impl<'a> Exchange<'a> {
    fn begin(
        url: &'a Url,
        options: &'a Options,
        deadline: Option<(Instant, Duration)>,
    ) -> Result<Self, Error> {
        let socket = connect(url, deadline)?;
        let mut exchange = Self { url, options, deadline, socket };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: welcomed/{}\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n",
            url.target(),
            url.authority(),
            env!("CARGO_PKG_VERSION")
        );
        let left = exchange.left()?;
        let sent = exchange.socket.set_write_timeout(left);
        sent.and_then(|()| exchange.socket.write_all(request.as_bytes()))
            .map_err(|error| exchange.failed(error))?;
        Ok(exchange)
    }

    /// Reads up to the end of the final head; returns what came behind it too.
    fn read_head(&mut self) -> Result<(Head, Body, Vec<u8>), Error> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 << 10];
        loop {
            while let Some((head, body, length)) =
                response::parse(&bytes).map_err(|reason| self.wrong(reason))?
            {
                bytes.drain(..length);
                // An interim answer is followed by the real one.
                if head.status >= 200 {
                    return Ok((head, body, bytes));
                }
            }
            if bytes.len() > LONGEST_HEAD {
                return Err(self.wrong(format!("its head is longer than {LONGEST_HEAD} bytes")));
            }
            match self.read(&mut buffer)? {
                0 => return Err(self.wrong("it ended before its head was whole".to_owned())),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn read_body(&mut self, body: Body, rest: Vec<u8>, sink: &mut dyn Sink) -> Result<(), Error> {
        let mut body = body;
        let mut size = 0;
        let mut buffer = rest;
        loop {
            self.take(&mut body, &buffer, &mut size, sink)?;
            if is_whole(&body) {
                return Ok(());
            }
            buffer.resize(64 << 10, 0);
            let count = self.read(&mut buffer)?;
            buffer.truncate(count);
            if count == 0 {
                return self.at_end(&body);
            }
        }
    }

    /// Hands the next bytes of the stream on.
    fn take(
        &self,
        body: &mut Body,
        bytes: &[u8],
        size: &mut u64,
        sink: &mut dyn Sink,
    ) -> Result<(), Error> {
        let limit = self.options.max_size.unwrap_or(u64::MAX);
        let mut hand_on = |bytes: &[u8]| {
            *size += bytes.len() as u64;
            if *size > limit {
                return Err(Refused::TooLarge(limit));
            }
            sink.body(bytes).map_err(Refused::Sink)
        };
        let outcome = match body {
            Body::None => Ok(()),
            Body::Stream => hand_on(bytes),
            Body::Chunked(decoder) => decoder.decode(bytes, hand_on),
            Body::Length { all, .. } if *all > limit => Err(Refused::TooLarge(limit)),
            Body::Length { all, come } => {
                let left = usize::try_from(*all - *come).unwrap_or(usize::MAX);
                let own = &bytes[..bytes.len().min(left)];
                *come += own.len() as u64;
                hand_on(own)
            }
        };
        outcome.map_err(|refused| match refused {
            Refused::Coding(reason) => self.wrong(format!("its chunks are wrong: {reason}")),
            Refused::TooLarge(limit) => Error::TooLarge { url: self.url.clone(), limit },
            Refused::Sink(error) => Error::Sink(error),
        })
    }

    /// The stream has ended: whether the body may end there.
    fn at_end(&self, body: &Body) -> Result<(), Error> {
        match body {
            Body::Length { all, come } => Err(self
                .wrong(format!("its body is short: {come} bytes of the {all} that it announced"))),
            Body::Chunked(_) => Err(self.wrong("it ended before its last chunk".to_owned())),
            Body::None | Body::Stream => Ok(()),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            let left = self.left()?;
            let read = self.socket.set_read_timeout(left).and_then(|()| self.socket.read(buffer));
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(|error| self.failed(error)),
            }
        }
    }

    /// How much of `max_time` is left.
    fn left(&self) -> Result<Option<Duration>, Error> {
        left(self.url, self.deadline)
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Answer { url: self.url.clone(), reason }
    }

    /// A time-out of the socket is the fetch's own.
    fn failed(&self, source: io::Error) -> Error {
        let timed_out =
            matches!(source.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        match self.deadline {
            Some((_, after)) if timed_out => Error::TooSlow { url: self.url.clone(), after },
            _ => Error::Io { url: self.url.clone(), source },
        }
    }
}

/// Why the body does not go on.
enum Refused {
    Coding(String),
    TooLarge(u64),
    Sink(io::Error),
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::Coding(reason)
    }
}

fn is_whole(body: &Body) -> bool {
    match body {
        Body::None => true,
        Body::Length { all, come } => all == come,
        Body::Chunked(decoder) => decoder.is_done(),
        Body::Stream => false,
    }
}

/// The time left, or the error that none is.
fn left(url: &Url, deadline: Option<(Instant, Duration)>) -> Result<Option<Duration>, Error> {
    let Some((moment, after)) = deadline else {
        return Ok(None);
    };
    match moment.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Error::TooSlow { url: url.clone(), after }),
        left => Ok(Some(left)),
    }
}

/// Tries each address that the host has.
fn connect(url: &Url, deadline: Option<(Instant, Duration)>) -> Result<TcpStream, Error> {
    let unresolved = |source| Error::Resolve { host: url.host().to_owned(), source };
    let addresses: Vec<SocketAddr> =
        (url.host(), url.port()).to_socket_addrs().map_err(unresolved)?.collect();
    let mut errors = Vec::new();
    for address in addresses {
        let patience = left(url, deadline)?.unwrap_or(CONNECT_TIMEOUT).min(CONNECT_TIMEOUT);
        match TcpStream::connect_timeout(&address, patience) {
            Ok(socket) => return Ok(socket),
            Err(error) => errors.push(format!("{address}: {error}")),
        }
    }
    left(url, deadline)?;
    Err(Error::Connect(errors.join("; ")))
}
