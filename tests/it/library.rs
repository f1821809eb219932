//! What the library refuses of those who build a server with it, and what it shows of itself.

use crate::support::{Client, TestServer, talk};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;
use welcomed::client::{self, Target};
use welcomed::protocol::Framing;
use welcomed::server::{Address, Listener, Server};
use welcomed::service::{Delayed, Hello};

#[test]
fn a_server_without_an_address_is_none() {
    let error = Server::builder().build(Hello).unwrap_err().to_string();
    assert_eq!(error, "a server needs at least one address to listen on");
    let error = Server::builder().listen("nowhere").unwrap_err().to_string();
    assert!(error.contains("`nowhere` is not an address"), "{error}");
    let error = Server::builder().workers(0).listen("127.0.0.1:0").unwrap();
    let error = error.build(Hello).unwrap_err().to_string();
    assert!(error.contains("workers = 0"), "{error}");
}

#[test]
fn only_stream_sockets_that_listen_are_inherited() {
    let refused = |socket: Socket| Listener::inherit(socket).unwrap_err().to_string();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(refused(datagrams.into()), "it is not a stream socket");
    let unbound = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    assert_eq!(refused(unbound), "it does not listen");
    let held = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let Address::Tcp(address) = *held.local_addr() else { panic!("{held:?}") };
    let connected = TcpStream::connect(address).unwrap();
    assert_eq!(refused(connected.into()), "it does not listen");
}

#[test]
fn an_abstract_socket_is_inherited_by_its_name() {
    let name = format!("welcomed-test-{}", std::process::id());
    let address = UnixSocketAddr::from_abstract_name(&name).unwrap();
    let held = UnixListener::bind_addr(&address).unwrap();
    let listener = Listener::inherit(held).unwrap();
    assert_eq!(listener.local_addr().to_string(), format!("unix:@{name}"));
    let server = TestServer::run(Server::builder().listener(listener).build(Hello).unwrap());
    let mut client = UnixStream::connect_addr(&address).unwrap();
    client.write_all(b"exit").unwrap();
    let mut read = String::new();
    client.read_to_string(&mut read).unwrap();
    assert_eq!(read, "Welcome!\n");
    assert!(server.stop().is_clean());
}

/// A Unix socket whose owner accepts nobody, and whose queue is full.
fn hanging(path: &Path) -> (Socket, Vec<Socket>) {
    let address = SockAddr::unix(path).unwrap();
    let unix = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let owner = unix();
    owner.bind(&address).unwrap();
    owner.listen(1).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = unix();
        client.set_nonblocking(true).unwrap();
        match client.connect(&address) {
            Ok(()) => waiting.push(client),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return (owner, waiting);
            }
        }
    }
}

#[test]
fn a_unix_socket_that_hangs_holds_neither_a_start_nor_a_client() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hangs.sock");
    let _held = hanging(&path);
    let address: Address = format!("unix:{}", path.display()).parse().unwrap();
    let error = Listener::bind(&address, 16).unwrap_err().to_string();
    assert!(error.contains("Address already in use"), "{error}");
    // After the five seconds that a client has for its connection.
    let target: Target = address.to_string().parse().unwrap();
    let error = client::Client::connect(&target, Default::default()).unwrap_err().to_string();
    assert!(error.contains("hangs.sock") && error.contains("timed out"), "{error}");
}

#[test]
fn a_server_and_its_parts_show_where_they_listen() {
    let builder = Server::builder().workers(2).framing(Framing::Line);
    let builder = builder.listen("127.0.0.1:0").unwrap();
    assert!(format!("{builder:?}").contains("127.0.0.1"), "{builder:?}");
    let service = Delayed::new(Hello, Duration::ZERO);
    let server = builder.build(service).unwrap();
    let handle = server.handle();
    let Address::Tcp(address) = handle.local_addrs()[0] else { panic!("{handle:?}") };
    assert_eq!(Address::from(address), handle.local_addrs()[0]);
    assert_eq!(address.ip(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).ip());
    for shown in [format!("{server:?}"), format!("{handle:?}")] {
        assert!(shown.contains(&address.port().to_string()), "{shown}");
    }
    let server = TestServer::run(server);
    let mut client = Client::connect(address);
    client.expect("Welcome!");
    talk(&mut client, &["Ann", "Bob"]);
    assert_eq!(server.handle.options().framing, Framing::Line);
}
