//! The manual and the completions, made by the real program: all there, and well-formed for those
//! who read them.

use crate::deploy::installed;
use crate::support::CleanEnv;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use welcomed::config::KEYS;

/// Every subcommand has a page, and is completed.
const SUBCOMMANDS: [&str; 7] =
    ["serve", "check", "client", "fetch", "health", "completions", "man"];

fn welcomed(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_welcomed")).args(arguments).clean_env().output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = welcomed(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pages_that_cannot_be_written_are_named() {
    let output = welcomed(&["man", "--dir", "/dev/null/man1"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said, "welcomed: cannot write `/dev/null/man1`: Not a directory (os error 20)\n");
}

/// The pages by the names of their files.
fn pages() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("not/there/yet");
    printed(&["man", "--dir", dir.to_str().unwrap()]);
    let entries = fs::read_dir(&dir).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    });
    entries.collect()
}

/// Roff as it is meant: without the backslashes before its dashes and dots.
fn plain(page: &str) -> String {
    page.replace('\\', "")
}

#[test]
fn help_and_manual_know_the_same_subcommands() {
    let help = printed(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    // A name is indented by two, the lines of what it does by more.
    let names = commands.lines().filter_map(|line| line.strip_prefix("  "));
    let names = names
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split_whitespace().next().unwrap().to_owned());
    let names: Vec<String> = names.filter(|name| name != "help").collect();
    let mut expected: Vec<String> = names.iter().map(|it| format!("welcomed-{it}.1")).collect();
    expected.extend(["welcomed.1".to_owned(), "welcomed.toml.5".to_owned()]);
    expected.sort();
    let pages = pages();
    assert_eq!(pages.keys().cloned().collect::<Vec<_>>(), expected);
    for known in SUBCOMMANDS {
        assert!(names.iter().any(|name| name == known), "{known}");
    }
    let root = plain(&pages["welcomed.1"]);
    for name in names {
        assert!(root.contains(&format!("welcomed-{name}(1)")), "{name}: {root}");
    }
    assert_eq!(printed(&["man"]), pages["welcomed.1"]);
}

#[test]
fn the_manual_has_every_flag_and_every_setting() {
    let pages = pages();
    let (serve, settings) = (plain(&pages["welcomed-serve.1"]), plain(&pages["welcomed.toml.5"]));
    for key in KEYS {
        for words in [key.section(), key.name(), &key.variable(), &key.default_text()] {
            assert!(settings.contains(words), "{}: {words}: {settings}", key.path);
        }
        if let Some(flag) = key.flag {
            assert!(serve.contains(&format!("--{flag}")), "{flag}: {serve}");
            assert!(settings.contains(&format!("--{flag}")), "{flag}: {settings}");
        }
    }
}

#[test]
fn groff_has_nothing_to_complain_about() {
    for (name, page) in pages() {
        let groff = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Some(mut groff) = installed("groff", groff) else { return };
        groff.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
        let output = groff.wait_with_output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{name}: {complaints}");
        assert!(output.stdout.len() > 500, "{name}: {:?}", output.stdout);
    }
}

#[test]
fn every_shell_gets_a_script_that_knows_every_subcommand() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for name in SUBCOMMANDS {
            assert!(script.contains(name), "{shell}: {name}");
        }
        assert!(script.contains("work-delay"), "{shell}: flags too");
    }
    let output = welcomed(&["completions", "dos"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn bash_reads_its_script_and_completes() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("welcomed");
    fs::write(&script, printed(&["completions", "bash"])).unwrap();
    let complete = "source \"$1\"; COMP_WORDS=(welcomed serve --wor); COMP_CWORD=2; \
                    _welcomed welcomed --wor serve; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["--norc", "-c", complete, "bash"])
        .arg(&script)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let words = String::from_utf8(output.stdout).unwrap();
    assert_eq!(words.lines().collect::<Vec<_>>(), ["--workers", "--work-delay"]);
}
