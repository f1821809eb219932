//! The public API, as the text that `docs/public-api.txt` keeps: whoever changes the one changes
//! the other, and a reviewer sees it in the diff.
//!
//! The text is made of rustdoc's JSON by the crate `public-api`, and folded here: a type's traits
//! stand on one line, without the functions that each of them brings.
#![allow(clippy::unwrap_used)] // tests

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::Command;

const SNAPSHOT: &str = "docs/public-api.txt";
const RENEW: &str = "WELCOMED_GOLDEN=1 cargo test --test api";

/// The format of rustdoc's JSON that the pinned `public-api` reads: rustdoc 1.95 writes it.
const FORMAT: u64 = 57;

const HEAD: &str = "\
# The public API of the library, an item a line, from rustdoc. After a wanted change:
#
#     WELCOMED_GOLDEN=1 cargo test --test api
#
# It is a test and no step of CI of its own: so it fails where the change is made, before a commit.
# A type's traits stand on one line; every type is Send and Sync unless that line says `!Send` or
# `!Sync`. What a trait's implementation brings is left out, but for its types.
";

/// Unstable rustdoc's only output for programs: the stable toolchain gives it to who asks as the
/// standard library's own build does. In a folder of its own, or what follows would be built anew.
fn rustdoc_json() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("api");
    let documented = Command::new(env!("CARGO"))
        .args(["rustdoc", "--lib", "--locked", "--quiet", "--target-dir"])
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(documented.unwrap().success(), "rustdoc makes JSON");
    target.join("doc/welcomed.json")
}

/// `core::fmt::Debug` as `Debug`; what is not of the standard library keeps its path.
fn short(name: &str) -> String {
    let (not, name) = name.strip_prefix('!').map_or(("", name), |name| ("!", name));
    let (path, generics) = name.split_at(name.find('<').unwrap_or(name.len()));
    let of_std = ["core::", "alloc::", "std::"].iter().any(|root| path.starts_with(root));
    let path = path.rsplit("::").next().filter(|_| of_std).unwrap_or(path);
    format!("{not}{path}{generics}")
}

/// What a reviewer would skip: that a type is as thread-safe and movable as its parts make it.
fn goes_without_saying(name: &str) -> bool {
    const AUTO: [&str; 7] =
        ["Freeze", "RefUnwindSafe", "Send", "Sync", "Unpin", "UnsafeUnpin", "UnwindSafe"];
    let thread = ["!Send", "!Sync"].contains(&name);
    name == "StructuralPartialEq" || (AUTO.contains(&name.trim_start_matches('!')) && !thread)
}

/// Implementations of one type, one after the other.
#[derive(Default)]
struct Implementations {
    generics: String,
    of: String,
    names: Vec<String>,
    types: Vec<String>,
}

impl Implementations {
    fn write(self, text: &mut String) {
        if !self.names.is_empty() {
            let names = self.names.join(" + ");
            writeln!(text, "impl{} {names} for {}", self.generics, self.of).unwrap();
        }
        self.types.iter().for_each(|it| writeln!(text, "{it}").unwrap());
    }
}

fn fold(items: impl IntoIterator<Item = String>) -> String {
    let mut text = HEAD.to_owned();
    let mut open = Implementations::default();
    for item in items {
        let member = |kind| item.starts_with(&format!("pub {kind} {}::", open.of));
        let in_it = !open.of.is_empty();
        if in_it && member("type") {
            open.types.push(item);
            continue;
        } else if in_it && (member("fn") || member("const")) {
            continue;
        }
        let implementation = item.strip_prefix("impl").and_then(|rest| rest.split_once(" for "));
        let Some((before, of)) = implementation else {
            mem::take(&mut open).write(&mut text);
            writeln!(text, "{item}").unwrap();
            continue;
        };
        let generics = if before.starts_with('<') { before.find("> ").unwrap() + 1 } else { 0 };
        let (generics, name) = before.split_at(generics);
        let name = short(name.trim());
        if open.generics != generics || open.of != of {
            mem::take(&mut open).write(&mut text);
            (open.generics, open.of) = (generics.to_owned(), of.to_owned());
        }
        if !goes_without_saying(&name) {
            open.names.push(name);
        }
    }
    open.write(&mut text);
    text
}

#[test]
fn the_snapshot_is_what_is_public() {
    let json = rustdoc_json();
    let text = fs::read_to_string(&json).unwrap();
    let written: serde_json::Value = serde_json::from_str(&text).unwrap();
    let format = written["format_version"].as_u64();
    if format != Some(FORMAT) {
        let why = format!(
            "rustdoc writes format {format:?} and the pinned `public-api` reads {FORMAT}: take \
             the release of it that reads the other, in Cargo.toml, and `{RENEW}`"
        );
        assert!(env::var("CI").as_deref() != Ok("true"), "{why}");
        eprintln!("skipped: {why}");
        return;
    }
    let api = public_api::Builder::from_rustdoc_json(json).omit_blanket_impls(true).build();
    let ours = fold(api.unwrap().items().map(ToString::to_string));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SNAPSHOT);
    if env::var_os("WELCOMED_GOLDEN").is_some() {
        fs::write(&path, &ours).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    if ours != golden {
        let [new, old] = [&ours, &golden].map(|text| text.lines().collect::<BTreeSet<_>>());
        let gone = old.difference(&new).map(|line| format!("- {line}"));
        let come = new.difference(&old).map(|line| format!("+ {line}"));
        let lines: Vec<_> = gone.chain(come).collect();
        panic!("the public API is not {SNAPSHOT}:\n{}\nif so wanted: {RENEW}", lines.join("\n"));
    }
}

#[test]
fn a_type_and_its_traits_are_one_line() {
    let of = "impl<'a> core::clone::Clone for a::B<'a>
impl<'a> a::Own for a::B<'a>
pub fn a::B<'a>::clone(&self) -> Self
impl<'a> core::str::traits::FromStr for a::B<'a>
pub type a::B<'a>::Err = a::C
impl<'a> !core::marker::Send for a::B<'a>
impl<'a> core::marker::Sync for a::B<'a>
pub fn a::b()";
    let wanted = "impl<'a> Clone + a::Own + FromStr + !Send for a::B<'a>
pub type a::B<'a>::Err = a::C
pub fn a::b()
";
    let folded = fold(of.lines().map(str::to_owned));
    assert_eq!(folded.strip_prefix(HEAD).unwrap(), wanted);
}
