//! A bad network: a relay between clients and a server that delays what it carries and cuts it
//! into pieces.

use super::base::reset;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What the relay does to each direction of a connection.
#[derive(Clone, Copy)]
pub struct Weather {
    /// How long everything is on its way.
    pub delay: Duration,
    /// Bytes in a segment.
    pub piece: usize,
}

/// What arrived from one side.
enum Carried {
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// Starts a relay for this many connections to `server`; returns where it listens.
pub fn relay(server: SocketAddr, weather: Weather, connections: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().take(connections) {
            let client = client.unwrap();
            let server = TcpStream::connect(server).unwrap();
            for (from, to) in [(&client, &server), (&server, &client)] {
                carry(from.try_clone().unwrap(), to.try_clone().unwrap(), weather);
            }
        }
    });
    address
}

/// Carries one direction, in a thread that reads and one that waits and writes.
fn carry(mut from: TcpStream, to: TcpStream, weather: Weather) {
    let (sender, receiver) = channel();
    thread::spawn(move || deliver(&receiver, to, weather.piece));
    thread::spawn(move || {
        let mut buffer = [0; 64 << 10];
        loop {
            let (carried, last) = match from.read(&mut buffer) {
                Ok(0) => (Carried::End, true),
                Ok(count) => (Carried::Bytes(buffer[..count].to_vec()), false),
                Err(_) => (Carried::Reset, true),
            };
            if sender.send((Instant::now() + weather.delay, carried)).is_err() || last {
                break;
            }
        }
    });
}

fn deliver(carried: &Receiver<(Instant, Carried)>, mut to: TcpStream, piece: usize) {
    to.set_nodelay(true).unwrap();
    for (due, what) in carried {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        match what {
            Carried::Bytes(bytes) => {
                for piece in bytes.chunks(piece) {
                    if to.write_all(piece).is_err() {
                        return;
                    }
                }
            }
            // The other side may be gone already.
            Carried::End => drop(to.shutdown(Shutdown::Write)),
            Carried::Reset => {
                // Wakes who reads from it, whose descriptor is the socket's last but one. An end
                // of what we send would hide the reset.
                to.shutdown(Shutdown::Read).ok();
                return reset(to);
            }
        }
    }
}

#[test]
fn a_reset_is_carried_as_one() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let weather = Weather { delay: Duration::from_millis(5), piece: 7 };
    let mut client = TcpStream::connect(relay(server.local_addr().unwrap(), weather, 1)).unwrap();
    let (served, _) = server.accept().unwrap();
    reset(served);
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
