//! One question to a server's side endpoint: are you well? For probes in images without curl.

use super::stream::Stream;
use super::target::{ConnectError, Target};
use crate::dial::Deadline;
use crate::protocol::ParseError;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::str::FromStr;
use std::time::Duration;

/// A probe's page is a line or two; more is not read.
const LONGEST_ANSWER_BYTES: u64 = 1 << 16;

/// Where to ask: `http://127.0.0.1:9998/healthz`, or `127.0.0.1:9998` for the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    target: Target,
    path: String,
}

/// What a server said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// HTTP's status: 200 is well.
    pub status: u16,
    /// The first line of the page.
    pub line: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody is there.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Somebody is, and does not answer.
    #[error("no answer from {url}: {error}")]
    Silent {
        /// Who was asked.
        url: Url,
        /// What came instead.
        error: io::Error,
    },
    /// Somebody answers something else.
    #[error("{url} does not answer in HTTP")]
    NotHttp {
        /// Who was asked.
        url: Url,
    },
}

/// Asks `url`. All of it, the look-up of a host's name included, may take `patience`.
///
/// # Errors
/// It cannot be reached, or does not answer in HTTP in time.
pub fn ask(url: &Url, patience: Duration) -> Result<Answer, Error> {
    let deadline = Deadline::within(Some(patience));
    let mut stream = url.target.connect(&deadline)?;
    let answer = exchange(&mut stream, url, &deadline)
        .map_err(|error| Error::Silent { url: url.clone(), error })?;
    parse(&answer).ok_or_else(|| Error::NotHttp { url: url.clone() })
}

fn exchange(stream: &mut Stream, url: &Url, deadline: &Deadline) -> io::Result<Vec<u8>> {
    let left = deadline.left().map_err(|_| io::ErrorKind::TimedOut)?;
    stream.set_deadline(left);
    stream.set_write_timeout(left)?;
    // HTTP/1.0: the end of the stream is the end of the page, and nothing comes in chunks.
    let Url { target, path } = url;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {target}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream.take(LONGEST_ANSWER_BYTES));
    reader.read_until(b'\n', &mut answer)?;
    // A server of another kind may keep the stream open after its first words.
    if answer.starts_with(b"HTTP/") {
        reader.read_to_end(&mut answer)?;
    }
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(answer).ok()? else { return None };
    let page = String::from_utf8_lossy(&answer[length..]);
    Some(Answer { status: response.code?, line: page.lines().next().unwrap_or_default().into() })
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.target, self.path)
    }
}

impl FromStr for Url {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || {
            format!(
                "`{text}` is not such a URL; allowed are `http://host:9998/path` and `host:9998`"
            )
        };
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let path_at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_at);
        // The path goes into a request line, where a space or a control would end it.
        if authority.starts_with("unix:") || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong().into());
        }
        let path = if path.is_empty() { "/healthz" } else { path };
        let target = authority.parse().map_err(|_| wrong())?;
        Ok(Self { target, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Url, parse};

    #[test]
    fn a_url_has_a_port_and_may_have_a_path() {
        let shown = |text: &str| text.parse::<Url>().map(|url| url.to_string()).ok();
        for (text, url) in [
            ("127.0.0.1:9998", "http://127.0.0.1:9998/healthz"),
            ("[::1]:9998/readyz", "http://[::1]:9998/readyz"),
            ("http://host:80", "http://host:80/healthz"),
            ("http://host:80/", "http://host:80/"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(url));
        }
        for text in ["", "host", "https://host:80/", "http://host/", "host:80/a b", "unix:/a"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn an_answer_is_a_status_and_a_line() {
        let answer = parse(b"HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\ndraining\nmore\n");
        assert_eq!(answer, Some(Answer { status: 503, line: "draining".into() }));
        let answer = parse(b"HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(answer, Some(Answer { status: 200, line: String::new() }));
        assert_eq!(parse(b"Welcome!\n"), None);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n"), None, "half a head");
    }
}
