//! `welcomed fetch` against a real nginx, and against servers that no nginx would be.

use crate::nginx::Nginx;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use tempfile::TempDir;

/// A folder to fetch into, and what came of a fetch.
struct Fetch {
    folder: TempDir,
    output: Output,
}

impl Fetch {
    fn run(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_welcomed"))
            .arg("fetch")
            .args(arguments)
            .env_clear()
            .current_dir(folder.path())
            .output()
            .unwrap();
        Self { folder, output }
    }

    #[track_caller]
    fn code(&self, code: i32) -> &Self {
        assert_eq!(self.output.status.code(), Some(code), "{}", self.stderr());
        self
    }

    fn head(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// It failed with one line that says this, and left nothing behind.
    #[track_caller]
    fn failed(&self, reason: &str) {
        self.code(1);
        let said = self.stderr();
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("welcomed: ") && last.contains(reason), "{said}");
        assert_eq!(self.files(), [""; 0], "it left something behind");
    }
}

/// Answers one client with these bytes, whatever it asks, then waits for its end.
fn server(answer: impl Into<Vec<u8>>) -> String {
    serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), answer.into(), false)
}

/// As `server`, but the stream does not end before the client does.
fn silent_server(answer: &str) -> String {
    serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), answer.into(), true)
}

fn serve_on(listener: TcpListener, answer: Vec<u8>, holds: bool) -> String {
    let address: SocketAddr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        // The client may go when it has seen enough.
        socket.write_all(&answer).ok();
        if !holds {
            socket.shutdown(std::net::Shutdown::Write).ok();
        }
        socket.read_to_end(&mut Vec::new()).ok();
    });
    format!("http://{address}/page")
}

#[test]
fn a_page_of_nginx_plain_and_chunked() {
    let Some(nginx) = Nginx::start() else { return };
    let page = b"<h1>Michael, Tracy, Sarah</h1>\n".repeat(100);
    nginx.put("page.html", &page);
    let plain = Fetch::run(&[&nginx.url("/page.html")]);
    plain.code(0);
    assert!(plain.head().starts_with("HTTP/1.1 200 OK\n"), "{}", plain.head());
    assert!(plain.head().contains(&format!("Content-Length: {}\n", page.len())));
    assert_eq!((plain.files(), plain.file("page.html")), (vec!["page.html".into()], page.clone()));

    let chunked = Fetch::run(&[&nginx.url("/chunked/page.html"), "-o", "other"]);
    chunked.code(0);
    assert!(chunked.head().contains("Transfer-Encoding: chunked\n"), "{}", chunked.head());
    assert_eq!((chunked.files(), chunked.file("other")), (vec!["other".into()], page));
}

