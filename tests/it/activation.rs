//! Sockets that somebody else holds: served as passed, left to the successor, and over many
//! restarts nobody is refused and nothing that was taken goes unanswered.

use crate::deploy::installed;
use crate::support::{CleanEnv, Client, Daemon, PATIENCE, SERVE, eventually, talk};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use welcomed::server::{Listener, Options, Server};
use welcomed::service::Echo;

/// `welcomed` with `first`, and `second` if there is one, as its descriptors 3 and 4.
fn activated(first: OwnedFd, second: Option<OwnedFd>, names: &str) -> Command {
    activate(env!("CARGO_BIN_EXE_welcomed").as_ref(), first, second, names)
}

/// The same with another program. The sockets come as standard input and output, which are the
/// descriptors that a `Command` can pass, and the shell moves them and knows the process's id.
pub fn activate(program: &Path, first: OwnedFd, second: Option<OwnedFd>, names: &str) -> Command {
    let count = if second.is_some() { "2" } else { "1" };
    let script = "export LISTEN_PID=$$; exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null";
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script, "sh"])
        .arg(program)
        .clean_env()
        .env("LISTEN_FDS", count)
        .env("LISTEN_FDNAMES", names)
        .stdin(first)
        .stdout(second.map_or_else(Stdio::null, Stdio::from));
    command
}

fn terminate(child: &Child) {
    let kill = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn a_socket_that_is_passed_takes_the_place_of_the_configured_address() {
    let ((held, address), (_taken, elsewhere)) = (listener(), listener());
    let mut command = activated(held.into(), None, "welcomed.socket");
    // Binding this one would fail.
    let listen = elsewhere.to_string();
    command.args(["serve", "--metrics-listen", "127.0.0.1:0", "--listen", &listen]);
    let server = Daemon::start(&mut command);
    assert_eq!((server.service, server.others.len()), (address, 0));
    let mut client = server.connect();
    client.expect("Welcome!");
    talk(&mut client, &["Ann"]);
    let (status, said) = server.stop();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_unix_socket_and_one_for_the_metrics_are_told_apart_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service.sock");
    let held = UnixListener::bind(&path).unwrap();
    for name in ["metrics", "welcomed-metrics.socket"] {
        let (metrics, address) = listener();
        let unix = held.try_clone().unwrap();
        let mut command = activated(metrics.into(), Some(unix.into()), &format!("{name}:any"));
        let mut child = command
            .args(["serve", "--metrics-listen", "off"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = "\n".to_owned();
        while !said.contains("Waiting for connection") {
            assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
        }
        let unix = path.display();
        for line in [
            format!("{address} was passed to us and replaces metrics.listen\n"),
            format!("unix:{unix} was passed to us and replaces server.listen\n"),
            format!("\nlistening service=unix:{unix}\n"),
            format!("\nlistening metrics={address}\n"),
        ] {
            assert!(said.contains(&line), "{line}: {said}");
        }
        let mut client = BufReader::new(UnixStream::connect(&path).unwrap());
        client.get_mut().write_all(b"Ann\n").unwrap();
        client.get_mut().shutdown(Shutdown::Write).unwrap();
        let mut words = String::new();
        client.read_to_string(&mut words).unwrap();
        assert_eq!(words, "Welcome!\nHello, Ann!\n");
        let mut scraper = Client::connect(address);
        scraper.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(scraper.rest().contains(" 200 OK\r\n"));
        terminate(&child);
        assert!(child.wait().unwrap().success());
        assert!(path.exists(), "the file is the holder's, as is the socket");
    }
}

#[test]
fn systemds_own_tool_passes_a_socket_that_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service.sock");
    let child = Command::new("systemd-socket-activate")
        .arg("-l")
        .arg(&path)
        .args([env!("CARGO_BIN_EXE_welcomed"), "serve", "--metrics-listen", "off"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Some(child) = installed("systemd-socket-activate", child) else { return };
    let mut client = None;
    eventually("it listens", || {
        client = UnixStream::connect(&path).ok();
        client.is_some()
    });
    // The first client makes it start us, in its own place.
    let mut client = BufReader::new(client.unwrap());
    client.get_mut().write_all(b"Ann\n").unwrap();
    let mut words = String::new();
    for _ in 0..2 {
        client.read_line(&mut words).unwrap();
    }
    assert_eq!(words, "Welcome!\nHello, Ann!\n");
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("replaces server.listen"), "{said}");
}

fn refused(first: OwnedFd, second: Option<OwnedFd>, names: &str) -> String {
    let output: Output = activated(first, second, names).args(SERVE).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("listening "), "nothing is half started: {said}");
    said
}

#[test]
fn what_is_no_listening_socket_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (held, address) = listener();
    let allowed = "; allowed are TCP and Unix stream sockets that listen\n";
    let datagram = UnixDatagram::bind(folder.path().join("datagrams")).unwrap();
    for (descriptor, why) in [
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), "it is something else"),
        (datagram.into(), "it is something else"),
        (File::open("/dev/null").unwrap().into(), "it is something else"),
        (TcpStream::connect(address).unwrap().into(), "it does not listen"),
        (UnixStream::pair().unwrap().0.into(), "it does not listen"),
    ] {
        let said = refused(descriptor, None, "odd");
        let start = "welcomed: cannot use descriptor 3 (`odd`) that was passed to this process: ";
        assert_eq!(said, format!("{start}{why}{allowed}"));
    }
    let second = held.try_clone().unwrap();
    let said = refused(held.into(), Some(second.into()), "metrics:metrics");
    assert!(
        said.contains("descriptor 4 (`metrics`)") && said.contains("a second socket"),
        "{said}"
    );
}

