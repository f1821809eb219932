//! The URLs that can be fetched: `http`, no credentials, and nothing that would break a request.
//!
//! Owns the syntax, by RFC 3986; called by the rest of `fetch` and by the command line. Knows no
//! socket and no header.

use iri_string::types::{UriAbsoluteStr, UriReferenceStr, UriStr};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// What people write into a URL, and servers into a `Location`, though it must be encoded there.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// The same behind the host, where no IPv6 address can stand.
const UNSAFE_IN_PATH: &AsciiSet = &UNSAFE.add(b'[').add(b']');

/// Why a text is no URL to fetch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Another scheme, `https` above all.
    #[error("`{scheme}` is not supported; a URL to fetch starts with `http://`")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// No scheme and host.
    #[error("`{text}` is not a whole URL; a URL to fetch starts with `http://HOST`")]
    NotHttp {
        /// What was there.
        text: String,
    },
    /// A user name or password.
    #[error("a user name or password in a URL is refused: it would end up in logs and histories")]
    UserInfo,
    /// Line ends and their like, which would end the request's line too.
    #[error("a URL holds no control characters")]
    Control,
    /// Not a host name or address that can be looked up.
    #[error("`{host}` is not a host (an international name is written in its `xn--` form)")]
    Host {
        /// What was there.
        host: String,
    },
    /// Not a port.
    #[error("`{port}` is not a port; allowed are 1 to 65535")]
    Port {
        /// What was there.
        port: String,
    },
    /// Anything else.
    #[error("`{text}` is not a URL")]
    Syntax {
        /// What was there.
        text: String,
    },
}

/// A URL that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// The URL in full, encoded, without its fragment.
    text: String,
    /// The host, an IPv6 address in brackets.
    host: String,
    port: u16,
    /// What the request's line asks for: path and query.
    target: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::from_encoded(&encode(text.as_bytes())?)
    }
}

