//! The side endpoint, head in, answer out: no socket is needed for what HTTP says.

use super::{Endpoint, Readiness};
use crate::service::{Context, Flow, Peer, Refusal, Reply, Service};
use prometheus::{IntCounter, Registry};

/// An answer as a client would read it, with nothing left over.
struct Read {
    minor_version: u8,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Read {
    fn new(bytes: &[u8]) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let length = response.parse(bytes).unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = response.headers.iter();
        Self {
            minor_version: response.version.unwrap(),
            status: response.code.unwrap(),
            headers: headers.map(|header| (header.name.to_owned(), text(header.value))).collect(),
            body: text(&bytes[length..]),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = named.next().map(|(_, value)| value.as_str());
        assert!(named.next().is_none(), "more than one {name}");
        value
    }

    /// What holds for every answer.
    fn check(&self) {
        assert_eq!(self.header("Content-Security-Policy"), Some("default-src 'none'"));
        assert_eq!(self.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(self.header("Cache-Control"), Some("no-store"));
        let server = concat!("welcomed/", env!("CARGO_PKG_VERSION"));
        assert_eq!(self.header("Server"), Some(server));
        assert!(self.header("Content-Type").is_some());
        assert_eq!(self.header("Transfer-Encoding"), None);
        assert!(self.header("Content-Length").is_some());
    }

    fn length(&self) -> usize {
        self.header("Content-Length").unwrap().parse().unwrap()
    }
}

fn endpoint_with(readiness: Readiness) -> Endpoint {
    let registry = Registry::new();
    let apples = IntCounter::new("apples_total", "Apples.").unwrap();
    apples.inc_by(3);
    registry.register(Box::new(apples)).unwrap();
    Endpoint::new(registry, move || readiness.clone())
}

fn ask_while(endpoint: &Endpoint, stopping: bool, head: &[u8]) -> (Flow, Read) {
    let mut state = None;
    let mut out = Vec::new();
    let peer = Peer::Tcp("127.0.0.1:4444".parse().unwrap());
    let mut context = Context::new(1, peer, stopping, &mut state);
    let flow = endpoint.call(&mut context, head, &mut Reply::new(&mut out, 1 << 20)).unwrap();
    assert!(out.capacity() < 1 << 20, "{} bytes for one answer", out.capacity());
    let answer = Read::new(&out);
    answer.check();
    // The version is all that tells the client what happens next.
    assert_eq!(answer.minor_version == 1, flow == Flow::Continue);
    (flow, answer)
}

fn ask(head: impl AsRef<[u8]>) -> (Flow, Read) {
    ask_while(&endpoint_with(Readiness::Ready), false, head.as_ref())
}

#[test]
fn pages_are_answered_and_the_connection_stays() {
    let plain = "text/plain; charset=utf-8";
    for (path, content_type, body) in [
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "\napples_total 3\n"),
        ("/metrics?name[]=apples_total", "text/plain; version=0.0.4; charset=utf-8", " 3\n"),
        ("http://example.com:9180/metrics", "text/plain; version=0.0.4; charset=utf-8", " 3\n"),
        ("HTTP://[::1]/healthz?x=/y", plain, "ok\n"),
        ("/healthz", plain, "ok\n"),
        ("/-/healthy", plain, "ok\n"),
        ("/livez", plain, "ok\n"),
        ("/readyz", plain, "ok\n"),
        ("/-/ready", plain, "ok\n"),
        ("/readyz?verbose", plain, "ok\n"),
        ("/", "text/html; charset=utf-8", "<a href=\"/metrics\">"),
        ("/?", "text/html; charset=utf-8", "<a href=\"/readyz\">"),
        ("http://example.com", "text/html; charset=utf-8", "<a href=\"/healthz\">"),
        ("http://example.com?a/b", "text/html; charset=utf-8", "<a href=\"/\">"),
    ] {
        let (flow, get) = ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!((get.status, flow), (200, Flow::Continue), "{path}");
        assert_eq!(get.header("Content-Type"), Some(content_type), "{path}");
        assert!(get.body.contains(body), "{path}: {}", get.body);
        assert_eq!(get.body.len(), get.length(), "{path}");
        assert!(get.header("Date").unwrap().ends_with(" GMT"), "{path}");

        let (flow, head) = ask(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!((head.status, flow), (200, Flow::Continue), "{path}");
        assert_eq!(head.header("Content-Type"), Some(content_type), "{path}");
        assert_eq!((head.body.as_str(), head.length()), ("", get.length()), "{path}");
    }
}

#[test]
fn an_endpoint_of_ones_own_registry_observes_no_server() {
    let (_, answer) = ask("GET /status HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body.trim(), "This endpoint observes no server.");
}

#[test]
fn the_client_decides_how_long_the_connection_stays() {
    for (rest, expected) in [
        ("HTTP/1.1\r\nHost: x\r\n\r\n", Flow::Continue),
        ("HTTP/1.1\nHost: x\n\n", Flow::Continue),
        ("HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", Flow::Continue),
        ("HTTP/1.1\r\nHost: x\r\nConnection: closed, x-close\r\n\r\n", Flow::Continue),
        ("HTTP/1.1\r\nHost: x\r\nconnection: Close\r\n\r\n", Flow::Close),
        ("HTTP/1.1\r\nHost: x\r\nConnection: upgrade , close\r\n\r\n", Flow::Close),
        ("HTTP/1.1\r\nHost: x\r\nConnection: a\r\nConnection: close\r\n\r\n", Flow::Close),
        ("HTTP/1.0\r\n\r\n", Flow::Close),
        ("HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", Flow::Close),
    ] {
        let (flow, answer) = ask(format!("GET /healthz {rest}"));
        assert_eq!((answer.status, flow), (200, expected), "{rest:?}");
        assert_eq!(answer.body, "ok\n");
    }
    let endpoint = endpoint_with(Readiness::Ready);
    let (flow, answer) = ask_while(&endpoint, true, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((answer.status, flow), (200, Flow::Close), "while the endpoint stops");
}

/// Head, status, and what the answer says.
const NOT_SERVED: &[(&str, u16, &str)] = &[
    // Not a page, not a method.
    ("GET /metric HTTP/1.1\r\nHost: x\r\n\r\n", 404, "\n/metrics "),
    ("GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, "\n/readyz "),
    ("GET /%6Detrics HTTP/1.1\r\nHost: x\r\n\r\n", 404, "no such page"),
    ("GET /../metrics HTTP/1.0\r\n\r\n", 404, "no such page"),
    ("POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET and HEAD"),
    ("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, "GET and HEAD"),
    ("get /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET and HEAD"),
    ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET and HEAD"),
    ("CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET and HEAD"),
    // Bodies.
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", 413, "No request body"),
    ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000000\r\n\r\n", 413, "body"),
    ("GET / HTTP/1.0\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413, "body"),
    ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 413, "body"),
    ("PUT / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: \x0b\r\n\r\n", 400, "header value"),
    (
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "Both",
    ),
    (
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        400,
        "More than one Content-Length",
    ),
    ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 0\r\n\r\n", 400, "not a number"),
    ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", 400, "not a number"),
    ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "not a number"),
    ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\n", 400, "not a number"),
    ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", 400, "is empty"),
    ("GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", 417, "Expectations"),
    // Hosts.
    ("GET / HTTP/1.1\r\n\r\n", 400, "Host header is missing"),
    ("GET http://x/ HTTP/1.1\r\n\r\n", 400, "Host header is missing"),
    ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400, "More than one Host"),
    ("GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400, "not a host"),
    ("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400, "not a host"),
    // Targets.
    ("GET metrics HTTP/1.1\r\nHost: x\r\n\r\n", 400, "target"),
    ("GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, "target"),
    ("GET ftp://x/metrics HTTP/1.1\r\nHost: x\r\n\r\n", 400, "target"),
    ("GET http:///metrics HTTP/1.1\r\nHost: x\r\n\r\n", 400, "target"),
    ("GET aaaaaa\u{e9}x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "target"),
    // Malformed.
    ("GET / HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n", 400, "header name"),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\n\tfolded\r\n\r\n", 400, "header name"),
    ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400, "header name"),
    ("GET / HTTP/1.1\r\nHost x\r\n\r\n", 400, "header name"),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400, "header value"),
    ("GET / HTTP/1.1\r\nHost: x\rA: 1\r\n\r\n", 400, "header value"),
    ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "Malformed"),
    ("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400, "Malformed"),
    ("GET /\r\n\r\n", 400, "Malformed"),
    ("GET\r\n\r\n", 400, "Malformed"),
    ("\r\n\r\n", 400, "does not end"),
    ("\x16\x03\x01\x02\x00\x01\n\n", 400, "Malformed"),
    ("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400, "does not end"),
    // Versions.
    ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, "HTTP/1.1"),
    ("PRI * HTTP/2.0\r\n\r\n", 505, "HTTP/1.1"),
    ("GET / HTTP/3.0\n\n", 505, "HTTP/1.1"),
    ("\r\nGET / HTTP/0.9\r\n\r\n", 505, "HTTP/1.1"),
    ("GET / HTTP/x.1\r\nHost: x\r\n\r\n", 400, "version"),
    ("GET / HTTP/1\r\nHost: x\r\n\r\n", 400, "version"),
    ("GET / http/1.1\r\nHost: x\r\n\r\n", 400, "version"),
    ("GET / SIP/2.0\r\nHost: x\r\n\r\n", 400, "version"),
];

#[track_caller]
fn is_answered_and_closed(head: &str, status: u16, says: &str) {
    let (flow, answer) = ask(head);
    assert_eq!((answer.status, flow), (status, Flow::Close), "{head:?}: {}", answer.body);
    assert!(answer.body.contains(says), "{head:?}: {}", answer.body);
    assert_eq!(answer.body.len(), answer.length(), "{head:?}");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"), "{head:?}");
    assert_eq!(answer.header("Allow"), (status == 405).then_some("GET, HEAD"), "{head:?}");
}

#[test]
fn what_is_not_served_is_answered_and_closed() {
    for (head, status, says) in NOT_SERVED {
        is_answered_and_closed(head, *status, says);
    }
}

#[test]
fn headers_are_bounded_in_number_and_a_length_is_not_in_digits() {
    let with = |lines: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    is_answered_and_closed(&with(&"a: b\r\n".repeat(64)), 431, "More than 64 headers");
    let length = format!("Content-Length: {}7\r\n", "0".repeat(1000));
    is_answered_and_closed(&with(&length), 413, "No request body");
    assert_eq!(ask(with(&"a: b\r\n".repeat(63))).1.status, 200);
}

#[test]
fn even_a_malformed_head_request_is_answered_without_a_body() {
    for rest in [
        "/ HTTP/1.1\r\nHost : x\r\n\r\n",
        "/ HTTP/2.0\r\n\r\n",
        &format!("/ HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(64)),
    ] {
        let (_, get) = ask(format!("GET {rest}"));
        let (flow, head) = ask(format!("HEAD {rest}"));
        assert_eq!((head.status, flow), (get.status, Flow::Close), "{rest:?}");
        assert_eq!((head.body.as_str(), head.length()), ("", get.length()), "{rest:?}");
    }
}

#[test]
fn small_liberties_are_taken_as_the_standard_has_them() {
    for head in [
        "\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHOST:  [::1]:9180 \r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 00\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nTE: trailers, chunked\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nAccept: text/plain\r\n\r\n",
        // An expectation in HTTP/1.0 must be ignored.
        "GET /healthz HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let (_, answer) = ask(head);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "{head:?}");
    }
}

#[test]
fn an_answer_to_head_has_no_body_when_it_is_an_error_too() {
    for (head, status) in [
        ("HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", 413),
    ] {
        let (flow, answer) = ask(head);
        assert_eq!((answer.status, flow), (status, Flow::Close), "{head:?}");
        assert_eq!(answer.body, "", "{head:?}");
        assert!(answer.length() > 0, "{head:?}");
    }
}

#[test]
fn readiness_says_why_not_and_health_does_not_care() {
    let endpoint = endpoint_with(Readiness::NotReady("draining".to_owned()));
    for (path, status, body) in [
        ("/readyz", 503, "not ready: draining\n"),
        ("/-/ready", 503, "not ready: draining\n"),
        ("/healthz", 200, "ok\n"),
        ("/livez", 200, "ok\n"),
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let (_, answer) = ask_while(&endpoint, false, head.as_bytes());
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{path}");
    }
}

#[test]
fn a_long_answer_is_sent_whole() {
    let registry = Registry::new();
    for number in 0..1000 {
        let name = format!("apples_{number}_total");
        registry.register(Box::new(IntCounter::new(name, "Apples.").unwrap())).unwrap();
    }
    let endpoint = Endpoint::new(registry, || Readiness::Ready);
    let head = b"GET /metrics HTTP/1.1\r\nHost: x\r\nTE: chunked\r\n\r\n";
    let (_, answer) = ask_while(&endpoint, false, head);
    assert!(answer.length() > 1 << 16, "{}", answer.length());
    assert_eq!(answer.body.len(), answer.length());
    // One that does not fit is an error, which the engine answers.
    let (mut state, mut out) = (None, Vec::new());
    let mut context = Context::new(1, Peer::Unix, false, &mut state);
    let mut reply = Reply::new(&mut out, 1 << 16);
    assert!(endpoint.call(&mut context, head, &mut reply).is_err());
    assert!(reply.overflowed());
}

#[test]
fn the_engines_refusals_are_http_too() {
    let endpoint = endpoint_with(Readiness::Ready);
    for (refusal, status, says) in [
        (Refusal::Busy, 503, "Busy, try again later.\n"),
        (Refusal::TooLong { limit: 8192 }, 431, "The request's head is longer than 8192 bytes.\n"),
        (Refusal::Internal, 500, "Internal error.\n"),
    ] {
        let mut out = Vec::new();
        endpoint.refuse(refusal, &mut Reply::new(&mut out, 4096));
        let answer = Read::new(&out);
        answer.check();
        assert_eq!((answer.status, answer.minor_version), (status, 0));
        assert_eq!((answer.body.as_str(), answer.length()), (says, says.len()));
        // Said once, kept for years: no date in it.
        let is_kept = refusal == Refusal::Busy;
        assert_eq!(answer.header("Retry-After"), is_kept.then_some("1"));
        assert_eq!(answer.header("Date").is_none(), is_kept);
    }
}
