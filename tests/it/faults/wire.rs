//! Every byte, every cut, and protocols that are not ours.

use super::base::{Patient, has};
use super::relay::{Weather, relay};
use crate::services::Gate;
use crate::support::{Client, PATIENCE, TestServer};
use crossbeam_channel::bounded;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;
use welcomed::protocol::Framing;
use welcomed::server::{Options, Server};

#[test]
fn every_byte_is_a_name() {
    let server = Patient::new("");
    let mut client = server.connect();
    client.expect("Welcome!");
    let mut reader = client.socket.try_clone().unwrap();
    let mut answers = |sent: &[u8], expected: &[u8]| {
        client.send(sent);
        let mut answer = vec![0; expected.len()];
        reader.read_exact(&mut answer).unwrap();
        assert_eq!(answer, expected, "to {sent:?}");
    };
    for byte in (0..=255_u8).filter(|byte| *byte != b'\n') {
        // A carriage return before the newline belongs to it.
        let name: &[u8] = if byte == b'\r' { b"" } else { &[byte] };
        answers(&[byte, b'\n'], &[b"Hello, ", name, b"!\n"].concat());
        // Anywhere else it is a byte as any other.
        answers(&[b'a', byte, b'b', b'\n'], &[b"Hello, a", &[byte][..], b"b!\n"].concat());
    }
    answers(b"\n", b"Hello, !\n");
    answers(b"\r\n", b"Hello, !\n");
    answers(b"\r\r\n", b"Hello, \r!\n");
    answers(b"\xff\xfe\xc0\x80 no UTF-8\n", b"Hello, \xff\xfe\xc0\x80 no UTF-8!\n");
    answers(b"Exit\n", b"Hello, Exit!\n");
    client.send("exit\n");
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    drop((client, reader));
    server.is_restored();
}

/// A read stops at an urgent byte, and no event tells of what is behind it.
#[test]
fn what_is_behind_an_urgent_byte_is_not_overlooked() {
    behind_a_busy_worker("127.0.0.1:0", |server, busy| {
        let mut client = server.connect();
        // Each piece at once, and not after the kernel's acknowledgement of the first.
        client.socket.set_nodelay(true).unwrap();
        talk_once(&mut client.socket);
        busy(&mut || {
            client.send("An");
            rustix::net::send(&client.socket, b"!", SendFlags::OOB).unwrap();
            client.send("n\n");
        });
        client.expect("Ann");
    });
}

/// A read stops behind a byte that brought a descriptor. Nobody here wants descriptors; they are
/// closed.
#[test]
fn what_is_behind_a_descriptor_is_not_overlooked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service.sock");
    behind_a_busy_worker(&format!("unix:{}", path.display()), |_, busy| {
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        talk_once(&mut client);
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        theirs.set_read_timeout(Some(PATIENCE)).unwrap();
        busy(&mut || {
            let passed = [ours.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut with = SendAncillaryBuffer::new(&mut space);
            assert!(with.push(SendAncillaryMessage::ScmRights(&passed)));
            sendmsg(&client, &[IoSlice::new(b"An")], &mut with, SendFlags::empty()).unwrap();
            client.write_all(b"n\n").unwrap();
        });
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"Ann\n");
        drop(ours);
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "the server has not kept it");
    });
}

/// Has `test` send what a worker reads at once and later: in `busy`, the only one is in a call.
fn behind_a_busy_worker(listen: &str, test: impl FnOnce(&TestServer, &dyn Fn(&mut dyn FnMut()))) {
    let (release, open) = bounded(0);
    // Nor does a deadline's last look find it.
    let message_timeout = Duration::from_secs(3600);
    let options =
        Options { workers: 1, framing: Framing::Line, message_timeout, ..Options::default() };
    let builder = Server::builder().options(options);
    let builder = builder.listen("127.0.0.1:0").unwrap().listen(listen).unwrap();
    let server = TestServer::run(builder.build(Gate::new("wait", open)).unwrap());
    test(&server, &|send| {
        let mut other = server.connect();
        other.send("wait\n");
        server.until("in a call", |stats| stats.workers_busy == 1);
        send();
        release.send(()).unwrap();
        other.expect("wait");
    });
}

/// From here on the socket is known to the poller, and the connection is parked.
fn talk_once(socket: &mut (impl Read + Write)) {
    socket.write_all(b"first\n").unwrap();
    let mut answer = [0; 6];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"first\n");
}

const SAID: &str = "Ann\nBob\r\n\n\u{00e4}\nexit\n";
const ANSWERED: &str = "Welcome!\nHello, Ann!\nHello, Bob!\nHello, !\nHello, \u{00e4}!\n";

#[test]
fn a_byte_a_segment_is_the_same_as_all_in_one() {
    let server = Patient::new("");
    for piece in [1, 2, 7, 1000] {
        let weather = Weather { delay: Duration::ZERO, piece };
        let mut client = Client::connect(relay(server.service, weather, 1));
        assert_eq!(client.send(SAID).rest(), ANSWERED, "{piece} bytes a segment");
    }
    server.is_restored();
}

/// The server has read the first part before the second is sent.
#[test]
fn a_cut_at_every_offset_is_none() {
    let server = Patient::new("");
    let mut received = 0.0;
    for offset in 0..=SAID.len() {
        let mut client = server.connect();
        let (first, second) = SAID.as_bytes().split_at(offset);
        client.send(first);
        received += offset as f64;
        server.until("welcomed_received_bytes_total", received);
        client.send(second);
        assert_eq!(client.rest(), ANSWERED, "cut at {offset}");
        received += (SAID.len() - offset) as f64;
    }
    server.is_restored();
}

#[test]
fn a_client_that_speaks_tls_goes_away() {
    if !has("openssl") {
        return;
    }
    let server = Patient::new("[timeouts]\nmessage = \"1s\"\nidle = \"3s\"\n");
    let address = server.service.to_string();
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("wrong version number"), "{said}");
    // One that waits for its hello's answer, as behind a service that does not speak first.
    let mut hello = server.connect();
    hello.expect("Welcome!");
    hello.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20));
    assert_eq!(hello.rest(), "");
    drop(hello);
    server.is_restored();
}

#[test]
fn a_client_that_speaks_http_is_answered_by_lines_and_closed() {
    if !has("curl") {
        return;
    }
    let server = Patient::new("[timeouts]\nidle = \"3s\"\n");
    let url = format!("http://{}/", server.service);
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        let output = command.args(["-sS", "--noproxy", "*"]).args(arguments).arg(&url).output();
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, _, said) = curl(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("HTTP/0.9"), "{said}");
    let (code, answer, said) = curl(&["--http0.9"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(answer.starts_with("Welcome!\nHello, GET / HTTP/1.1!\nHello, Host: "), "{answer}");
    assert!(answer.ends_with("\nHello, !\n"), "{answer}");
    server.is_restored();
}
