//! HTTP/1 in memory: a head's bytes to a [`Request`] or a [`Rejection`], an [`Answer`] to bytes.
//!
//! Called by `routes`; knows no route, no socket and no metric. It is strict, as RFC 9112 allows,
//! because its clients are scrapers, probes and browsers, which all speak well: what is malformed
//! or has a body is answered and closed, and no byte behind a head is ever taken for a body.
//!
//! `tiny_http` writes the answers. Its own server and requests are never created: they have no
//! timeouts and no bounds, and one head that announces a body of 60 GB makes them allocate it.
//! Its answers have no `Connection` header, so the version says what happens next: HTTP/1.1
//! leaves the connection open, HTTP/1.0 ends it, whatever the request spoke.

use httparse::{EMPTY_HEADER, Error, Header, Status};
use std::borrow::Cow;
use std::io;
use tiny_http::{HTTPVersion, Response, StatusCode};

/// More headers than a scraper or a browser behind a few proxies sends.
const MAX_HEADERS: usize = 64;

/// A request without a body, of a method that is served.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// The path, without a query; it is not percent-decoded.
    pub(super) path: &'a str,
    /// `HEAD`: the headers of the answer to `GET`, and nothing behind them.
    pub(super) head_only: bool,
    /// Whether another request may follow on this connection.
    pub(super) keep_alive: bool,
    /// The versions of the page that the client has, as entity tags with commas between.
    pub(super) known: Option<&'a [u8]>,
}

/// What is not served, whatever its path.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) answer: Answer,
    pub(super) head_only: bool,
}

/// An answer: status, type, body, and headers of its own. An error closes.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// They stand in place of those of [`HEADERS`] that have the same name.
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Cow<'static, str>,
}

/// Reads a request's head, up to and with its empty line.
pub(super) fn parse(head: &[u8]) -> Result<Request<'_>, Rejection> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(head);
    // The method stands first, and is known though what follows it is wrong.
    let head_only = request.method == Some("HEAD");
    let answer = match parsed {
        Ok(Status::Complete(length)) if length == head.len() => {
            return check(&request).map_err(|answer| Rejection { answer, head_only });
        }
        Ok(_) => bad("The request's head does not end where it should."),
        Err(Error::TooManyHeaders) => {
            Answer::text(431, format!("More than {MAX_HEADERS} headers."))
        }
        Err(Error::Version) if names_another_version(head) => {
            Answer::text(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        }
        Err(error) => bad(format!("Malformed request: {error}.")),
    };
    Err(Rejection { answer, head_only })
}

/// Whether the request line ends in a well-formed version, of which only 1.0 and 1.1 are known.
fn names_another_version(head: &[u8]) -> bool {
    let line = head.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let version = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn check<'a>(request: &httparse::Request<'_, 'a>) -> Result<Request<'a>, Answer> {
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(bad("Malformed request: incomplete request line."));
    };
    let is_current = minor >= 1;
    check_host(request.headers, is_current)?;
    check_body(request.headers)?;
    if is_current && single(request.headers, "Expect")?.is_some() {
        return Err(Answer::text(417, "Expectations are not met here."));
    }
    if !matches!(method, "GET" | "HEAD") {
        let answer = Answer::text(405, "Allowed are GET and HEAD.");
        return Err(answer.with_header("Allow", "GET, HEAD"));
    }
    Ok(Request {
        path: path(target)
            .ok_or_else(|| bad("The target is neither a path nor an http:// URL."))?,
        head_only: method == "HEAD",
        keep_alive: is_current && !says_close(request.headers),
        known: values(request.headers, "If-None-Match").next(),
    })
}

