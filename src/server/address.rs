//! Where a server listens or a client connects: a TCP address or a Unix socket's path.

use crate::protocol::ParseError;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on: `127.0.0.1:9999`, `[::1]:9999` or `unix:/run/welcomed.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port. Port 0 lets the kernel choose one.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.strip_prefix("unix:") {
            Some("") => {
                Err("`unix:` needs a path, as in `unix:/run/welcomed.sock`".to_owned().into())
            }
            // It is told in lines: of the log, of `listening`, of messages about the configuration.
            Some(path) if path.contains(char::is_control) => {
                Err(format!("`{}` has control characters", text.escape_debug()).into())
            }
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                format!(
                    "`{text}` is not an address; allowed are `127.0.0.1:9999`, `[::1]:9999` and \
                     `unix:/path`"
                )
                .into()
            }),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn a_path_that_would_break_a_line_is_refused() {
        for path in ["/a\nb", "/a\u{1b}[2J", "\0", "/a\u{9b}"] {
            let error = format!("unix:{path}").parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("has control characters"), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
        let path = "unix:/run/a \"quoted\\path\".sock";
        assert_eq!(path.parse::<Address>().unwrap().to_string(), path);
    }
}
