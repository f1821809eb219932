//! Subcommands whose output cannot be written: a full disk is an error that says so, a reader that
//! has gone is none.

use crate::support::{CleanEnv, Daemon};
use std::fs::File;
use std::process::{Command, Output, Stdio};

fn welcomed(arguments: &[&str], stdout: impl Into<Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
    command.args(arguments).clean_env().stdin(Stdio::null()).stdout(stdout).output().unwrap()
}

#[test]
fn a_full_disk_is_an_error_and_a_reader_that_has_gone_is_none() {
    let server = Daemon::serve(&["--framing", "line"]);
    let service = server.service.to_string();
    let page = format!("http://{}/metrics", server.metrics.unwrap());
    let short = ["--duration", "300ms", "--warmup", "10ms"];
    let bench = [&["bench", &service, "-c", "2"][..], &short].concat();
    let tune = [&["tune", "--sweep", "1", "-c", "2"][..], &short].concat();
    for arguments in [
        &["check"][..],
        &["man"],
        &["completions", "bash"],
        &["client", &service, "Ann"],
        &["fetch", "-o", "-", &page],
        &bench,
        &[&bench[..], &["--json", "-"]].concat(),
        &[&bench[..], &["--csv", "-"]].concat(),
        &tune,
        &[&tune[..], &["--json", "-"]].concat(),
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = welcomed(arguments, full);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        let complaint = "cannot write to standard output: No space left on device";
        let last = said.lines().last().unwrap();
        assert!(
            last.starts_with("welcomed: ") && last.contains(complaint),
            "{arguments:?}: {said}"
        );

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = welcomed(arguments, writer);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("cannot") && !said.contains("panicked"), "{arguments:?}: {said}");
    }
}
