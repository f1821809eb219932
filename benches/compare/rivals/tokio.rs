//! A tokio service: a task per client, on the current thread (`workers` 0) or on so many.

use std::io;
use std::net::TcpListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

pub fn run(listener: TcpListener, workers: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = match workers {
        0 => Builder::new_current_thread().enable_io().build()?,
        workers => Builder::new_multi_thread().worker_threads(workers).enable_io().build()?,
    };
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        // The accept loop is a task too, so that it is a worker that runs it.
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket));
            }
        });
        accepting.await.map_err(io::Error::other)
    })
}

async fn serve(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.write_all(b"Welcome!\n").await?;
    let mut buffer = vec![0; 4096];
    let mut replies = Vec::new();
    let mut kept = 0;
    loop {
        let count = kept + socket.read(&mut buffer[kept..]).await?;
        if count == kept {
            return Ok(());
        }
        replies.clear();
        let done = super::answer(&buffer[..count], &mut replies);
        buffer.copy_within(done..count, 0);
        kept = count - done;
        socket.write_all(&replies).await?;
    }
}
