//! Tells the program what it was built from, for its `build_info` metric: `BUILT_BY_RUSTC`,
//! `BUILT_FOR_TARGET` and `BUILT_FROM_REVISION`. What cannot be found out is `unknown`; nothing here
//! fails a build.
#![allow(clippy::print_stdout)] // how a build script speaks to cargo

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// What `cargo package` puts beside the sources.
const PACKAGED_REVISION: &str = ".cargo_vcs_info.json";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let revision = packaged_revision().or_else(checked_out_revision);
    for (name, value) in [
        ("BUILT_BY_RUSTC", rustc_version()),
        ("BUILT_FOR_TARGET", env::var("TARGET").ok()),
        ("BUILT_FROM_REVISION", revision.map(|sha| sha.chars().take(12).collect())),
    ] {
        println!("cargo::rustc-env={name}={}", value.as_deref().unwrap_or("unknown"));
    }
}

/// `1.95.0` of `rustc 1.95.0 (59807616e 2026-04-14)`.
fn rustc_version() -> Option<String> {
    let line = output_of(&env::var("RUSTC").ok()?, &["--version"])?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

/// The commit that a package was made from: the 40 digits behind `"sha1": "`.
fn packaged_revision() -> Option<String> {
    let json = fs::read_to_string(PACKAGED_REVISION).ok()?;
    println!("cargo::rerun-if-changed={PACKAGED_REVISION}");
    let (_, rest) = json.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

/// The commit that is checked out here. Only a repository of our own counts, not one that the
/// sources happen to lie in.
fn checked_out_revision() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // The log of HEAD grows with each commit and each checkout, also in a worktree. A path that
    // is not there would make cargo run this script every time.
    for name in ["HEAD", "logs/HEAD"] {
        let path = output_of("git", &["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    output_of("git", &["rev-parse", "HEAD"])
}

/// What a program prints, if there is such a program and it succeeds.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
