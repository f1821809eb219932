//! The main job: the tutorial's server, to the letter, and what real clients do to it.

use crate::support::{Client, Daemon, TestServer, count, eventually, talk};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use welcomed::protocol::Framing;
use welcomed::server::{Listener, Options};
use welcomed::service::{Delayed, Discard, Echo, Hello};

/// The tutorial's client, with Python 3's bytes and print.
const TUTORIAL_CLIENT: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect(('127.0.0.1', int(sys.argv[1])))
print(s.recv(1024))
for data in [b'Michael', b'Tracy', b'Sarah']:
    s.send(data)
    print(s.recv(1024))
s.send(b'exit')
s.close()
";

fn tutorial_client(server: &Daemon) -> String {
    let output = Command::new("python3")
        .args(["-c", TUTORIAL_CLIENT, &server.service.port().to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("python3, which the tutorial's client is written in");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn line_server() -> TestServer {
    TestServer::start(Options { framing: Framing::Line, ..Options::default() }, Hello)
}

#[test]
fn the_tutorials_client_talks_to_a_server_without_configuration() {
    let server = Daemon::serve(&[]);
    let expected = "b'Welcome!\\n'\nb'Hello, Michael!'\nb'Hello, Tracy!'\nb'Hello, Sarah!'\n";
    assert_eq!(tutorial_client(&server), expected);
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_tutorials_server_is_there_to_the_letter() {
    let server = Daemon::serve(&["--config", "config/tutorial.toml"]);
    let asked = Instant::now();
    let expected = "b'Welcome!'\nb'Hello, Michael!'\nb'Hello, Tracy!'\nb'Hello, Sarah!'\n";
    assert_eq!(tutorial_client(&server), expected);
    assert!(asked.elapsed() >= Duration::from_secs(3), "a second of work for each name");
    let (status, said) = server.stop();
    assert_eq!(status.code(), Some(0));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.contains(&"Waiting for connection..."), "{said}");
    let accepted = lines.iter().find(|line| line.starts_with("Accept new connection from 127"));
    let peer = accepted.expect(&said).trim_start_matches("Accept new connection from ");
    let peer = peer.strip_suffix("...").expect(&said);
    assert!(lines.contains(&format!("Connection from {peer} closed.").as_str()), "{said}");
}

#[test]
fn lines_end_with_lf_or_crlf_and_answers_with_lf() {
    let server = line_server();
    let mut client = server.connect();
    client.expect("Welcome!");
    client.send("Ann\nBob\r\n\n\r\nCarl\rl\n");
    for name in ["Ann", "Bob", "", "", "Carl\rl"] {
        client.expect(&format!("Hello, {name}!"));
    }
    assert_eq!(client.send("exit\n").rest(), "");
    server.until("closed", |stats| count(&stats.closed, "exit") == 1);
}

#[test]
fn every_byte_comes_back_as_it_was() {
    let server = TestServer::start(Options { framing: Framing::Line, ..Options::default() }, Echo);
    let mut client = server.connect();
    let every: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').chain([b'\n']).collect();
    client.send(&every).finish();
    let mut back = Vec::new();
    std::io::Read::read_to_end(&mut client.socket, &mut back).unwrap();
    assert_eq!(back, every);
}

#[test]
fn twenty_thousand_pipelined_lines_are_answered_in_order_after_a_half_close() {
    const LINES: usize = 20_000;
    let server = line_server();
    let mut client = server.connect();
    let mut sender = client.socket.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let lines: String = (0..LINES).map(|n| format!("n{n}\n")).collect();
        sender.write_all(lines.as_bytes()).unwrap();
        sender.shutdown(std::net::Shutdown::Write).unwrap();
    });
    client.expect("Welcome!");
    for n in 0..LINES {
        client.expect(&format!("Hello, n{n}!"));
    }
    assert_eq!(client.rest(), "");
    sending.join().unwrap();
    assert_eq!(server.stats().messages, LINES as u64);
    server.until("closed", |stats| count(&stats.closed, "client") == 1);
}

#[test]
fn sixty_four_clients_share_eight_workers_and_nobody_starves() {
    const CLIENTS: usize = 64;
    const MESSAGES: usize = 5;
    let options = Options { workers: 8, framing: Framing::Line, ..Options::default() };
    let server = TestServer::start(options, Delayed::new(Hello, Duration::from_millis(10)));
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    let finished: Vec<_> = clients
        .drain(..)
        .map(|mut client| {
            thread::spawn(move || {
                client.expect("Welcome!");
                for n in 0..MESSAGES {
                    talk(&mut client, &[&format!("n{n}")]);
                }
                client
            })
        })
        .collect();
    // All of them stay connected, so that none gets its turn because another has left.
    let clients: Vec<Client> = finished.into_iter().map(|done| done.join().unwrap()).collect();
    assert_eq!(server.stats().messages, (CLIENTS * MESSAGES) as u64);
    assert_eq!(server.stats().workers, 8);
    drop(clients);
}

#[test]
fn a_thousand_connections_cost_no_thread_each() {
    let server = Daemon::serve(&["--workers", "4", "--framing", "line"]);
    let mut clients: Vec<Client> = (0..1000).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("Welcome!");
    }
    for round in 0..3 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(format!("n{n}.{round}\n"));
        }
        for (n, client) in clients.iter_mut().enumerate() {
            client.expect(&format!("Hello, n{n}.{round}!"));
        }
    }
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().count();
    assert!(threads < 16, "{threads} threads: 4 workers, and a few for the rest");
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    for client in &mut clients {
        assert_eq!(client.rest(), "", "an idle client sees the end of the stream, not a reset");
    }
}

