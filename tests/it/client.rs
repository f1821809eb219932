//! `welcomed client` and `welcomed health`, against the real server and against scripted ones.

use crate::support::{CleanEnv, Daemon, PATIENCE, TestServer};
use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use welcomed::client::{Client, Error, Options, health};
use welcomed::protocol::Framing;
use welcomed::server;
use welcomed::service::{Echo, Hello, Refusal};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
    command.args(arguments).clean_env().stdin(Stdio::null());
    command
}

/// Exit code, standard output and standard error of a run.
fn run(arguments: &[&str]) -> (i32, String, String) {
    outcome(program(arguments).output().unwrap())
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A run that fails with one line; returns what it printed before, and the line.
#[track_caller]
fn fails(code: i32, arguments: &[&str]) -> (String, String) {
    let (found, stdout, stderr) = run(arguments);
    assert_eq!(found, code, "{stdout}{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line: {stderr}");
    (stdout, stderr.trim_end().to_owned())
}

fn typed(arguments: &[&str], input: impl AsRef<[u8]>) -> (i32, String, String) {
    let mut child = program(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.as_ref().to_vec();
    // A client that fails early does not read it all.
    let writer = thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    outcome(output)
}

/// A server for one client, that does what the test says and then closes.
struct Scripted {
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl Scripted {
    fn start(script: impl FnOnce(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let running = thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            script(socket);
        });
        Self { address, running }
    }

    fn end(self) {
        self.running.join().unwrap();
    }
}

fn next_line(socket: &TcpStream) -> String {
    let mut line = String::new();
    // The client says one line at a time, so nothing more is in the buffer when it is dropped.
    BufReader::new(socket).read_line(&mut line).unwrap();
    line
}

/// A port on which nobody listens, and nobody else will while the socket is held.
fn closed_port() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address.to_string())
}

const GREETED: &str = "Welcome!\nHello, Michael!\nHello, Tracy!\nHello, Sarah!\n";

#[test]
fn the_tutorial_s_conversation_in_each_framing() {
    for framing in ["auto", "line", "raw"] {
        let server = Daemon::serve(&["--framing", framing]);
        let address = server.service.to_string();
        let names = ["client", "--framing", framing, &address, "Michael", "Tracy", "Sarah"];
        assert_eq!(run(&names), (0, GREETED.to_owned(), String::new()), "{framing}");
        let (_, log) = server.stop();
        assert!(!log.contains("reset"), "{log}");
    }
}

#[test]
fn a_raw_client_talks_to_a_server_that_finds_out() {
    let server = Daemon::serve(&[]);
    let address = server.service.to_string();
    let names = ["client", "--framing", "raw", &address, "Michael", "Tracy", "Sarah"];
    assert_eq!(run(&names), (0, GREETED.to_owned(), String::new()));
}

#[test]
fn a_reply_without_end_is_not_kept_for_ever() {
    let server = Scripted::start(|mut socket| {
        socket.write_all(b"Welcome!\n").unwrap();
        let piece = vec![b'a'; 1 << 20];
        // Until the client has had enough and goes.
        while socket.write_all(&piece).is_ok() {}
    });
    let (code, out, err) = run(&["client", &server.address.to_string(), "Michael"]);
    assert_eq!((code, out.as_str()), (1, "Welcome!\n"), "{err}");
    assert!(err.contains("is longer than 16777216 bytes"), "{err}");
    server.end();
}

