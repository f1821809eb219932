//! The tutorial's design: a thread per client, in the standard library.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

pub fn run(listener: &TcpListener) -> io::Result<()> {
    for socket in listener.incoming() {
        let socket = socket?;
        // A client that goes away ends its thread.
        thread::spawn(move || serve(socket).ok());
    }
    Ok(())
}

fn serve(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.write_all(b"Welcome!\n")?;
    let mut buffer = vec![0; 4096];
    let mut replies = Vec::new();
    let mut kept = 0;
    loop {
        let count = kept + socket.read(&mut buffer[kept..])?;
        if count == kept {
            return Ok(());
        }
        replies.clear();
        let done = super::answer(&buffer[..count], &mut replies);
        buffer.copy_within(done..count, 0);
        kept = count - done;
        socket.write_all(&replies)?;
    }
}
