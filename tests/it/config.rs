//! The configuration through the real program: `welcomed check` and the files that we ship.

use crate::support::CleanEnv;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// `welcomed check` with no variable in its environment.
fn check() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
    command.arg("check").clean_env().current_dir(ROOT);
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What a check that must succeed prints, and what it says on standard error.
fn accepted(command: &mut Command) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{status}: {}", text(&stderr));
    (text(&stdout).to_owned(), text(&stderr).to_owned())
}

/// What a check that must fail says.
fn refused(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(status.code(), Some(2), "{}", text(&stderr));
    assert_eq!(text(&stdout), "", "a refused configuration is not shown");
    text(&stderr).to_owned()
}

/// The settings without the comments that say where they came from.
fn values(shown: &str) -> Vec<&str> {
    shown.lines().map(|line| line.split_once("  # ").map_or(line, |(value, _)| value)).collect()
}

#[test]
fn every_mistake_has_its_message() {
    let folder = Path::new(ROOT).join("tests/it/bad_config");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() == Some(OsStr::new("toml")))
        .collect();
    files.sort();
    assert!(files.len() >= 40, "only {} files in {}", files.len(), folder.display());
    let mut wrong = String::new();
    for file in files {
        let name = file.file_name().unwrap();
        let expected = fs::read_to_string(file.with_extension("txt")).unwrap_or_default();
        let found = refused(check().arg("--config").arg(name).current_dir(&folder));
        if found != expected {
            wrong += &format!("\n{}\nexpected: {expected}\n   found: {found}", name.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_production_file_is_the_defaults() {
    let (defaults, _) = accepted(&mut check());
    let (shown, warnings) = accepted(check().args(["--config", "config/welcomed.toml"]));
    assert_eq!(values(&shown), values(&defaults));
    assert_eq!(warnings, "");
    // Every setting stands in the file, so every one of them comes from it.
    for line in shown.lines().filter(|line| line.contains(" = ")) {
        assert!(line.contains("  # config/welcomed.toml:"), "not in the file: {line}");
    }
}

#[test]
fn the_tutorials_file_is_the_tutorials_server() {
    let (shown, warnings) = accepted(check().args(["--config", "config/tutorial.toml"]));
    let shown = values(&shown);
    for expected in [
        r#"listen = ["127.0.0.1:9999"]"#,
        r#"kind = "hello""#,
        r#"framing = "raw""#,
        r#"max_message = "1KiB""#,
        r#"work_delay = "1s""#,
        r#"format = "plain""#,
        r#"connections = "info""#,
        r#"level = "info""#,
    ] {
        assert!(shown.contains(&expected), "{expected} is not in {shown:#?}");
    }
    assert_eq!(warnings, "");
}

#[test]
fn flags_override_the_environment_and_that_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.toml"), "[pool]\nworkers = 1\n[log]\nlevel = 'warn'").unwrap();
    let mut command = check();
    command.current_dir(&folder).args(["--config", "a.toml"]);
    let (shown, _) = accepted(&mut command);
    assert!(shown.contains("\nworkers = 1  # a.toml:2\n"), "{shown}");
    let (shown, _) = accepted(command.env("WELCOMED_POOL_WORKERS", "2"));
    assert!(shown.contains("\nworkers = 2  # WELCOMED_POOL_WORKERS\n"), "{shown}");
    let (shown, _) = accepted(command.args(["--workers", "3"]));
    assert!(shown.contains("\nworkers = 3  # --workers\n"), "{shown}");
    assert!(shown.contains("\nlevel = \"warn\"  # a.toml:4\n"), "{shown}");
    assert!(shown.contains("\nbacklog = 1024\n"), "{shown}");
}

#[test]
fn what_is_shown_is_a_file_with_the_same_settings() {
    let (shown, _) = accepted(
        check()
            .env("WELCOMED_SERVER_LISTEN", "[::1]:0,unix:/tmp/a \"b\".sock")
            .env("WELCOMED_LOG_FORMAT", "logfmt")
            .args(["--listen", "127.0.0.1:0,[::1]:0", "--listen", r#"unix:/tmp/a "b\c".sock"#])
            .args(["--metrics-listen", "off", "--max-connections", "77", "--service", "echo"])
            .args(["--framing", "line", "--work-delay", "1m 1ms", "--log-level", "trace"]),
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shown.toml"), &shown).unwrap();
    let (again, _) = accepted(check().current_dir(&folder).args(["--config", "shown.toml"]));
    assert_eq!(values(&again), values(&shown));
    let listen = r#"listen = ["127.0.0.1:0", "[::1]:0", "unix:/tmp/a \"b\\c\".sock"]  # --listen"#;
    assert!(shown.contains(listen), "{shown}");
    assert!(shown.contains("work_delay = \"1m 1ms\"  # --work-delay"), "{shown}");
}

#[test]
fn foreign_variables_are_warned_about_and_ignored() {
    let (shown, warnings) = accepted(
        check()
            .env("WELCOMED_SERVICE_HOST", "10.0.0.1")
            .env("WELCOMED_SERVICE_PORT_HELLO", "9999")
            .env("WELCOMED_PORT", "tcp://10.0.0.1:9999")
            .env("WELCOMED_POOL_WORKRES", "8"),
    );
    let ignored = |name| format!("welcomed: warning: {name} is no setting and is ignored");
    let expected = [
        format!("{} (did you mean WELCOMED_POOL_WORKERS?)", ignored("WELCOMED_POOL_WORKRES")),
        ignored("WELCOMED_PORT"),
        ignored("WELCOMED_SERVICE_HOST"),
        ignored("WELCOMED_SERVICE_PORT_HELLO"),
    ];
    assert_eq!(warnings.lines().collect::<Vec<_>>(), expected);
    assert_eq!(shown, accepted(&mut check()).0);
}

#[test]
fn wrong_values_are_refused_by_the_name_of_their_source() {
    let wrong = refused(
        check()
            .env("WELCOMED_SERVICE_FRAMING", "lines")
            .env("WELCOMED_LOG_LEVEL", OsStr::from_bytes(b"\xff"))
            .args(["--workers", "0"]),
    );
    let expected = "\
welcomed: WELCOMED_LOG_LEVEL: `\u{fffd}` is not valid; allowed: UTF-8 text
welcomed: WELCOMED_SERVICE_FRAMING: `lines` is not valid; allowed: `auto`, `line` or `raw`
welcomed: --workers: `0` is not valid; allowed: `auto` or a whole number from 1 to 4096
";
    assert_eq!(wrong, expected);
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = check();
    command.current_dir(&folder).args(["--config", "a.toml"]);
    let missing = refused(&mut command);
    assert!(missing.starts_with("welcomed: cannot read `a.toml`: No such file"), "{missing}");
    fs::write(folder.path().join("a.toml"), b"# \xff").unwrap();
    let binary = refused(&mut command);
    assert!(binary.starts_with("welcomed: cannot read `a.toml`: "), "{binary}");
    assert!(binary.contains("UTF-8"), "{binary}");
    fs::write(folder.path().join("a.toml"), "#".repeat((1 << 20) + 1)).unwrap();
    let expected = "welcomed: `a.toml` is too long for a configuration; allowed: 1048576 bytes\n";
    assert_eq!(refused(&mut command), expected);
}

#[test]
fn serve_refuses_what_check_refuses() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
    let command = command.args(["serve", "--framing", "lines"]).clean_env();
    let expected = "welcomed: --framing: `lines` is not valid; allowed: `auto`, `line` or `raw`\n";
    assert_eq!(refused(command), expected);
}

#[test]
fn more_clients_than_open_files_are_refused_when_chosen() {
    let serve = "ulimit -n 512 && exec \"$0\" serve --listen 127.0.0.1:0 --metrics-listen off";
    let refused = refused(
        Command::new("sh")
            .args(["-c", &format!("{serve} --workers 4 --max-connections 1000")])
            .arg(env!("CARGO_BIN_EXE_welcomed"))
            .clean_env(),
    );
    let expected = "welcomed: limits.max_connections = 1000 needs ";
    assert!(refused.starts_with(expected), "{refused}");
    assert!(refused.contains("but the limit is 512"), "{refused}");
    assert!(refused.contains("set at most "), "{refused}");
}