#[test]
fn a_name_that_is_far_too_long_is_refused() {
    let server = Daemon::serve(&["--framing", "line"]);
    let mut client = program(&["client", &server.service.to_string()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It stops reading before it has all.
    client.stdin.take().unwrap().write_all(&vec![b'a'; 17 << 20]).ok();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a line of standard input is longer than 16777216 bytes"), "{said}");
}

#[test]
fn the_tutorial_s_server() {
    let server = Daemon::serve(&["--config", "config/tutorial.toml", "--work-delay", "20ms"]);
    let address = server.service.to_string();
    let names = ["client", &address, "--framing=raw", "Michael", "Tracy", "Sarah"];
    assert_eq!(run(&names), (0, GREETED.to_owned(), String::new()));
    let (_, log) = server.stop();
    assert!(log.contains("Accept new connection from"), "{log}");
    // A client that waits for lines is told what came.
    let server = Daemon::serve(&["--config", "config/tutorial.toml"]);
    let address = server.service.to_string();
    let (_, line) = fails(1, &["client", &address, "--greeting-timeout", "200ms", "Michael"]);
    assert!(line.contains("`Welcome!`"), "{line}");
}

#[test]
fn twenty_thousand_names_through_a_pipe() {
    let server = Daemon::serve(&[]);
    let names: String = (0..20_000).map(|number| format!("name {number}\n")).collect();
    let (code, stdout, stderr) = typed(&["client", &server.service.to_string()], names);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let mut lines = stdout.lines();
    assert_eq!(lines.next(), Some("Welcome!"));
    for number in 0..20_000 {
        assert_eq!(lines.next(), Some(format!("Hello, name {number}!").as_str()));
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn exit_ends_the_conversation() {
    let server = Daemon::serve(&[]);
    let (code, stdout, stderr) =
        typed(&["client", &server.service.to_string()], "Michael\r\n\nexit\nTracy\n");
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout, "Welcome!\nHello, Michael!\nHello, !\n");
}

#[test]
fn bytes_that_are_no_text_come_back() {
    let server = Daemon::serve(&[]);
    let mut child = program(&["client", &server.service.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"\xff\xfe\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"Welcome!\nHello, \xff\xfe!\n");
}

#[test]
fn a_unix_socket_s_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}", folder.path().join("hello.sock").display());
    let server = server::Server::builder().listen(&path).unwrap();
    let server = server.build(Hello).unwrap();
    let handle = server.handle();
    let running = thread::spawn(move || server.run().unwrap());
    assert_eq!(
        run(&["client", &path, "Michael"]),
        (0, "Welcome!\nHello, Michael!\n".to_owned(), String::new())
    );
    handle.stop();
    assert!(running.join().unwrap().is_clean());
    let (_, line) = fails(1, &["client", &path, "Michael"]);
    assert!(line.starts_with(&format!("welcomed: cannot connect to {path}: ")), "{line}");
}

#[test]
fn a_service_without_a_greeting() {
    let server = TestServer::start(server::Options::default(), Echo);
    let address = server.address().to_string();
    let (stdout, line) = fails(1, &["client", "--greeting-timeout", "100ms", &address, "Michael"]);
    assert_eq!(stdout, "");
    assert_eq!(
        line,
        "welcomed: the greeting did not come within 100ms; for a service without one there is \
         --no-greeting"
    );
    // What the engine says when it gives a client up is only words as long as it goes on.
    let (code, stdout, stderr) =
        run(&["client", "--no-greeting", &address, "Michael", "Internal error.", "Tracy"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout, "Michael\nInternal error.\nTracy\n");
}

#[test]
fn a_server_that_goes_away() {
    let server = Scripted::start(|mut socket| {
        socket.write_all(b"Welcome!\n").unwrap();
        assert_eq!(next_line(&socket), "Michael\n");
        socket.write_all(b"Hello, Michael!\n").unwrap();
        assert_eq!(next_line(&socket), "Tracy\n");
        socket.write_all(b"Hel").unwrap();
    });
    let address = server.address.to_string();
    let (stdout, line) = fails(1, &["client", &address, "Michael", "Tracy", "Sarah"]);
    assert_eq!(stdout, "Welcome!\nHello, Michael!\nHel\n");
    assert_eq!(
        line,
        "welcomed: the server went away (end of stream) while the reply to `Tracy` was awaited"
    );
    server.end();
}

#[test]
fn a_server_that_refuses_is_quoted() {
    // With nothing to say and with names, in either way of reading.
    for names in [&[][..], &["Michael"]] {
        for framing in ["line", "raw"] {
            let server = Scripted::start(|mut socket| {
                socket.write_all(b"Busy, try again later.\n").unwrap();
            });
            let address = server.address.to_string();
            let mut arguments = vec!["client", "--framing", framing, &address];
            arguments.extend(names);
            let (stdout, line) = fails(1, &arguments);
            assert_eq!(stdout, "Busy, try again later.\n");
            assert!(line.ends_with("while the greeting was awaited"), "{line}");
            server.end();
        }
    }
}

#[test]
fn a_message_that_is_too_long_is_answered_and_the_end() {
    let framing = Framing::Line;
    let options = server::Options { framing, max_message: 64, ..server::Options::default() };
    let server = TestServer::start(options, Hello);
    let address = server.address().to_string();
    // Many times the sockets' buffers: the refusal comes while the name is on its way.
    for length in [65, 8 << 20] {
        let input = "x".repeat(length) + "\nTracy\n";
        let (code, stdout, stderr) = typed(&["client", "--framing", "line", &address], input);
        assert_eq!(code, 1, "{stdout}{stderr}");
        assert_eq!(stdout, "Welcome!\nMessage too long (limit 64 bytes).\n");
        assert!(stderr.contains("while the reply to `xxx"), "{stderr}");
        assert!(stderr.len() < 200 && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn the_last_words_are_the_engine_s() {
    for refusal in [Refusal::Busy, Refusal::TooLong { limit: 7 }, Refusal::Internal] {
        let server = Scripted::start(move |mut socket| {
            socket.write_all(format!("{refusal}\n").as_bytes()).unwrap();
        });
        let target = server.address.to_string().parse().unwrap();
        let options = Options { framing: Framing::Auto, reply_timeout: None };
        let mut client = Client::connect(&target, options).unwrap();
        match client.greeting(PATIENCE) {
            Err(Error::Gone { last_words, .. }) => {
                assert_eq!(last_words, refusal.to_string().into_bytes());
            }
            other => panic!("{refusal}: {other:?}"),
        }
        server.end();
    }
}

#[test]
fn a_reply_that_takes_too_long() {
    // It says nothing more until the client is gone.
    let server = Scripted::start(|mut socket| {
        socket.write_all(b"Welcome!\n").unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        assert_eq!(said, "Michael\n");
    });
    let address = server.address.to_string();
    let (stdout, line) = fails(1, &["client", "--timeout", "100ms", &address, "Michael"]);
    assert_eq!(stdout, "Welcome!\n");
    assert_eq!(line, "welcomed: the reply to `Michael` did not come within 100ms");
    server.end();
}

#[test]
fn nobody_listens() {
    let (_socket, address) = closed_port();
    let (stdout, line) = fails(1, &["client", &address, "Michael"]);
    assert_eq!(stdout, "");
    let refused = "Connection refused (os error 111)";
    assert_eq!(line, format!("welcomed: cannot connect to {address}: {refused}"));
    // A host's name: each of its addresses is told.
    let port = address.rsplit_once(':').unwrap().1;
    let (_, line) = fails(1, &["client", &format!("localhost:{port}"), "Michael"]);
    assert!(line.contains(&format!("127.0.0.1:{port}: {refused}")), "{line}");
}

#[test]
fn what_cannot_be_said_is_refused_before_connecting() {
    let (_socket, address) = closed_port();
    let (_, line) = fails(2, &["client", &address, "two\nlines"]);
    assert_eq!(line, "welcomed: a name cannot contain a newline unless the framing is `raw`");
    let (_, line) = fails(2, &["client", "--framing", "raw", &address, ""]);
    assert_eq!(line, "welcomed: a name cannot be empty when the framing is `raw`");
    let (code, _, stderr) = run(&["client", "Michael"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("`Michael` is not an address"), "{stderr}");
}

#[test]
fn a_closed_standard_output_ends_it_quietly() {
    let server = Daemon::serve(&[]);
    let mut child = program(&["client", &server.service.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut greeting = String::new();
    stdout.read_line(&mut greeting).unwrap();
    assert_eq!(greeting, "Welcome!\n");
    drop(stdout);
    // It is held open: the client ends by itself.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Michael\nTracy\n").unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_server_in_good_health() {
    let server = Daemon::serve(&[]);
    let address = server.metrics.unwrap().to_string();
    assert_eq!(run(&["health", &address]), (0, "ok\n".to_owned(), String::new()));
    let ready = format!("http://{address}/readyz");
    assert_eq!(run(&["health", &ready]).0, 0);
    let missing = format!("http://{address}/missing");
    let (_, line) = fails(1, &["health", &missing]);
    assert_eq!(line, format!("welcomed: {missing} answers with status 404"));
}

#[test]
fn a_server_in_no_health() {
    let (_socket, address) = closed_port();
    let (stdout, line) = fails(1, &["health", &address]);
    assert_eq!(stdout, "");
    assert!(line.starts_with(&format!("welcomed: cannot connect to {address}: ")), "{line}");
    // The service's own port speaks no HTTP.
    let server = Daemon::serve(&[]);
    let url = format!("http://{}/", server.service);
    let (_, line) = fails(1, &["health", &url]);
    assert_eq!(line, format!("welcomed: {url} does not answer in HTTP"));
}

#[test]
fn silence_is_no_health() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = silent.local_addr().unwrap().to_string().parse().unwrap();
    let outcome = health::ask(&url, Duration::from_millis(100));
    assert!(matches!(outcome, Err(health::Error::Silent { .. })), "{outcome:?}");
}
