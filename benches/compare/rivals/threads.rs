//! The tutorial's design: a thread for each client, blocking reads and writes.

use super::{GREETING, answer};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const BUFFER: usize = 4 << 10;

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // A client that goes away ends its thread, whatever the reason.
        thread::Builder::new().spawn(move || talk(stream).ok())?;
    }
}

fn talk(mut stream: TcpStream) -> io::Result<()> {
    let mut input = [0; BUFFER];
    let mut output = Vec::new();
    let mut partial = Vec::new();
    stream.write_all(GREETING)?;
    loop {
        let length = stream.read(&mut input)?;
        if length == 0 {
            return Ok(());
        }
        output.clear();
        let flow = answer(&mut partial, &input[..length], &mut output);
        stream.write_all(&output)?;
        if flow.is_none() {
            return Ok(());
        }
    }
}
