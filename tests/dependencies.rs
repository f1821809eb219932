//! `docs/dependencies.md` against `Cargo.toml` and `Cargo.lock`: nothing is listed that is not
//! used, nothing used that is not justified, and the release program stays below a number of
//! crates. As cargo itself tells it, so that features count.
#![allow(clippy::unwrap_used)] // tests

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Crates in the release program, besides our own.
const MOST_CRATES: usize = 100;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--locked")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn metadata() -> Value {
    let platform = concat!("--filter-platform=", env!("BUILT_FOR_TARGET"));
    serde_json::from_str(&cargo(&["metadata", "--format-version=1", platform])).unwrap()
}

/// Each direct dependency of the program with all that it needs, itself included.
fn tree() -> BTreeMap<String, BTreeSet<String>> {
    let arguments =
        ["tree", "--edges=normal,build", "--prefix=depth", "--no-dedupe", "--format={p}"];
    let mut tree = BTreeMap::new();
    let mut direct = String::new();
    for line in cargo(&arguments).lines() {
        let depth = line.find(|it: char| !it.is_ascii_digit()).unwrap();
        let (depth, package) = line.split_at(depth);
        let name = package.split(' ').next().unwrap();
        match depth {
            "0" => continue,
            "1" => direct = name.to_owned(),
            _ => {}
        }
        tree.entry(direct.clone()).or_insert_with(BTreeSet::new).insert(name.to_owned());
    }
    assert!(tree.len() > 10, "the tree is read");
    tree
}

/// The crates that no other direct dependency would bring.
fn brings(tree: &BTreeMap<String, BTreeSet<String>>, direct: &str) -> usize {
    let others = |name: &str| tree.iter().any(|(it, all)| it != direct && all.contains(name));
    tree[direct].iter().filter(|name| !others(name)).count()
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dependencies.md")).unwrap()
}

/// The rows of the table below a heading, cell by cell.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Names of the direct dependencies of a kind, `null` for the program's.
fn direct(metadata: &Value, kind: &Value) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().unwrap();
    let ours = packages.iter().find(|it| it["name"] == env!("CARGO_PKG_NAME")).unwrap();
    let of_kind = ours["dependencies"].as_array().unwrap().iter().filter(|it| it["kind"] == *kind);
    of_kind.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_program_is_made_of_few_crates_and_the_page_says_how_many() {
    let tree = tree();
    let total = tree.values().flatten().collect::<BTreeSet<_>>().len();
    assert!(total < MOST_CRATES, "{total} crates; {MOST_CRATES} are too many");
    let said = format!("**{total} crates**");
    assert!(page().contains(&said), "docs/dependencies.md has to say {said}");
}

#[test]
fn the_table_is_what_the_program_depends_on() {
    let (metadata, tree, page) = (metadata(), tree(), page());
    let licence = |name: &str| {
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages.iter().find(|it| it["name"] == name).unwrap();
        package["license"].as_str().unwrap().replace('/', " OR ")
    };
    // name, licence, brings
    let mut wanted = BTreeSet::new();
    for name in direct(&metadata, &Value::Null) {
        let brings = brings(&tree, &name).to_string();
        wanted.insert([format!("`{name}`"), licence(&name), brings]);
    }
    let rows = rows(&page, "Of the program");
    assert!(rows.iter().all(|row| row.len() == 6 && row.iter().all(|cell| !cell.is_empty())));
    let table = rows.iter().map(|row| [0, 4, 5].map(|cell| row[cell].to_owned())).collect();
    let missing: Vec<_> = wanted.difference(&table).collect();
    let wrong: Vec<_> = table.difference(&wanted).collect();
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "docs/dependencies.md; missing: {missing:#?}; no longer true: {wrong:#?}"
    );
}

#[test]
fn the_other_table_has_what_the_tests_depend_on() {
    let page = page();
    let rows = rows(&page, "Of the tests and tools");
    let of_tests = rows.iter().filter(|row| row[1] == "dev");
    let table: BTreeSet<_> = of_tests.map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(table, direct(&metadata(), &Value::from("dev")));
}

/// `rust-version` is a promise that our own code cannot keep alone.
#[test]
fn no_crate_of_the_program_asks_for_a_newer_rust_than_we_do() {
    let version = |text: &str| -> Vec<u32> {
        let numbers = text.split('.').map(|number| number.parse().unwrap());
        numbers.chain([0]).take(3).collect()
    };
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let program: BTreeSet<String> = tree().into_values().flatten().collect();
    let (metadata, mut asked) = (metadata(), 0);
    for package in metadata["packages"].as_array().unwrap() {
        let (name, needs) = (package["name"].as_str().unwrap(), package["rust_version"].as_str());
        if let Some(needs) = needs.filter(|_| program.contains(name)) {
            assert!(version(needs) <= ours, "{name} asks for Rust {needs}");
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked} crates say what they ask for");
}