#[test]
fn a_count_of_sockets_that_is_none_is_refused() {
    for count in ["x", "-1", "", "99999999999"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
        command.args(SERVE).clean_env().env("LISTEN_FDS", count);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let start = format!("welcomed: LISTEN_FDS is `{count}`; allowed is the number of sockets");
        assert!(said.starts_with(&start), "{said}");
    }
}

#[test]
fn sockets_that_were_passed_to_another_process_are_not_ours() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
    // The parent's, say, that did not clean its environment.
    command.args(SERVE).clean_env().env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let server = Daemon::start(&mut command);
    server.connect().expect("Welcome!");
}

#[test]
fn a_client_in_the_queue_of_an_inherited_socket_is_left_to_the_successor() {
    let (held, address) = listener();
    let server = |socket: TcpListener| {
        let options = Options { workers: 1, ..Options::default() };
        let builder = Server::builder().options(options);
        builder.listener(Listener::inherit(socket).unwrap()).build(Echo).unwrap()
    };
    let first = server(held.try_clone().unwrap());
    let mut client = Client::connect(address);
    client.send("who answers?\n");
    // It stops before it has accepted anybody: the drain begins with a client in the queue.
    let handle = first.handle();
    handle.stop();
    assert!(first.run().unwrap().is_clean());
    assert_eq!(handle.stats().accepted[0].accepted, 0);
    let second = server(held.try_clone().unwrap());
    let handle = second.handle();
    let running = thread::spawn(move || second.run().unwrap());
    client.expect("who answers?");
    handle.stop();
    assert!(running.join().unwrap().is_clean());
    assert_eq!(handle.stats().accepted[0].accepted, 1);
}

#[test]
fn events_of_an_inherited_socket_do_not_disturb_a_drain() {
    // The holder's copy keeps the socket in an epoll that nobody took it out of.
    let (held, address) = listener();
    let options = Options { workers: 1, ..Options::default() };
    let builder = Server::builder().options(options);
    let socket = Listener::inherit(held.try_clone().unwrap()).unwrap();
    let (release, gate) = crossbeam_channel::bounded::<()>(0);
    let service = crate::services::Gate::new("wait", gate);
    let server = builder.listener(socket).build(service).unwrap();
    let handle = server.handle();
    let running = thread::spawn(move || server.run().unwrap());
    let mut busy = Client::connect(address);
    busy.send("wait\n");
    eventually("the worker is in a call", || handle.stats().active == 1);
    handle.stop();
    // The turn that answers the second question is one of the drain.
    for _ in 0..2 {
        let asked = handle.ping();
        eventually("the drain has begun", || handle.pong() >= asked);
    }
    let _waits = Client::connect(address);
    let asked = handle.ping();
    eventually("the accept loop turns", || handle.pong() >= asked);
    release.send(()).unwrap();
    assert_eq!(busy.rest(), "wait\n");
    assert!(running.join().unwrap().is_clean());
    assert_eq!(handle.stats().accepted[0].accepted, 1, "the second is the successor's");
}

/// What the probes saw.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    /// Told the end of the stream before their message was read: they came again.
    late: AtomicUsize,
}

/// Connects, says a name, and reads what comes. Everything but a whole answer, or an orderly end
/// without one, fails the test.
fn probe(address: SocketAddr, name: &str, tally: &Tally) {
    loop {
        let mut socket = TcpStream::connect(address).expect("nobody is refused");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(format!("{name}\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(socket);
        let mut words = String::new();
        for _ in 0..2 {
            reader.read_line(&mut words).expect("no reset");
        }
        if words == format!("Welcome!\nHello, {name}!\n") {
            tally.answered.fetch_add(1, Ordering::SeqCst);
            return;
        }
        // The drain closed this connection before the name had arrived.
        assert!(words.is_empty() || words == "Welcome!\n", "half an answer: {words:?}");
        tally.late.fetch_add(1, Ordering::SeqCst);
    }
}

/// Stops it in order; says how many messages it has read.
fn stop(server: Daemon) -> usize {
    let (status, said) = server.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    let count = said.split("stopped after ").nth(1).unwrap();
    count.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn nobody_is_refused_and_no_answer_is_lost_in_twenty_restarts() {
    const RESTARTS: usize = 20;
    const PROBERS: usize = 16;
    let (held, address) = listener();
    let (tally, over) = (Tally::default(), AtomicBool::new(false));
    let start = || {
        let mut command = activated(held.try_clone().unwrap().into(), None, "welcomed.socket");
        let service = ["--framing", "line", "--workers", "4", "--work-delay", "2ms"];
        Daemon::start(command.args(SERVE).args(service))
    };
    let mut messages = 0;
    thread::scope(|scope| {
        let probers: Vec<_> = (0..PROBERS)
            .map(|number| {
                let (tally, over) = (&tally, &over);
                scope.spawn(move || {
                    for round in 0.. {
                        if over.load(Ordering::SeqCst) {
                            break;
                        }
                        probe(address, &format!("{number}-{round}"), tally);
                    }
                })
            })
            .collect();
        for _ in 0..RESTARTS {
            let server = start();
            let before = tally.answered.load(Ordering::SeqCst);
            eventually("it answers, or a probe has failed", || {
                tally.answered.load(Ordering::SeqCst) >= before + 200
                    || probers.iter().any(|prober| prober.is_finished())
            });
            messages += stop(server);
        }
        let last = start();
        over.store(true, Ordering::SeqCst);
        for prober in probers {
            prober.join().unwrap();
        }
        messages += stop(last);
    });
    let (answered, late) = (tally.answered.into_inner(), tally.late.into_inner());
    eprintln!("{RESTARTS} restarts: {answered} probes answered, {late} of them at a second try");
    assert_eq!(answered, messages, "what the servers have read is what the probes have heard of");
}
