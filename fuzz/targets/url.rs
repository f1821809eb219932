//! URLs and redirects from arbitrary bytes: what is taken makes one request line, one `Host`
//! field and a file name that stays in its folder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use welcomed::fetch::Url;

fuzz_target!(|data: &[u8]| {
    let (text, location) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, data),
    };
    let base = std::str::from_utf8(text).ok().and_then(check);
    let base = base.unwrap_or_else(|| "http://host.example:81/a/b?c".parse().unwrap());
    if let Ok(to) = base.resolve(location) {
        assert!(to.is_ascii() && !to.contains(|it: char| it.is_ascii_control() || it == ' '));
        check(&to);
    }
});

fn check(text: &str) -> Option<Url> {
    let url = match text.parse::<Url>() {
        Ok(url) => url,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error}");
            return None;
        }
    };
    assert_eq!(url.to_string().parse().as_ref(), Ok(&url));
    assert_ne!(url.port(), 0);
    assert!(url.target().starts_with('/'), "{}", url.target());
    assert!(!url.host().is_empty() && !url.host().contains(['/', '?', '#', '@', '%']));
    for part in [url.target(), &url.host_field(), url.host()] {
        assert!(part.bytes().all(|byte| byte.is_ascii_graphic()), "{part}");
    }
    assert!(!url.target().contains('#'));
    let name = url.file_name();
    assert!(!name.is_empty() && name != "." && name != "..", "{name}");
    assert!(!name.contains(|it: char| it == '/' || it.is_control()), "{name}");
    Some(url)
}
