//! The head of an answer, and what it says about the body.
//!
//! Pure: bytes in, fields out. Called by `exchange`; knows no socket.

use super::Error;
use super::body::Body;
use std::fmt;

/// Fields in a head, at most.
const MAX_FIELDS: usize = 128;

/// The head of an answer: status and fields. Its `Display` is the head as it came, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    version: u8,
    status: u16,
    reason: String,
    fields: Vec<(String, Vec<u8>)>,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP/1.{} {}", self.version, self.status_line())?;
        for (name, value) in &self.fields {
            write!(f, "\n{name}: {}", String::from_utf8_lossy(value))?;
        }
        Ok(())
    }
}

impl Head {
    /// Reads the head at the front of `input`; with it, how many bytes it took. `None`: there is
    /// more to come.
    pub(super) fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(input) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Error::NotHttp { reason: format!("more than {MAX_FIELDS} fields") });
            }
            Err(error) => return Err(Error::NotHttp { reason: error.to_string() }),
        };
        let head = Self {
            version: response.version.unwrap_or_default(),
            status: response.code.unwrap_or_default(),
            reason: response.reason.unwrap_or_default().to_owned(),
            fields: (response.headers.iter())
                .map(|field| (field.name.to_owned(), field.value.to_vec()))
                .collect(),
        };
        Ok(Some((head, length)))
    }

    /// The status, such as 200.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The status and its reason, such as `404 Not Found`.
    #[must_use]
    pub fn status_line(&self) -> String {
        format!("{} {}", self.status, self.reason).trim_end().to_owned()
    }

    /// The values of a field, in the order in which they came.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |field: &&(String, Vec<u8>)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(named).map(|(_, value)| value.as_slice())
    }

    /// Where a redirect points to.
    #[must_use]
    pub fn location(&self) -> Option<&[u8]> {
        // 304 is no redirect: a `Location` on it would describe what was not sent.
        let redirects = (300..400).contains(&self.status) && self.status != 304;
        self.values("location").next().filter(|_| redirects)
    }

    /// The body that follows (RFC 9112, section 6.3, for an answer to GET).
    pub(super) fn body(&self) -> Result<Body, Error> {
        if matches!(self.status, 204 | 304) {
            return Ok(Body::Length { left: 0, length: 0 });
        }
        let codings: Vec<String> = self.list("transfer-encoding").collect();
        match &codings[..] {
            // Whatever a Content-Length beside it says.
            [coding] if coding.eq_ignore_ascii_case("chunked") => return Ok(Body::chunked()),
            [] => {}
            codings => return Err(Error::Coding { codings: codings.join(", ") }),
        }
        let mut lengths = self.list("content-length");
        let Some(first) = lengths.next() else { return Ok(Body::ToTheEnd) };
        // A list of one and the same number is a known accident; different ones are an attack.
        if let Some(other) = lengths.find(|other| *other != first) {
            return Err(Error::Lengths { first, other });
        }
        let digits = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
        match first.parse() {
            Ok(length) if digits => Ok(Body::Length { left: length, length }),
            _ => Err(Error::Length { value: first }),
        }
    }

    /// The elements of a field whose value is a comma-separated list, over all its lines.
    fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> {
        self.values(name).flat_map(|value| {
            let value = String::from_utf8_lossy(value).into_owned();
            value.split(',').map(|element| element.trim().to_owned()).collect::<Vec<_>>()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Head {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\nbody");
        let (head, length) = Head::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len() - 4);
        head
    }

    #[test]
    fn the_head_shows_as_it_came() {
        let head = head("Server: a\r\nX-Y:\tz \r\n");
        assert_eq!(head.to_string(), "HTTP/1.1 200 OK\nServer: a\nX-Y: z");
        let bare = Head::parse(b"HTTP/1.0 404\r\n\r\n").unwrap().unwrap().0;
        assert_eq!((bare.to_string(), bare.status()), ("HTTP/1.0 404".to_owned(), 404));
    }

    #[test]
    fn what_the_head_says_about_the_body() {
        for (fields, body) in [
            ("", "ToTheEnd"),
            ("Content-Length: 5\r\n", "Length { left: 5, length: 5 }"),
            ("Content-Length: 5\r\ncontent-length: 5\r\n", "Length { left: 5, length: 5 }"),
            ("Content-Length: 5, 5\r\n", "Length { left: 5, length: 5 }"),
            ("Transfer-Encoding: Chunked\r\n", "Chunked("),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Chunked("),
        ] {
            let found = format!("{:?}", head(fields).body().unwrap());
            assert!(found.starts_with(body), "{fields}: {found}");
        }
        for (fields, part) in [
            ("Content-Length: 5\r\nContent-Length: 6\r\n", "both 5 and 6"),
            ("Content-Length: 5, 6\r\n", "both 5 and 6"),
            ("Content-Length: +5\r\n", "`+5`"),
            ("Content-Length:\r\n", "``"),
            ("Content-Length: 99999999999999999999\r\n", "`99999999999999999999`"),
            ("Transfer-Encoding: gzip, chunked\r\n", "`gzip, chunked`"),
            ("Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", "`gzip`"),
        ] {
            let error = head(fields).body().unwrap_err().to_string();
            assert!(error.contains(part), "{fields}: {error}");
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nA: b\r\n").unwrap().is_none());
        for text in [&b"SSH-2.0-x\r\n"[..], b"Welcome!\n", b"HTTP/1.1 200 OK\r\nA b\r\n\r\n"] {
            assert!(matches!(Head::parse(text), Err(Error::NotHttp { .. })));
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS + 1));
        let error = Head::parse(many.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("more than 128 fields"), "{error}");
    }
}
