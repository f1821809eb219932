//! What is in `deploy/`, before the programs that read it, and against our own defaults.

use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;
use welcomed::config::KEYS;

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

fn unit(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// What a unit sets `key` to.
fn value(unit: &str, key: &str) -> String {
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("{key} is set"));
    assert_eq!(values.next(), None, "{key} is set once");
    value.to_owned()
}

fn default(path: &str) -> String {
    KEYS.iter().find(|key| key.path == path).unwrap().default_text()
}

/// The units in a folder of their own, with the program where it is.
fn installed_units() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["welcomed.service", "welcomed.socket"] {
        let text = unit(name).replace("/usr/bin/welcomed", env!("CARGO_BIN_EXE_welcomed"));
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn analyze(arguments: &[&str], folder: &TempDir) -> Option<Output> {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).current_dir(folder.path()).output();
    installed("systemd-analyze", output)
}

#[test]
fn systemd_understands_the_units() {
    let units = ["verify", "--man=no", "./welcomed.service", "./welcomed.socket"];
    let Some(output) = analyze(&units, &installed_units()) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_service_is_exposed_to_little() {
    // Ten times the exposure level: 1.5.
    let limit = ["security", "--offline=true", "--no-pager", "--threshold=15"];
    let folder = installed_units();
    let Some(output) = analyze(&[&limit[..], &["./welcomed.service"]].concat(), &folder) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("Overall exposure level"), "{output:?}");
    // That it looks, and at this unit: an open one does not pass.
    fs::write(folder.path().join("welcomed.service"), "[Service]\nExecStart=/bin/true\n").unwrap();
    let open = analyze(&[&limit[..], &["./welcomed.service"]].concat(), &folder).unwrap();
    assert!(!open.status.success(), "{open:?}");
}

#[test]
fn the_units_agree_with_the_defaults() {
    let (service, socket) = (unit("welcomed.service"), unit("welcomed.socket"));
    assert_eq!(value(&socket, "ListenStream"), default("server.listen"));
    assert_eq!(value(&socket, "Backlog"), default("server.backlog"));
    let files: usize = value(&service, "LimitNOFILE").parse().unwrap();
    let clients: usize = default("limits.max_connections").parse().unwrap();
    assert!(files > clients, "{files} files for {clients} clients");
    let stop = humantime::parse_duration(&value(&service, "TimeoutStopSec")).unwrap();
    let drain = welcomed::server::Options::default().drain_timeout;
    assert!(stop > drain, "{stop:?} for a drain of {drain:?}");
    // Our exit codes; `EXIT STATUS` of the manual says what they mean.
    assert_eq!(value(&service, "RestartPreventExitStatus"), "2 3");
}
