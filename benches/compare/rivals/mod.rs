//! The rivals: the hello service in `line` framing, built in other ways. Each runs as a process
//! of its own, says where it listens, and ends when its standard input does.

mod epoll;
mod threads;
mod tokio;

use std::io::{self, Read};
use std::net::TcpListener;
use std::thread;

/// Runs the rival of this name until standard input ends.
pub fn run(name: &str) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("listening service={}", listener.local_addr()?);
    thread::spawn(|| {
        // Whatever ends the input, the parent is gone.
        io::stdin().read_to_end(&mut Vec::new()).ok();
        std::process::exit(0);
    });
    match name {
        "raw-epoll" => epoll::run(&listener),
        "threads" => threads::run(&listener),
        "tokio-1" => tokio::run(listener, 0),
        "tokio-2" => tokio::run(listener, 2),
        _ => Err(io::Error::other(format!("no such rival: {name}"))),
    }
}

/// Appends the reply to each whole line at the front of `input`; says how much of it that was.
#[inline]
fn answer(input: &[u8], replies: &mut Vec<u8>) -> usize {
    let mut done = 0;
    for end in memchr::memchr_iter(b'\n', input) {
        replies.extend_from_slice(b"Hello, ");
        replies.extend_from_slice(&input[done..end]);
        replies.extend_from_slice(b"!\n");
        done = end + 1;
    }
    done
}