impl Url {
    fn from_encoded(text: &str) -> Result<Self, UrlError> {
        let not_http = || UrlError::NotHttp { text: text.to_owned() };
        let text = text.split('#').next().unwrap_or(text);
        if !text.contains("://") {
            return Err(not_http());
        }
        let uri = UriStr::new(text).map_err(|_| UrlError::Syntax { text: text.to_owned() })?;
        if !uri.scheme_str().eq_ignore_ascii_case("http") {
            return Err(UrlError::Scheme { scheme: uri.scheme_str().to_owned() });
        }
        let authority = uri.authority_components().ok_or_else(not_http)?;
        if authority.userinfo().is_some() {
            return Err(UrlError::UserInfo);
        }
        let host = authority.host();
        let known = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains('%'),
        };
        if !known {
            return Err(UrlError::Host { host: host.to_owned() });
        }
        let port = match authority.port() {
            None | Some("") => 80,
            Some(port) => match port.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(UrlError::Port { port: port.to_owned() }),
            },
        };
        let mut target = match uri.path_str() {
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        if let Some(query) = uri.query_str() {
            target.push('?');
            target.push_str(query);
        }
        Ok(Self { text: text.to_owned(), host: host.to_owned(), port, target })
    }

    /// The host for looking up: an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port; 80 if the URL has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the `Host` field says: the host, and the port when it is not 80.
    #[must_use]
    pub fn host_field(&self) -> String {
        match self.port {
            80 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// What the request's line asks for: path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What a `Location` means on an answer from here: a whole URL, of any scheme.
    ///
    /// # Errors
    ///
    /// It is no URL and no relative reference.
    pub fn resolve(&self, location: &[u8]) -> Result<String, UrlError> {
        let location = encode(location)?;
        let syntax = || UrlError::Syntax { text: location.clone() };
        let reference = UriReferenceStr::new(&location).map_err(|_| syntax())?;
        let base = UriAbsoluteStr::new(&self.text).map_err(|_| syntax())?;
        let resolved = reference.resolve_against(base);
        resolved.ensure_rfc3986_normalizable().map_err(|_| syntax())?;
        Ok(resolved.to_string())
    }

    /// A name for the file: the last segment of the path, decoded where that gives a plain name,
    /// and `index.html` if there is none. Never a path: no `/`, no NUL, not `.` or `..`.
    #[must_use]
    pub fn file_name(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let segment = path.rsplit('/').next().unwrap_or_default();
        let decoded = percent_decode_str(segment).decode_utf8().unwrap_or_default();
        let plain = |name: &&str| {
            !matches!(*name, "" | "." | "..")
                && !name.contains(|c: char| c == '/' || c.is_control())
        };
        [&*decoded, segment].into_iter().find(plain).unwrap_or("index.html").to_owned()
    }
}

/// Percent-encodes what a URL may not hold as it is. Control characters are refused instead:
/// nobody means them, and in a request's line they are an attack.
fn encode(text: &[u8]) -> Result<String, UrlError> {
    if text.iter().any(u8::is_ascii_control) {
        return Err(UrlError::Control);
    }
    let is_end = |byte: &u8| b"/?#".contains(byte);
    // Brackets are part of an IPv6 address up to where the authority ends.
    let authority = match text.windows(2).position(|pair| pair == b"//") {
        Some(at) if !text[..at].iter().any(is_end) => at + 2,
        _ => 0,
    };
    let end = text[authority..].iter().position(is_end).map_or(text.len(), |end| authority + end);
    let (front, path) = text.split_at(end);
    Ok(format!("{}{}", percent_encode(front, UNSAFE), percent_encode(path, UNSAFE_IN_PATH)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn host_port_and_target() {
        for (text, host, port, field, target) in [
            ("http://a.example", "a.example", 80, "a.example", "/"),
            ("HTTP://a:80?q=1#f", "a", 80, "a", "/?q=1"),
            ("http://a:8080/x/y?q=//#f", "a", 8080, "a:8080", "/x/y?q=//"),
            ("http://[::1]:81/", "::1", 81, "[::1]:81", "/"),
            ("http://[::1]/a", "::1", 80, "[::1]", "/a"),
            ("http://a/a b/é\"?x[]={1|2}", "a", 80, "a", "/a%20b/%C3%A9%22?x%5B%5D=%7B1%7C2%7D"),
            ("http://a/100%25/%2F", "a", 80, "a", "/100%25/%2F"),
        ] {
            let url = url(text);
            let got = (url.host(), url.port(), &*url.host_field(), url.target());
            assert_eq!(got, (host, port, field, target), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_fetched_is_refused_with_its_reason() {
        for (text, part) in [
            ("https://a/", "`https` is not supported"),
            ("ftp://a/", "`ftp` is not supported"),
            ("127.0.0.1:80/", "starts with `http://HOST`"),
            ("localhost:80/", "starts with `http://HOST`"),
            ("/etc/passwd", "starts with `http://HOST`"),
            ("", "starts with `http://HOST`"),
            ("http:///x", "`` is not a host"),
            ("http://user:secret@a/", "user name or password"),
            ("http://a/\r\nX: y", "control characters"),
            ("http://a/\0", "control characters"),
            ("http://a b/", "`a%20b` is not a host"),
            ("http://é.example/", "`xn--` form"),
            ("http://[v1.x]/", "is not a host"),
            ("http://[::1/", "is not a URL"),
            ("http://a:0/", "`0` is not a port"),
            ("http://a:99999/", "`99999` is not a port"),
            ("http://a/%zz", "is not a URL"),
        ] {
            let error = text.parse::<Url>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn locations_are_resolved() {
        let base = url("http://a:81/b/c/d?q");
        for (location, resolved) in [
            ("e", "http://a:81/b/c/e"),
            ("/e", "http://a:81/e"),
            ("../e?x", "http://a:81/b/e?x"),
            ("../../../e", "http://a:81/e"),
            ("?x", "http://a:81/b/c/d?x"),
            ("", "http://a:81/b/c/d?q"),
            ("//h/e", "http://h/e"),
            ("https://h/e", "https://h/e"),
            ("/a b[1]", "http://a:81/a%20b%5B1%5D"),
        ] {
            assert_eq!(base.resolve(location.as_bytes()).as_deref(), Ok(resolved), "{location}");
        }
        assert_eq!(base.resolve(b"/\xff").as_deref(), Ok("http://a:81/%FF"));
        assert!(base.resolve(b"/%zz").is_err());
        assert!(base.resolve(b"/x\r\n").is_err());
        assert_eq!(url("http://a").resolve(b"e").as_deref(), Ok("http://a/e"));
    }

    #[test]
    fn a_file_name_is_never_a_path() {
        for (path, name) in [
            ("", "index.html"),
            ("/", "index.html"),
            ("/a/", "index.html"),
            ("/a/b.txt?c/d", "b.txt"),
            ("/a%20b", "a b"),
            ("/%C3%A9", "é"),
            ("/..", "index.html"),
            ("/%2e%2E", "%2e%2E"),
            ("/.", "index.html"),
            ("/a%2Fb", "a%2Fb"),
            ("/..%2f..%2fetc%2fpasswd", "..%2f..%2fetc%2fpasswd"),
            ("/a%00b", "a%00b"),
            ("/a%0ab", "a%0ab"),
            ("/%ff", "%ff"),
        ] {
            assert_eq!(url(&format!("http://a{path}")).file_name(), name, "{path}");
        }
    }
}