#[test]
fn five_megabytes_come_whole_and_without_a_name_it_is_the_index() {
    let Some(nginx) = Nginx::start() else { return };
    let large: Vec<u8> =
        (0..5_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    nginx.put("index.html", &large);
    for path in ["/", "/chunked/"] {
        let fetch = Fetch::run(&[&nginx.url(path)]);
        fetch.code(0);
        assert!(fetch.file("index.html") == large, "{path}: the bytes differ");
        let mode = fs::metadata(fetch.folder.path().join("index.html")).unwrap().permissions();
        let usual = fetch.folder.path().join("usual");
        fs::write(&usual, "").unwrap();
        let usual = fs::metadata(usual).unwrap().permissions();
        assert_eq!(mode.mode(), usual.mode(), "a new file's usual rights");
    }
}

#[test]
fn a_status_of_400_and_above_is_a_whole_answer_unless_told_otherwise() {
    let Some(nginx) = Nginx::start() else { return };
    let kept = Fetch::run(&[&nginx.url("/nothing")]);
    kept.code(0);
    assert!(kept.head().starts_with("HTTP/1.1 404"));
    let failed = Fetch::run(&[&nginx.url("/nothing"), "--fail"]);
    failed.code(1);
    assert!(failed.stderr().contains("the status is 404"), "{}", failed.stderr());
    assert_eq!(failed.file("nothing"), kept.file("nothing"));
    assert!(!kept.file("nothing").is_empty());
    let empty = Fetch::run(&[&nginx.url("/empty")]);
    empty.code(0);
    assert_eq!(empty.file("empty"), b"");
}

#[test]
fn a_redirect_is_shown_and_followed_when_told_so() {
    let Some(nginx) = Nginx::start() else { return };
    nginx.put("page.html", b"the page\n");
    let shown = Fetch::run(&[&nginx.url("/relative")]);
    shown.code(0);
    assert!(shown.head().starts_with("HTTP/1.1 302"));
    assert!(shown.stderr().contains("redirected to /page.html (--location follows"));
    let followed = Fetch::run(&[&nginx.url("/absolute"), "--location"]);
    followed.code(0);
    assert_eq!(followed.head().matches("HTTP/1.1").count(), 3, "{}", followed.head());
    assert_eq!(followed.file("absolute"), b"the page\n");
    Fetch::run(&[&nginx.url("/loop"), "--location"]).failed("redirected more than 10 times");
    Fetch::run(&[&nginx.url("/secure"), "--location"]).failed("https is not supported yet");
}

#[test]
fn with_a_dash_the_body_is_standard_output_and_the_head_standard_error() {
    let url = server("HTTP/1.0 200 Fine\r\nX: y\r\n\r\nthe body");
    let fetch = Fetch::run(&[&url, "-o", "-"]);
    fetch.code(0);
    assert_eq!(fetch.head(), "the body");
    assert_eq!(fetch.stderr(), "HTTP/1.0 200 Fine\nX: y\n\n");
    assert!(fetch.files().is_empty());
}

#[test]
fn an_answer_that_is_not_whole_leaves_nothing_behind() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: ";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        (format!("{length}10\r\n\r\nshort"), "5 bytes of the 10 that it announced"),
        (format!("{length}10\r\nContent-Length: 11\r\n\r\n"), "two different Content-Lengths"),
        (format!("{length}-1\r\n\r\n"), "its Content-Length is `-1`"),
        (format!("{chunked}5\r\nabc"), "before its last chunk"),
        (format!("{chunked}zz\r\n"), "`zz` is not the size of a chunk"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n".into(), "transfer coding is `gzip`"),
        ("HTTP/1.1 200 OK\r\nX: y".into(), "before its head was whole"),
        ("SSH-2.0-OpenSSH\r\n".into(), "it is no HTTP"),
        (format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(100_000)), "its head is longer than"),
    ];
    for (answer, reason) in cases {
        Fetch::run(&[&server(answer)]).failed(reason);
    }
}

#[test]
fn chunks_win_over_a_length_and_interim_answers_are_passed_over() {
    let url = server(
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\
         Transfer-Encoding: chunked\r\n\r\n6\r\nwhole!\r\n0\r\n\r\n",
    );
    let fetch = Fetch::run(&[&url]);
    fetch.code(0);
    assert_eq!(fetch.file("page"), b"whole!");
}

#[test]
fn time_and_size_have_their_bounds() {
    let silent = silent_server("");
    Fetch::run(&[&silent, "--max-time", "200ms"]).failed("not done after 200ms");
    let half = silent_server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    Fetch::run(&[&half, "--max-time", "200ms"]).failed("not done after 200ms");
    let announced = server("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n");
    let too_long = "the body is longer than 1024 bytes";
    Fetch::run(&[&announced, "--max-size", "1KiB"]).failed(too_long);
    let endless = server(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(2000)));
    Fetch::run(&[&endless, "--max-size", "1KiB"]).failed(too_long);
    let just = server(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1024)));
    Fetch::run(&[&just, "--max-size", "1KiB"]).code(0);
}

#[test]
fn a_closed_port_is_one_line_with_the_address() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let fetch = Fetch::run(&[&format!("http://{address}/")]);
    fetch.failed(&format!("cannot connect to {address}: Connection refused"));
}

#[test]
fn an_ipv6_address_is_fetched_from() {
    // A machine without IPv6 has nothing to listen on there.
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("skipped: there is no IPv6 here");
        return;
    };
    let url = serve_on(listener, b"HTTP/1.1 200 OK\r\n\r\nsix".to_vec(), false);
    let fetch = Fetch::run(&[&url]);
    fetch.code(0);
    assert_eq!(fetch.file("page"), b"six");
}

#[test]
fn what_cannot_be_fetched_is_a_wrong_argument() {
    for (url, reason) in [
        ("https://127.0.0.1/", "https is not supported yet"),
        ("127.0.0.1:80", "is not a URL"),
        ("ftp://127.0.0.1/", "begins with `http://`"),
    ] {
        let fetch = Fetch::run(&[url]);
        fetch.code(2);
        assert!(fetch.stderr().contains(reason), "{}", fetch.stderr());
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_anything_is_asked() {
    let fetch = Fetch::run(&["http://127.0.0.1:1/", "-o", "no/such/folder/file"]);
    fetch.failed("cannot write `no/such/folder/file`");
    assert!(!Path::new("no").exists());
}
