//! The limit: one thread, one level-triggered epoll, a fixed buffer per connection, nothing else:
//! no metrics, no deadlines, no back-pressure, no handler that may block.

use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

const LISTENER: u64 = u64::MAX;

struct Connection {
    socket: OwnedFd,
    /// The half line at the end of the last read.
    rest: Vec<u8>,
}

pub fn run(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let input = epoll::EventFlags::IN;
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), input)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut replies = Vec::with_capacity(64 << 10);
    loop {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 64];
        let (ready, _) = epoll::wait(&epoll, &mut events, None)?;
        for event in ready {
            let key = event.data.u64();
            if key != LISTENER {
                serve(&mut connections[key as usize], &mut buffer, &mut replies);
                continue;
            }
            while let Ok(socket) = accept_with(listener, SocketFlags::NONBLOCK) {
                sockopt::set_tcp_nodelay(&socket, true)?;
                send(&socket, b"Welcome!\n", SendFlags::NOSIGNAL)?;
                let key = epoll::EventData::new_u64(connections.len() as u64);
                epoll::add(&epoll, &socket, key, input)?;
                connections.push(Some(Connection { socket, rest: Vec::new() }));
            }
        }
    }
}

fn serve(place: &mut Option<Connection>, buffer: &mut [u8], replies: &mut Vec<u8>) {
    let Some(connection) = place else {
        return;
    };
    let kept = connection.rest.len();
    buffer[..kept].copy_from_slice(&connection.rest);
    let count = match recv(&connection.socket, &mut buffer[kept..], RecvFlags::empty()) {
        Ok((count @ 1.., _)) => kept + count,
        Err(rustix::io::Errno::AGAIN) => return,
        Ok(_) | Err(_) => {
            *place = None;
            return;
        }
    };
    replies.clear();
    let done = super::answer(&buffer[..count], replies);
    if kept > 0 || done < count {
        connection.rest = buffer[done..count].to_vec();
    }
    if send(&connection.socket, replies, SendFlags::NOSIGNAL).is_err() {
        *place = None;
    }
}
