//! An answer as it is read: the head, and how its body ends.

use super::chunked::Decoder;

/// The longest head, and the most headers in it.
pub(super) const LONGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 128;

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status code, as 200.
    pub status: u16,
    /// The head as it was sent, without the empty line behind it.
    pub text: Vec<u8>,
    /// How long the body is, if the head says so.
    pub length: Option<u64>,
    /// Where the answer points, on a 3xx.
    pub location: Option<String>,
}

/// What ends a body.
#[derive(Debug)]
pub(super) enum Body {
    /// There is none.
    None,
    /// So many bytes, of which so many have come.
    Length { all: u64, come: u64 },
    /// The last chunk.
    Chunked(Decoder),
    /// The end of the stream.
    Stream,
}

/// Reads a head at the front of `bytes`. Nothing if it is not whole yet; else the head, what
/// follows it, and its length.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, Body, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|error| format!("it is no HTTP: {error}"))?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let named = |name: &'static str| {
        let headers = response.headers.iter();
        headers.filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|it| it.value)
    };
    let announced = content_length(named("content-length"))?;
    let codings: Vec<&[u8]> = named("transfer-encoding").collect();
    let redirects = (300..400).contains(&status);
    let location = named("location").next().filter(|_| redirects);
    let body = match (status, &codings[..]) {
        (100..=199 | 204 | 304, _) => Body::None,
        (_, [coding]) if coding.eq_ignore_ascii_case(b"chunked") => {
            Body::Chunked(Decoder::default())
        }
        (_, [_, ..]) => {
            let codings = codings.join(&b", "[..]);
            return Err(format!(
                "its transfer coding is `{}`; `chunked` alone is supported",
                codings.escape_ascii()
            ));
        }
        (_, []) => announced.map_or(Body::Stream, |all| Body::Length { all, come: 0 }),
    };
    let head = Head {
        status,
        text: bytes[..length].trim_ascii_end().to_vec(),
        length: if let Body::Length { all, .. } = body { Some(all) } else { None },
        location: location.map(|value| String::from_utf8_lossy(value).into_owned()),
    };
    Ok(Some((head, body, length)))
}

/// The one length that the headers agree on.
fn content_length<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Option<u64>, String> {
    let mut length = None;
    // Several lengths may stand in one header, separated by commas.
    for value in values.flat_map(|value| value.split(|byte| *byte == b',')) {
        let text = std::str::from_utf8(value.trim_ascii()).unwrap_or_default();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|_| digits);
        let wrong = || format!("its Content-Length is `{}`", value.escape_ascii());
        let number = number.ok_or_else(wrong)?;
        if length.is_some_and(|known| known != number) {
            return Err("it has two different Content-Lengths".to_owned());
        }
        length = Some(number);
    }
    Ok(length)
}
