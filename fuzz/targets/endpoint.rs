//! Request heads, as the engine would hand them to the side endpoint: whatever comes is answered
//! with one well-formed response.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prometheus::{IntCounter, Registry};
use std::sync::LazyLock;
use welcomed::endpoint::{Endpoint, Readiness};
use welcomed::service::{Context, Flow, Peer, Reply, Service};

const LIMIT: usize = 1 << 20;
const STATUSES: &[u16] = &[200, 304, 400, 403, 404, 405, 413, 417, 431, 503, 505];

/// The small answers are here too, so that it is the parser that takes the time.
static ENDPOINT: LazyLock<Endpoint> = LazyLock::new(|| {
    let registry = Registry::new();
    let counter = IntCounter::new("apples_total", "Apples.").unwrap();
    registry.register(Box::new(counter)).unwrap();
    let endpoint = Endpoint::new(registry, || Readiness::NotReady("draining".to_owned()));
    endpoint.with_page(Default::default, String::new())
});

fuzz_target!(|head: &[u8]| {
    let mut state = None;
    // Replies of the same turn stand before this one.
    let mut out = b"earlier".to_vec();
    let mut context = Context::new(1, Peer::Unix, false, &mut state);
    let mut reply = Reply::new(&mut out, LIMIT);
    let flow = ENDPOINT.call(&mut context, head, &mut reply).unwrap();
    assert!(!reply.overflowed());
    let answer = out.strip_prefix(b"earlier").unwrap();

    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let body = &answer[response.parse(answer).unwrap().unwrap()..];
    let status = response.code.unwrap();
    assert!(STATUSES.contains(&status), "{status}");
    let values = |name: &str| -> Vec<&str> {
        let named = response.headers.iter().filter(|it| it.name.eq_ignore_ascii_case(name));
        named.map(|it| std::str::from_utf8(it.value).unwrap()).collect()
    };
    for name in ["Server", "Cache-Control", "Content-Security-Policy", "X-Content-Type-Options"] {
        assert_eq!(values(name).len(), 1, "{name} of a {status}");
    }
    assert!(values("Transfer-Encoding").is_empty());
    // An error is the end, and the version says so.
    assert_eq!(flow == Flow::Continue, response.version == Some(1));
    assert!(status < 400 || flow == Flow::Close);
    assert_eq!(values("Allow").is_empty(), status != 405);

    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(head);
    // RFC 9110, sections 8.6 and 9.3.2: what is not sent is announced as it would be.
    let without_body = status == 304 || request.method == Some("HEAD");
    assert!(!without_body || body.is_empty(), "{status} with {} bytes", body.len());
    match values("Content-Length")[..] {
        [length] if without_body => assert!(length.parse::<usize>().is_ok()),
        [length] => assert_eq!(length.parse(), Ok(body.len())),
        [] => assert_eq!(status, 304),
        _ => panic!("more than one Content-Length"),
    }

    // What is taken for good is what another reader of HTTP takes for good.
    if status < 400 {
        assert_eq!(parsed, Ok(httparse::Status::Complete(head.len())));
        assert!(matches!(request.method, Some("GET" | "HEAD")));
        // No byte behind it can be a body to anybody else's eyes.
        for header in request.headers.iter() {
            assert!(!header.name.eq_ignore_ascii_case("Transfer-Encoding"));
            let is_length = header.name.eq_ignore_ascii_case("Content-Length");
            assert!(!is_length || header.value.iter().all(|digit| *digit == b'0'));
        }
    }
});
