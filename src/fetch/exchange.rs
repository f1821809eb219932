//! One request and its answer on one connection.
//!
//! Owns the socket, its buffer and the clock. Called by `fetch`; leaves what the bytes mean to
//! `head` and `body`.

use super::body::Body;
use super::{Error, Head, Observer, Url};
use crate::dial::{self, Deadline};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The buffer, and with it the longest head.
const BUFFER: usize = 64 * 1024;
/// Answers of the kind `100 Continue` before the real one, at most.
const MAX_INTERIM: usize = 16;
/// How long one read waits before the clock and the observer are looked at.
const SLICE: Duration = Duration::from_millis(100);

/// A connection on which a request was sent.
pub(super) struct Exchange<'a, S = TcpStream> {
    stream: S,
    deadline: &'a Deadline,
    buffer: Box<[u8]>,
    /// What was read and not used stands in `buffer[start..end]`.
    start: usize,
    end: usize,
}

impl<'a> Exchange<'a> {
    /// Connects and asks for `url`.
    pub(super) fn start(url: &Url, deadline: &'a Deadline) -> Result<Self, Error> {
        let mut stream = dial::tcp(url.host(), url.port(), deadline)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: welcomed/{}\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n",
            url.target(),
            url.host_field(),
            env!("CARGO_PKG_VERSION"),
        );
        stream.set_write_timeout(deadline.left()?).map_err(Error::Connection)?;
        stream.set_read_timeout(Some(SLICE)).map_err(Error::Connection)?;
        match stream.write_all(request.as_bytes()) {
            Ok(()) => {}
            // It may have answered before it closed.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => {
                deadline.left()?;
                return Err(Error::Connection(error));
            }
        }
        Ok(Self::over(stream, deadline))
    }
}

impl<'a, S: Read> Exchange<'a, S> {
    /// What comes on `stream` is the answer.
    pub(super) fn over(stream: S, deadline: &'a Deadline) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { stream, deadline, buffer, start: 0, end: 0 }
    }

    /// Reads the head of the answer.
    pub(super) fn head(&mut self, observer: &mut dyn Observer) -> Result<Head, Error> {
        let mut interim = 0;
        loop {
            if let Some((head, length)) = Head::parse(&self.buffer[self.start..self.end])? {
                self.start += length;
                if !(100..200).contains(&head.status()) {
                    return Ok(head);
                }
                interim += 1;
                if head.status() == 101 || interim > MAX_INTERIM {
                    let reason = format!("unasked answer `{}`", head.status_line());
                    return Err(Error::NotHttp { reason });
                }
                continue;
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                return Err(Error::HeadTooLarge { limit: BUFFER });
            }
            if self.fill(observer)? == 0 {
                return Err(Error::NoAnswer { received: self.end });
            }
        }
    }

    /// Reads the body and hands it on; the number of its bytes.
    pub(super) fn body(
        &mut self,
        mut body: Body,
        max_size: Option<u64>,
        observer: &mut dyn Observer,
    ) -> Result<u64, Error> {
        let limit = max_size.unwrap_or(u64::MAX);
        if let Some(length) = body.length().filter(|length| *length > limit) {
            return Err(Error::TooLarge { limit, length: Some(length) });
        }
        let mut received = 0;
        loop {
            while self.start < self.end && !body.is_whole() {
                let step = body.step(&self.buffer[self.start..self.end])?;
                received += step.data.len() as u64;
                if received > limit {
                    return Err(Error::TooLarge { limit, length: None });
                }
                if !step.data.is_empty() {
                    observer.body(step.data).map_err(Error::Output)?;
                }
                self.start += step.consumed;
            }
            if body.is_whole() {
                return Ok(received);
            }
            (self.start, self.end) = (0, 0);
            if self.fill(observer)? == 0 {
                return body.end(received).map(|()| received);
            }
        }
    }

    /// Reads behind what is there; 0 at the end of the stream.
    fn fill(&mut self, observer: &mut dyn Observer) -> Result<usize, Error> {
        loop {
            if !observer.go_on() {
                return Err(Error::Interrupted);
            }
            self.deadline.left()?;
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(length) => {
                    self.end += length;
                    return Ok(length);
                }
                Err(error) if is_pause(error.kind()) => {}
                Err(error) => return Err(Error::Connection(error)),
            }
        }
    }
}

/// Nothing came in this slice of time.
fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
