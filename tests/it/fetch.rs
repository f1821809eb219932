//! `welcomed fetch` against a real nginx, and against scripted servers for what nginx won't do.

mod nginx;

use nginx::Nginx;
use socket2::{Domain, Socket, Type};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PAGE: &[u8] = b"<h1>Hello</h1>\n";

/// An empty directory in which `fetch` runs, and what it left there.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
        command.arg("fetch").args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn fetch(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn names(&self) -> Vec<String> {
        names(self.0.path())
    }

    fn content(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).unwrap()
    }

    /// Fetches what must fail with exit code 1: the error line. Nothing may be left behind.
    #[track_caller]
    fn failure(&self, arguments: &[&str]) -> String {
        let output = self.fetch(arguments);
        let stderr = text(&output.stderr).to_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(self.names(), Vec::<String>::new(), "left behind; {stderr}");
        stderr
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn assert_ok(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// A server for one connection. Reads the request's head, which it sends back through the
/// channel, and hands the stream to `answer`.
fn serve_on(
    listener: TcpListener,
    answer: impl FnOnce(TcpStream) + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<String>) {
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "a whole head");
        }
        // Not every test reads it.
        drop(sender.send(head));
        answer(stream.into_inner());
    });
    (address, receiver)
}

/// The URL of a server that sends `answer` and closes.
pub fn serve(answer: impl Into<Vec<u8>>) -> String {
    let answer = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // The client may have heard enough before all of it is sent.
    let (address, _) = serve_on(listener, move |mut stream| drop(stream.write_all(&answer)));
    format!("http://{address}/page")
}

/// The URL of a server that sends `answer` and then waits for the client to leave.
fn serve_and_wait(answer: &'static str) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sender, receiver) = mpsc::channel();
    let (address, _) = serve_on(listener, move |mut stream| {
        stream.write_all(answer.as_bytes()).unwrap();
        // The end, or a reset: the client has left.
        drop(stream.read_to_end(&mut Vec::new()));
        sender.send(()).ok(); // the test may have failed meanwhile
    });
    (format!("http://{address}/page"), receiver)
}

#[test]
fn a_page_with_its_head_here_and_its_body_there() {
    let Some(nginx) = Nginx::start(&[("page.txt", PAGE), ("index.html", b"index")]) else { return };
    let place = Place::new();
    let output = place.fetch(&[&nginx.url("/page.txt?query#fragment")]);
    assert_ok(&output);
    let head = text(&output.stdout);
    assert!(head.starts_with("HTTP/1.1 200 OK\nServer: nginx/"), "{head}");
    assert!(head.contains(&format!("\nContent-Length: {}\n", PAGE.len())), "{head}");
    assert!(head.ends_with("\n") && !head.contains('\r') && !head.contains("<h1>"), "{head}");
    assert_eq!(text(&output.stderr), "");
    assert_eq!(place.names(), ["page.txt"]);
    assert_eq!(place.content("page.txt"), PAGE);

    // No name in the URL; a name given; a file in the way; standard output.
    assert_ok(&place.fetch(&[&nginx.url("")]));
    assert_eq!(place.content("index.html"), b"index");
    assert_ok(&place.fetch(&[&nginx.url("/page.txt"), "-o", "index.html"]));
    assert_eq!(place.content("index.html"), PAGE);
    let output = place.fetch(&[&nginx.url("/page.txt"), "-o", "-"]);
    assert_ok(&output);
    assert_eq!(output.stdout, PAGE);
    assert!(text(&output.stderr).starts_with("HTTP/1.1 200 OK\n"));
    assert_eq!(place.names(), ["index.html", "page.txt"]);
    assert_ok(&place.fetch(&[&nginx.url("/empty")]));
    assert_eq!(place.content("empty"), b"");
}

#[test]
fn five_megabytes_byte_by_byte_plain_and_chunked() {
    // Every byte value, no period that a buffer size could hide in.
    let large: Vec<u8> = (0..5_000_000_u64)
        .map(|n| (n.wrapping_mul(6_364_136_223_846_793_005) >> 33).to_le_bytes()[0])
        .collect();
    let Some(nginx) = Nginx::start(&[("large.bin", &large)]) else { return };
    let place = Place::new();
    for (path, field, other) in [
        ("/large.bin", "Content-Length: 5000000", "Transfer-Encoding"),
        ("/chunked/large.bin", "Transfer-Encoding: chunked", "Content-Length"),
    ] {
        let output = place.fetch(&[&nginx.url(path), "-o", "saved"]);
        assert_ok(&output);
        let head = text(&output.stdout);
        assert!(head.contains(field) && !head.contains(other), "{head}");
        assert!(place.content("saved") == large, "{path}: the bytes differ");
        fs::remove_file(place.0.path().join("saved")).unwrap();
    }
}

