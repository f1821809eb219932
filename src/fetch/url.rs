//! The URL to fetch: what to connect to, what to ask for, and what to call the file.

use iri_string::types::{IriReferenceStr, IriStr, UriStr, UriString};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::str::FromStr;

/// The file's name when the URL has none.
const INDEX: &str = "index.html";

/// An `http` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Without its fragment.
    text: UriString,
    host: String,
    port: u16,
}

impl Url {
    /// The host for a look-up: an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, 80 if none is given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header: the port stands in it unless it is 80.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port {
            80 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// Path and query, for the request's first line.
    #[must_use]
    pub fn target(&self) -> String {
        let path = match self.text.path_str() {
            "" => "/",
            path => path,
        };
        self.text.query_str().map_or(path.to_owned(), |query| format!("{path}?{query}"))
    }

    /// What to call the file: the path's last segment, never a name that leads to another folder.
    #[must_use]
    pub fn file_name(&self) -> String {
        let last = self.text.path_str().rsplit('/').next().unwrap_or_default();
        let name = percent_decode_str(last).decode_utf8_lossy();
        let unsafe_name = matches!(&*name, "" | "." | "..")
            || name.contains('/')
            || name.chars().any(char::is_control);
        if unsafe_name { INDEX.to_owned() } else { name.into_owned() }
    }

    /// Where a `Location` leads from here; it may be relative.
    ///
    /// # Errors
    ///
    /// It is no URL, or none that can be fetched.
    pub fn resolve(&self, location: &str) -> Result<Self, String> {
        let wrong = |error| format!("`{}` is not a URL: {error}", location.escape_debug());
        let reference = IriReferenceStr::new(location).map_err(|error| wrong(error.to_string()))?;
        let base: &IriStr = self.text.as_ref();
        reference.resolve_against(base.to_absolute()).to_string().parse()
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let iri = IriStr::new(text)
            .map_err(|_| format!("`{shown}` is not a URL; one is `http://127.0.0.1:8080/page`"))?;
        let uri = iri.encode_to_uri().to_string();
        let uri = UriStr::new(&uri).map_err(|error| format!("`{shown}` is not a URL: {error}"))?;
        match uri.scheme_str().to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => {
                return Err(format!("`{shown}`: https is not supported yet; allowed: http"));
            }
            scheme => {
                return Err(format!(
                    "`{shown}`: `{scheme}` is not supported; a URL begins with `http://`"
                ));
            }
        }
        let authority = uri.authority_components();
        let authority = authority.filter(|it| !it.host().is_empty());
        let authority = authority.ok_or_else(|| format!("`{shown}` names no host"))?;
        if authority.userinfo().is_some() {
            return Err(format!("`{shown}`: a user name in a URL is not supported"));
        }
        let port = match authority.port() {
            None | Some("") => 80,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| format!("`{shown}`: a port is a number from 1 to 65535"))?,
        };
        let host = authority.host().to_ascii_lowercase();
        let mut text = uri.to_owned();
        text.set_fragment(None);
        Ok(Self { text, host, port })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_url_says_what_to_connect_to_and_what_to_ask_for() {
        let cases = [
            ("http://a.example", ("a.example", 80, "a.example", "/")),
            ("HTTP://A.Example:8080/x?y=1#z", ("a.example", 8080, "a.example:8080", "/x?y=1")),
            ("http://[::1]:81/", ("::1", 81, "[::1]:81", "/")),
            ("http://[::1]?q", ("::1", 80, "[::1]", "/?q")),
            ("http://a/\u{fc}", ("a", 80, "a", "/%C3%BC")),
        ];
        for (text, (host, port, authority, target)) in cases {
            let url = url(text);
            let found = (url.host(), url.port(), &*url.authority(), &*url.target());
            assert_eq!(found, (host, port, authority, target), "{text}");
        }
    }

    #[test]
    fn a_file_name_leads_nowhere_else() {
        for (text, name) in [
            ("http://a", "index.html"),
            ("http://a/b/", "index.html"),
            ("http://a/b/c.txt?d", "c.txt"),
            ("http://a/%C3%BC%20b", "\u{fc} b"),
            ("http://a/..%2f..%2fetc", "index.html"),
            ("http://a/%2e%2e", "index.html"),
            ("http://a/x%00", "index.html"),
        ] {
            assert_eq!(url(text).file_name(), name, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_fetched_is_refused_with_the_reason() {
        for (text, reason) in [
            ("https://a/", "https is not supported yet"),
            ("ftp://a/", "`ftp` is not supported"),
            ("localhost:80/", "begins with `http://`"),
            ("a/b", "is not a URL"),
            ("http://a b/", "is not a URL"),
            ("http://a/b c", "is not a URL"),
            ("http:///x", "names no host"),
            ("http://u:p@a/", "a user name"),
            ("http://a:0/", "from 1 to 65535"),
            ("http://a:70000/", "from 1 to 65535"),
            ("http://a/\r\nX: y", "is not a URL"),
        ] {
            let refused = text.parse::<Url>().unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn a_location_may_be_relative() {
        let base = url("http://a:81/b/c?d");
        for (location, resolved) in [
            ("/x", "http://a:81/x"),
            ("x/y", "http://a:81/b/x/y"),
            ("../z", "http://a:81/z"),
            ("//other/", "http://other/"),
            ("http://else/#f", "http://else/"),
        ] {
            assert_eq!(base.resolve(location).unwrap().to_string(), resolved, "{location}");
        }
        assert!(base.resolve("https://a/").unwrap_err().contains("https is not supported"));
        assert!(base.resolve("a b").is_err());
    }
}
