//! What a reader copies first: each file in `examples/` is run, and the README's Rust is the
//! crate's own, which the documentation's tests compile.

use crate::faults::base::example;
use crate::support::{PATIENCE, eventually};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn connect(path: &Path) -> BufReader<UnixStream> {
    let socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(socket)
}

/// On sockets in a folder of the test's own, as its ports are fixed.
#[test]
fn uppercase_answers_in_capitals_and_counts_it() {
    let folder = tempfile::tempdir().unwrap();
    let [service, metrics] = ["service", "metrics"].map(|name| folder.path().join(name));
    let mut command = Command::new(example("uppercase"));
    command.args([&service, &metrics].map(|path| format!("unix:{}", path.display())));
    let mut running = Running(command.spawn().unwrap());
    eventually("the example listens", || {
        assert_eq!(running.0.try_wait().unwrap(), None, "it has ended");
        UnixStream::connect(&metrics).is_ok()
    });
    let mut client = connect(&service);
    client.get_mut().write_all(b"one\ntwo\n").unwrap();
    for answer in ["ONE\n", "TWO\n"] {
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        assert_eq!(line, answer);
    }
    // A worker's counts are there when its turn is over, which is after the reply.
    eventually("both are counted", || {
        let mut scrape = connect(&metrics);
        let request = b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        scrape.get_mut().write_all(request).unwrap();
        let mut page = String::new();
        scrape.read_to_string(&mut page).unwrap();
        page.contains("\nwelcomed_messages_total 2\n")
    });
}

#[test]
fn every_example_is_run_by_a_test() {
    let tests = ["it/examples.rs", "it/faults/base.rs"]
        .map(|name| fs::read_to_string(Path::new(ROOT).join("tests").join(name)).unwrap())
        .concat();
    for entry in fs::read_dir(Path::new(ROOT).join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let run = format!("example(\"{}\")", path.file_stem().unwrap().display());
        assert!(tests.contains(&run), "no test runs {}", path.display());
    }
}

/// Line by line, in the same order; what the documentation hides, the README leaves out.
#[test]
fn the_rust_in_the_readme_is_compiled() {
    let [readme, library] = ["README.md", "src/lib.rs"]
        .map(|name| fs::read_to_string(Path::new(ROOT).join(name)).unwrap());
    let mut compiled = library.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim);
    let mut lines = 0;
    for block in readme.split("```rust\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            assert!(compiled.any(|it| it == line.trim()), "src/lib.rs does not have: {line}");
            lines += 1;
        }
    }
    assert!(lines > 10, "the README's Rust is found");
}