#[test]
fn a_status_of_400_and_above_is_an_answer_unless_it_may_not_be() {
    let Some(nginx) = Nginx::start(&[]) else { return };
    let place = Place::new();
    let url = nginx.url("/none");
    let output = place.fetch(&[&url]);
    assert_ok(&output);
    assert!(text(&output.stdout).starts_with("HTTP/1.1 404 Not Found\n"));
    assert!(text(&place.content("none")).contains("404 Not Found"));

    fs::remove_file(place.0.path().join("none")).unwrap();
    let output = place.fetch(&[&url, "--fail"]);
    assert_eq!(output.status.code(), Some(1));
    let line = format!("welcomed: fetch {url}: the server answered 404 Not Found\n");
    assert_eq!(text(&output.stderr), line);
    assert!(text(&place.content("none")).contains("404 Not Found"), "the body is kept");
}

#[test]
fn redirects_are_shown_and_followed_only_on_request() {
    let Some(nginx) = Nginx::start(&[("page.txt", PAGE)]) else { return };
    let place = Place::new();
    let here = nginx.url("/page.txt");
    let there = format!("http://localhost:{}/page.txt", nginx.port);
    for (path, status, to) in [
        ("/to/relative", "302 Moved Temporarily", &here),
        ("/to/path", "307 Temporary Redirect", &here),
        ("/to/absolute", "301 Moved Permanently", &there),
    ] {
        let output = place.fetch(&[&nginx.url(path), "-o", "saved"]);
        assert_ok(&output);
        assert_eq!(text(&output.stderr), format!("{status} -> {to} (not followed)\n"));
        assert!(text(&output.stdout).starts_with(&format!("HTTP/1.1 {status}\n")));
        assert!(text(&place.content("saved")).contains(&status[..3]));

        let output = place.fetch(&[&nginx.url(path), "-o", "saved", "--location"]);
        assert_ok(&output);
        assert_eq!(text(&output.stderr), format!("{status} -> {to}\n"));
        assert!(text(&output.stdout).starts_with("HTTP/1.1 200 OK\n"));
        assert_eq!(place.content("saved"), PAGE);
    }
}

#[test]
fn ten_redirects_are_followed_and_no_more() {
    let Some(nginx) = Nginx::start(&[]) else { return };
    let place = Place::new();
    let output = place.fetch(&[&nginx.url("/hops/1111111111"), "-o", "saved", "--location"]);
    assert_ok(&output);
    assert_eq!(place.content("saved"), b"there");
    fs::remove_file(place.0.path().join("saved")).unwrap();

    for path in ["/hops/11111111111", "/loop"] {
        let stderr = place.failure(&[&nginx.url(path), "--location"]);
        assert!(stderr.contains("more than 10 redirects; the last one leads to http"), "{stderr}");
    }
}

#[test]
fn https_is_refused_by_name() {
    let Some(nginx) = Nginx::start(&[]) else { return };
    let place = Place::new();
    let stderr = place.failure(&[&nginx.url("/to/https"), "--location"]);
    let to = format!("https://localhost:{}/page.txt", nginx.port);
    let part = format!("the redirect to `{to}` cannot be followed: `https` is not supported");
    assert!(stderr.contains(&part), "{stderr}");
    // Not followed, it is an answer like any other.
    let output = place.fetch(&[&nginx.url("/to/https"), "-o", "-"]);
    assert_ok(&output);
    let note = format!("301 Moved Permanently -> {to} (not followed)\n");
    assert!(text(&output.stderr).starts_with(&note), "{}", text(&output.stderr));

    for (url, part) in [
        ("https://localhost/", "`https` is not supported"),
        ("localhost:80", "starts with `http://"),
        ("http://user:secret@localhost/", "a user name or password in a URL is refused"),
        ("http://localhost/\r\nX: y", "no control characters"),
    ] {
        let output = place.fetch(&[url]);
        assert_eq!(output.status.code(), Some(2), "{url}");
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
}

#[test]
fn the_request() {
    let answer = |mut stream: TcpStream| stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nold").unwrap();
    let (address, head) = serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), answer);
    let place = Place::new();
    let output = place.fetch(&[&format!("http://{address}/a b?c#d"), "-o", "saved"]);
    assert_ok(&output);
    let expected = format!(
        "GET /a%20b?c HTTP/1.1\r\nHost: {address}\r\nUser-Agent: welcomed/{}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(head.recv().unwrap(), expected);
    assert_eq!(place.content("saved"), b"old", "neither length nor chunks: to the stream's end");
}

#[test]
fn an_ipv6_address() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("SKIPPED: this machine has no IPv6 loopback");
        return;
    };
    let answer = |mut stream: TcpStream| stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nsix").unwrap();
    let (address, head) = serve_on(listener, answer);
    let place = Place::new();
    assert_ok(&place.fetch(&[&format!("http://{address}/")]));
    assert!(head.recv().unwrap().contains(&format!("\r\nHost: [::1]:{}\r\n", address.port())));
    assert_eq!(place.content("index.html"), b"six");
}

#[test]
fn what_the_head_says_decides_where_the_body_ends() {
    let place = Place::new();
    for (answer, body) in [
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
            "body",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody and more", "body"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n\
          4;x=y\r\nbody\r\n0\r\nT: x\r\n\r\n",
            "body",
        ),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\n\r\n", ""),
    ] {
        let output = place.fetch(&[&serve(answer), "-o", "saved"]);
        assert_ok(&output);
        assert_eq!(text(&place.content("saved")), body, "{answer}");
    }
}

