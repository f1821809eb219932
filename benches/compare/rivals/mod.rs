//! The servers that `welcomed` is compared with: each does the same job as `welcomed serve` with
//! `framing = "line"`, and speaks it with the same code; they differ in how they wait.
//!
//! A rival runs as a process of its own: this program, started again with `--rival NAME`. It
//! prints its address and ends when its standard input does, and so never outlives the comparison.

mod epoll;
mod threads;
mod tokio;

use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::{process, thread};

const GREETING: &[u8] = b"Welcome!\n";

/// What a rival writes before its address.
pub(crate) const LISTENING: &str = "listening service=";

/// Its name on the command line is the variant's in kebab case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Rival {
    RawEpoll,
    Tokio,
    TokioCurrentThread,
    ThreadPerClient,
}

/// Serves until standard input ends.
pub(crate) fn run(rival: Rival) -> io::Result<()> {
    let listener = listen()?;
    writeln!(io::stderr(), "{LISTENING}{}", listener.local_addr()?)?;
    #[allow(clippy::exit)] // this is a whole process, and its time is over
    thread::spawn(|| {
        // Whether it ended or failed: nobody is there any more.
        io::stdin().read_exact(&mut [0]).ok();
        process::exit(0);
    });
    match rival {
        Rival::RawEpoll => epoll::serve(listener),
        Rival::Tokio => tokio::two_workers(listener),
        Rival::TokioCurrentThread => tokio::current_thread(listener),
        Rival::ThreadPerClient => threads::serve(listener),
    }
}

/// With the backlog that `welcomed` has; the standard library's is 128.
fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// Answers the whole lines in what was read and keeps the rest; `None` after `exit`.
#[inline]
fn answer(partial: &mut Vec<u8>, input: &[u8], output: &mut Vec<u8>) -> Option<()> {
    if partial.is_empty() {
        let (rest, flow) = answer_lines(input, output);
        partial.extend_from_slice(rest);
        return flow;
    }
    partial.extend_from_slice(input);
    let (rest, flow) = answer_lines(partial, output);
    let taken = partial.len() - rest.len();
    partial.drain(..taken);
    flow
}

/// Answers the whole lines at the front of `input`; returns what is left.
#[inline]
fn answer_lines<'a>(mut input: &'a [u8], output: &mut Vec<u8>) -> (&'a [u8], Option<()>) {
    while let Some(end) = memchr::memchr(b'\n', input) {
        let line = &input[..end];
        input = &input[end + 1..];
        let name = line.strip_suffix(b"\r").unwrap_or(line);
        if name == b"exit" {
            return (&[], None);
        }
        output.extend_from_slice(b"Hello, ");
        output.extend_from_slice(name);
        output.extend_from_slice(b"!\n");
    }
    (input, Some(()))
}
