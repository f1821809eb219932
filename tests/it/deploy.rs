//! What is in `deploy/`, before the programs that read it.

use std::env;
use std::io::{self, ErrorKind};

/// What came of calling `program`; nothing if there is none here, which CI does not allow.
pub fn installed<T>(program: &str, outcome: io::Result<T>) -> Option<T> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(env::var("CI").as_deref() != Ok("true"), "CI has to have {program}");
            eprintln!("skipped: no {program} here; scripts/install-test-packages installs it");
            None
        }
        outcome => Some(outcome.unwrap()),
    }
}