#[test]
fn an_incomplete_answer_leaves_nothing_behind() {
    let place = Place::new();
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(70_000));
    for (answer, part) in [
        ("", "after 0 bytes, before a whole head"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n", "after 23 bytes, before a whole head"),
        ("Welcome!\n", "not HTTP/1.1"),
        (&long, "head is longer than 65536 bytes"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "`101 Switching Protocols`"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbody", "4 of 10 bytes"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody!", "both 4 and 5"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nbody", "`x` is not a number"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nbody", "`gzip` is not supported"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", "after 4 bytes"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbody", "not a hexadecimal number"),
    ] {
        let stderr = place.failure(&[&serve(answer)]);
        assert!(stderr.starts_with("welcomed: fetch http://127.0.0.1:"), "{stderr}");
        assert!(stderr.contains(part) && stderr.lines().count() == 1, "{part}: {stderr}");
    }
}

#[test]
fn a_failure_leaves_the_old_file_as_it_was() {
    let place = Place::new();
    fs::write(place.0.path().join("page"), "old").unwrap();
    let output = place.fetch(&[&serve("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nnew")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(place.names(), ["page"]);
    assert_eq!(place.content("page"), b"old");
}

#[test]
fn silence_ends_at_max_time() {
    let place = Place::new();
    for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\nsome of it"] {
        let (url, left) = serve_and_wait(answer);
        let started = Instant::now();
        let stderr = place.failure(&[&url, "--max-time", "300ms"]);
        assert!(started.elapsed() >= Duration::from_millis(300));
        assert_eq!(stderr, format!("welcomed: fetch {url}: not finished within 300ms\n"));
        left.recv_timeout(Duration::from_secs(30)).expect("the client closed");
    }
}

#[test]
fn a_body_beyond_max_size_is_refused() {
    let place = Place::new();
    let chunks = "400\r\n".to_owned() + &"a".repeat(1024) + "\r\n1\r\na\r\n0\r\n\r\n";
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let plain = format!("HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n{}", "a".repeat(1025));
    let open = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(1025));
    for (answer, announced) in [(&chunked, ""), (&open, ""), (&plain, ": it has 1025")] {
        let url = serve(answer.as_str());
        let stderr = place.failure(&[&url, "--max-size", "1KiB"]);
        let line = format!(
            "welcomed: fetch {url}: the body is larger than the limit of 1024 bytes{announced}\n"
        );
        assert_eq!(stderr, line);
    }
    let output = place.fetch(&[&serve(plain), "--max-size", "1025"]);
    assert_ok(&output);
}

#[test]
fn a_signal_removes_what_was_begun() {
    let place = Place::new();
    let (url, left) = serve_and_wait("HTTP/1.1 200 OK\r\n\r\nsome of it");
    let mut child =
        place.command(&[&url]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while place.names().is_empty() {
        assert!(Instant::now() < deadline, "the file was never begun");
        thread::sleep(Duration::from_millis(5));
    }
    assert_ne!(place.names(), ["page"], "under its own name only when whole");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.code(), Some(3), "{stderr}");
    assert_eq!(stderr, format!("welcomed: fetch {url}: interrupted\n"));
    assert_eq!(place.names(), Vec::<String>::new());
    left.recv_timeout(Duration::from_secs(30)).expect("the client closed");
}

#[test]
fn a_closed_port_is_named() {
    // Bound and not listening: nobody else can get it meanwhile.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let stderr = Place::new().failure(&[&format!("http://{address}/")]);
    let line =
        format!("welcomed: fetch http://{address}/: cannot connect to {address}: Connection");
    assert!(stderr.starts_with(&line), "{stderr}");
    // A name with two addresses names both, where it has two.
    let stderr = Place::new().failure(&[&format!("http://localhost:{}/", address.port())]);
    assert!(stderr.contains(&address.to_string()), "{stderr}");
}

#[test]
fn what_cannot_be_written_is_said() {
    let place = Place::new();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
    for (path, part) in [
        ("none/page", "cannot write `none/page`: entity not found"),
        (".", "cannot write `.`: is a directory"),
        ("/dev/full", "cannot write `/dev/full`: No space left on device"),
    ] {
        let stderr = place.failure(&[&serve(answer), "-o", path]);
        assert!(stderr.contains(part), "{stderr}");
    }
    assert_ok(&place.fetch(&[&serve(answer), "-o", "/dev/null"]));
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn escape_sequences_do_not_pass() {
    let place = Place::new();
    let answer = "HTTP/1.1 404 N\u{9b}2Jot\r\nX: a\u{9b}31mb\tc\r\n\r\n";
    let output = place.fetch(&[&serve(answer), "-o", "saved", "--fail"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(shown.contains("X: a31mb\tc\n"), "{shown:?}");
    assert!(!shown.contains('\u{9b}'), "{shown:?}");
}
