//! Answers of arbitrary bytes in arbitrary reads, as `fetch` reads them, against a reader that has
//! all of it before it begins.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::{self, Read};
use welcomed::fetch::{Error, Head, Observer};
use welcomed::fuzzing::read_answer;

/// Below the bounds on heads, lines and trailers, which the reference does not know; the unit
/// tests hold them.
const LONGEST: usize = 4000;
const MAX_FIELDS: usize = 128;
const MAX_INTERIM: usize = 16;

/// Why there is no answer; what else an error says depends on where the reads were cut.
#[derive(Debug, PartialEq)]
enum Bad {
    NotHttp,
    NoAnswer,
    /// The head leaves the body's end in doubt.
    Length,
    TooLarge,
    Short,
    Chunks,
}

/// A stream that gives `lengths` bytes a read, in turn.
struct Reads<'a> {
    rest: &'a [u8],
    lengths: [u8; 2],
}

impl Read for Reads<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::from(self.lengths[0]).max(1).min(self.rest.len()).min(buffer.len());
        self.lengths.swap(0, 1);
        let (read, rest) = self.rest.split_at(length);
        self.rest = rest;
        buffer[..length].copy_from_slice(read);
        Ok(length)
    }
}

#[derive(Default)]
struct Seen {
    heads: Vec<Head>,
    body: Vec<u8>,
}

impl Observer for Seen {
    fn head(&mut self, head: &Head, _: Option<u64>) -> io::Result<()> {
        self.heads.push(head.clone());
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert!(!bytes.is_empty() && self.heads.len() == 1);
        self.body.extend_from_slice(bytes);
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let [limit, first, second, wire @ ..] = data else { return };
    if wire.len() > LONGEST {
        return;
    }
    let limit = Some(u64::from(*limit)).filter(|limit| *limit < 128);
    let mut seen = Seen::default();
    let stream = Reads { rest: wire, lengths: [*first, *second] };
    let answer = read_answer(stream, limit, &mut seen);

    let (body, expected) = expected(wire, limit);
    match &answer {
        Ok(head) => {
            assert_eq!(seen.heads.first(), Some(head));
            assert_eq!(seen.body, body);
            // It is printed a line for each field.
            let text = head.to_string();
            assert!(text.starts_with("HTTP/1."));
            assert!(!text.contains(|it: char| it.is_ascii_control() && it != '\n' && it != '\t'));
        }
        Err(error) => {
            assert!(body.starts_with(&seen.body));
            assert!(!error.to_string().contains(['\n', '\r']), "{error}");
        }
    }
    assert!(limit.is_none_or(|limit| seen.body.len() as u64 <= limit));
    assert_eq!(answer.map(|head| head.status()).map_err(|error| kind(&error)), expected);
});

fn kind(error: &Error) -> Bad {
    match error {
        Error::NotHttp { .. } => Bad::NotHttp,
        Error::NoAnswer { .. } => Bad::NoAnswer,
        Error::Coding { .. } | Error::Length { .. } | Error::Lengths { .. } => Bad::Length,
        Error::TooLarge { .. } => Bad::TooLarge,
        Error::Short { .. } | Error::ShortChunks { .. } => Bad::Short,
        Error::Chunk(_) => Bad::Chunks,
        other => panic!("{other}"),
    }
}

/// The body as far as it goes, and the status or what is wrong.
fn expected(mut wire: &[u8], limit: Option<u64>) -> (Vec<u8>, Result<u16, Bad>) {
    let limit = limit.unwrap_or(u64::MAX);
    let mut interim = 0;
    let (status, body) = loop {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(wire) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return (Vec::new(), Err(Bad::NoAnswer)),
            Err(_) => return (Vec::new(), Err(Bad::NotHttp)),
        };
        wire = &wire[length..];
        let status = response.code.unwrap();
        if !(100..200).contains(&status) {
            break (status, framed(status, response.headers, wire, limit));
        }
        interim += 1;
        if status == 101 || interim > MAX_INTERIM {
            return (Vec::new(), Err(Bad::NotHttp));
        }
    };
    let (body, end) = body;
    // What is too much comes before what is wrong behind it.
    let end = if body.len() as u64 > limit { Err(Bad::TooLarge) } else { end };
    (body, end.map(|()| status))
}

type Body = (Vec<u8>, Result<(), Bad>);

/// The body by RFC 9112, section 6.3.
fn framed(status: u16, fields: &[httparse::Header<'_>], rest: &[u8], limit: u64) -> Body {
    let list = |name: &str| -> Vec<String> {
        let named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let values = named.map(|field| String::from_utf8_lossy(field.value).into_owned());
        values
            .flat_map(|it| it.split(',').map(|it| it.trim().to_owned()).collect::<Vec<_>>())
            .collect()
    };
    let (codings, lengths) = (list("Transfer-Encoding"), list("Content-Length"));
    if status == 204 || status == 304 {
        return (Vec::new(), Ok(()));
    }
    if codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked") {
        let mut body = Vec::new();
        let end = chunks(rest, &mut body);
        return (body, end);
    }
    if !codings.is_empty() {
        return (Vec::new(), Err(Bad::Length));
    }
    let Some(first) = lengths.first() else { return (rest.to_vec(), Ok(())) };
    let number = first.parse::<u64>().ok();
    let number = number.filter(|_| first.bytes().all(|digit| digit.is_ascii_digit()));
    match number.filter(|_| lengths.iter().all(|other| other == first)) {
        None => (Vec::new(), Err(Bad::Length)),
        Some(length) if length > limit => (Vec::new(), Err(Bad::TooLarge)),
        Some(length) if length > rest.len() as u64 => (rest.to_vec(), Err(Bad::Short)),
        Some(length) => (rest[..length as usize].to_vec(), Ok(())),
    }
}

/// Chunks by RFC 9112, section 7.1.
fn chunks(mut rest: &[u8], body: &mut Vec<u8>) -> Result<(), Bad> {
    loop {
        let digits = skip(&mut rest, |byte| byte.is_ascii_hexdigit());
        let empty = if rest.is_empty() { Bad::Short } else { Bad::Chunks };
        if digits.is_empty() {
            return Err(empty);
        }
        let digits = std::str::from_utf8(digits).unwrap();
        let size = u64::from_str_radix(digits, 16).map_err(|_| Bad::Chunks)?;
        skip(&mut rest, |byte| byte == b' ' || byte == b'\t');
        if rest.first() == Some(&b';') {
            skip(&mut rest, |byte| byte != b'\r' && byte != b'\n');
        }
        line_end(&mut rest)?;
        if size == 0 {
            break;
        }
        let here = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        body.extend_from_slice(&rest[..here]);
        rest = &rest[here..];
        line_end(&mut rest)?;
    }
    loop {
        let field = skip(&mut rest, |byte| byte != b'\r' && byte != b'\n');
        line_end(&mut rest)?;
        if field.is_empty() {
            return Ok(());
        }
    }
}

fn skip<'a>(rest: &mut &'a [u8], take: impl Fn(u8) -> bool) -> &'a [u8] {
    let end = rest.iter().position(|byte| !take(*byte)).unwrap_or(rest.len());
    let (taken, later) = rest.split_at(end);
    *rest = later;
    taken
}

fn line_end(rest: &mut &[u8]) -> Result<(), Bad> {
    match *rest {
        [b'\r', b'\n', later @ ..] => {
            *rest = later;
            Ok(())
        }
        [] | [b'\r'] => Err(Bad::Short),
        _ => Err(Bad::Chunks),
    }
}
