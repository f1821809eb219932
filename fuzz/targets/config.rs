//! Configurations from arbitrary text: what is wrong is said in whole lines, and what loads is
//! written so that it loads again.
//!
//! Behind a byte 0x1e, which no file holds, stand environment variables, a line each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use welcomed::config::{File, KEYS, load};

const NAME: &str = "a.toml";
const PREFIX: &str = "WELCOMED_";

fuzz_target!(|input: &str| {
    let (text, variables) = input.split_once('\x1e').unwrap_or((input, ""));
    let variables = variables.lines().map(|line| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        (OsString::from(format!("{PREFIX}{name}")), OsString::from(value))
    });
    let settings = match load(Some(File { name: NAME, text }), variables, []) {
        Ok(settings) => settings,
        Err(error) => {
            let error = error.to_string();
            assert!(!error.is_empty());
            for line in error.split('\n') {
                // A line that begins otherwise is the rest of one that was broken.
                let place = line.starts_with(&format!("{NAME}:"))
                    || line.starts_with(PREFIX)
                    || KEYS
                        .iter()
                        .any(|key| line.starts_with(&format!("{} (default): ", key.path)));
                assert!(place, "{line:?}");
                assert!(!line.contains(char::is_control), "{line:?}");
            }
            return;
        }
    };
    for warning in settings.warnings() {
        assert!(!warning.contains(char::is_control), "{warning:?}");
    }
    let written = settings.to_toml();
    assert!(!written.contains(|it: char| it.is_control() && it != '\n'), "{written:?}");
    for text in [&written, &settings.values()] {
        let again = load(Some(File { name: NAME, text }), [], []);
        let again = again.unwrap_or_else(|error| panic!("{error} in {text}"));
        assert_eq!(again.values(), settings.values());
        assert_eq!(again.options(), settings.options());
        assert_eq!(again.listen, settings.listen);
        assert_eq!(again.metrics_listen, settings.metrics_listen);
        assert_eq!(again.metrics_allow, settings.metrics_allow);
    }
});