/// HTTP/1.1 needs a host, and it must look like one ([RFC 9112, section 3.2]).
///
/// [RFC 9112, section 3.2]: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
fn check_host(headers: &[Header<'_>], required: bool) -> Result<(), Answer> {
    const MARKS: &[u8] = b"-._~%!$&'()*+,;=:[]";
    let of_a_host = |byte: &u8| byte.is_ascii_alphanumeric() || MARKS.contains(byte);
    match single(headers, "Host")? {
        Some(host) if !host.iter().all(of_a_host) => Err(bad("The Host header is not a host.")),
        None if required => Err(bad("The Host header is missing.")),
        _ => Ok(()),
    }
}

/// A body is refused by what the head says of it, unread and without room made for it.
fn check_body(headers: &[Header<'_>]) -> Result<(), Answer> {
    let length = single(headers, "Content-Length")?;
    let encoding = single(headers, "Transfer-Encoding")?;
    let no_body = || Answer::text(413, "No request body is read here. Allowed are GET and HEAD.");
    match (length, encoding) {
        (Some(_), Some(_)) => Err(bad("Both Content-Length and Transfer-Encoding.")),
        (None, Some(_)) => Err(no_body()),
        (Some(b""), None) => Err(bad("The Content-Length is empty.")),
        (Some(digits), None) if !digits.iter().all(u8::is_ascii_digit) => {
            Err(bad("The Content-Length is not a number."))
        }
        (Some(digits), None) if digits.iter().any(|digit| *digit != b'0') => Err(no_body()),
        _ => Ok(()),
    }
}

/// The value of a header that may stand once.
fn single<'h>(headers: &'h [Header<'h>], name: &'static str) -> Result<Option<&'h [u8]>, Answer> {
    let mut values = values(headers, name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(bad(format!("More than one {name} header."))),
        (value, None) => Ok(value),
    }
}

fn values<'h, 'a>(
    headers: &'h [Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> + use<'h, 'a> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value)
}

fn says_close(headers: &[Header<'_>]) -> bool {
    let mut options = values(headers, "Connection").flat_map(|value| value.split(|b| *b == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// The path of a target in origin form (`/metrics?query`) or absolute form
/// (`http://host/metrics`), which every server must accept.
fn path(target: &str) -> Option<&str> {
    const SCHEME: &str = "http://";
    let end_of_path = |text: &str| text.find('?').unwrap_or(text.len());
    if target.starts_with('/') {
        return Some(&target[..end_of_path(target)]);
    }
    let scheme = target.get(..SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let rest = &target[SCHEME.len()..];
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = &path[..end_of_path(path)];
    (!host.is_empty()).then_some(if path.is_empty() { "/" } else { path })
}

fn bad(sentence: impl Into<String>) -> Answer {
    Answer::text(400, sentence)
}

/// On every answer that has none of its own of that name. Whoever opens one in a browser gets no
/// script, no frame and no guessed type; it is not worth keeping, but of its moment.
const HEADERS: [(&str, &str); 4] = [
    ("Server", concat!("welcomed/", env!("CARGO_PKG_VERSION"))),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'"),
    ("X-Content-Type-Options", "nosniff"),
];

impl Answer {
    /// A sentence as plain text, on a line of its own.
    pub(super) fn text(status: u16, sentence: impl Into<String>) -> Self {
        let mut body = sentence.into();
        body.push('\n');
        Self::new("text/plain; charset=utf-8", body).with_status(status)
    }

    /// A page of this type.
    pub(super) fn new(content_type: &'static str, body: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 200, content_type, headers: Vec::new(), body: body.into() }
    }

    fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 304 to a client that has this version: the headers alone (RFC 9110, section 13.1.2).
    pub(super) fn unless_known(self, request: &Request<'_>) -> Self {
        let tag = self.headers.iter().find(|(name, _)| *name == "ETag").map(|(_, tag)| *tag);
        let (Some(tag), Some(known)) = (tag, request.known) else {
            return self;
        };
        let is_tag = |one: &[u8]| {
            let one = one.trim_ascii();
            one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag.as_bytes()
        };
        let is_known = known.split(|byte| *byte == b',').any(is_tag);
        if is_known { self.with_status(304) } else { self }
    }

    pub(super) fn is_error(&self) -> bool {
        self.status >= 400
    }

    /// Writes the whole answer; `keep_alive` says whether the connection stays, which it must
    /// not after an error.
    pub(super) fn print(
        self,
        out: impl io::Write,
        head_only: bool,
        keep_alive: bool,
    ) -> io::Result<()> {
        let version = HTTPVersion(1, u8::from(keep_alive));
        let own = self.headers;
        let common = HEADERS.into_iter().filter(|(name, _)| own.iter().all(|(it, _)| it != name));
        let headers =
            common.chain([("Content-Type", self.content_type)]).chain(own.iter().copied());
        let headers = headers.map(|(name, value)| header(name, value));
        let length = self.body.len();
        // Without a threshold, long answers in HTTP/1.1 would be sent in chunks.
        Response::new(
            StatusCode(self.status),
            headers.collect(),
            self.body.as_bytes(),
            Some(length),
            None,
        )
        .with_chunked_threshold(usize::MAX)
        .raw_print(out, version, &[], head_only, None)
    }
}

fn header(name: &'static str, value: &'static str) -> tiny_http::Header {
    match tiny_http::Header::from_bytes(name, value) {
        Ok(header) => header,
        Err(()) => unreachable!("`{name}: {value}` is a constant of ASCII"),
    }
}