#[test]
fn exit_with_unread_input_behind_it_costs_no_reply() {
    let server = line_server();
    for round in 0..100 {
        let mut client = server.connect();
        client.send("a\nb\nexit\n");
        client.send(vec![b'x'; 64 << 10]);
        let expected = "Welcome!\nHello, a!\nHello, b!\n";
        assert_eq!(client.rest(), expected, "round {round}");
    }
}

#[test]
fn in_auto_a_connection_speaks_lines_from_its_first_newline_on() {
    let server = TestServer::start(Options::default(), Hello);
    let mut client = server.connect();
    client.expect("Welcome!");
    client.send("Ann");
    assert_eq!(client.chunk(), "Hello, Ann!");
    client.send("Bob\nCa").expect("Hello, Bob!");
    client.send("rl\n").expect("Hello, Carl!");
    client.send("last").finish();
    assert_eq!(client.rest(), "Hello, last!");
}

#[test]
fn in_raw_replies_end_with_nothing() {
    let options = Options { framing: Framing::Raw, ..Options::default() };
    let server = TestServer::start(options, Hello);
    let mut client = server.connect();
    assert_eq!(client.chunk(), "Welcome!");
    client.send("Ann\n");
    assert_eq!(client.chunk(), "Hello, Ann\n!");
    assert_eq!(client.send("exit").rest(), "");
}

#[test]
fn in_line_an_unterminated_last_line_is_dropped_and_counted() {
    let server = line_server();
    let mut client = server.connect();
    client.send("Ann\nBo").finish();
    assert_eq!(client.rest(), "Welcome!\nHello, Ann!\n");
    server.until("counted", |stats| count(&stats.message_errors, "incomplete") == 1);
}

#[test]
fn discard_answers_nothing() {
    let options = Options { framing: Framing::Line, ..Options::default() };
    let server = TestServer::start(options, Discard);
    let mut client = server.connect();
    assert_eq!(client.send("a\nb\nc\n").finish().rest(), "");
    server.until("served", |stats| stats.messages == 3);
}

#[test]
fn a_pipelining_client_gets_each_answer_when_it_is_made() {
    // The second call blocks until the client has read the first answer.
    let (release, blocked) = crossbeam_channel::bounded::<()>(0);
    let options = Options { framing: Framing::Line, ..Options::default() };
    let server = TestServer::start(options, crate::services::Gate::new("wait", blocked));
    let mut client = server.connect();
    client.send("slow\nwait\n").expect("slow");
    release.send(()).unwrap();
    client.expect("wait");
}

#[test]
fn a_unix_socket_is_served_and_its_file_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("welcomed.sock");
    // What a killed server leaves behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let address = format!("unix:{}", path.display());
    let server = welcomed::server::Server::builder().listen(&address).unwrap();
    let server = server.build(Hello).unwrap();
    let handle = server.handle();
    let running = thread::spawn(move || server.run().unwrap());
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    client.write_all(b"Ann\nexit\n").unwrap();
    let mut all = String::new();
    std::io::Read::read_to_string(&mut client, &mut all).unwrap();
    assert_eq!(all, "Welcome!\nHello, Ann!\n");
    let second = welcomed::server::Server::builder().listen(&address);
    assert!(second.unwrap_err().to_string().contains("in use"));
    handle.stop();
    assert!(running.join().unwrap().is_clean());
    eventually("the file is gone", || !path.exists());
    let address = address.parse().unwrap();
    let listener = Listener::bind_with_mode(&address, 16, Some(0o600)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // Somebody has removed the file, and a successor made its own.
    std::fs::remove_file(&path).unwrap();
    let _successor = Listener::bind(&address, 16).unwrap();
    drop(listener);
    assert!(path.exists());
}
