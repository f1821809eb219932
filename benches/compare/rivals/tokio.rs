//! tokio: a task for each client, on one thread or on two.

use super::{GREETING, answer};
use std::io;
use std::net::TcpListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

const BUFFER: usize = 4 << 10;

pub(super) fn current_thread(listener: TcpListener) -> io::Result<()> {
    Builder::new_current_thread().enable_io().build()?.block_on(serve(listener))
}

pub(super) fn two_workers(listener: TcpListener) -> io::Result<()> {
    // As a task, so that accepting is done by the workers and not by a third thread.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_io().build()?;
    runtime.block_on(async { tokio::spawn(serve(listener)).await.map_err(io::Error::other)? })
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that goes away ends its task, whatever the reason.
        tokio::spawn(talk(stream));
    }
}

async fn talk(mut stream: TcpStream) -> io::Result<()> {
    let mut input = vec![0; BUFFER];
    let mut output = Vec::new();
    let mut partial = Vec::new();
    stream.write_all(GREETING).await?;
    loop {
        let length = stream.read(&mut input).await?;
        if length == 0 {
            return Ok(());
        }
        output.clear();
        let flow = answer(&mut partial, &input[..length], &mut output);
        stream.write_all(&output).await?;
        if flow.is_none() {
            return Ok(());
        }
    }
}
