//! The house rules that a machine can check: widths, lengths, headers, the import arrows, and
//! that every metric named in a document exists.
#![allow(clippy::unwrap_used)] // tests

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where our sources are. Beside `fuzz/targets`, `fuzz` has what a build leaves there.
const FOLDERS: &[&str] = &["src", "tests", "benches", "examples", "fuzz/targets"];

const WIDEST_LINE: usize = 100;
const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 70;

/// What each part of the library may import of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("service", &[]),
    ("protocol", &[]),
    ("metrics", &[]),
    ("bench", &["protocol"]),
    ("sizing", &[]),
    ("server", &["service", "protocol", "metrics"]),
    ("endpoint", &["service", "protocol", "metrics", "server", "sizing"]),
    ("client", &["dial", "protocol", "server"]),
    ("fetch", &["dial"]),
    ("config", &["service", "protocol", "server"]),
];

/// The one part that may name a crate. A change of library is a change of one place.
const CRATES: &[(&str, &[&str])] = &[
    ("crossbeam_channel", &["src/server"]),
    ("tiny_http", &["src/endpoint"]),
    (
        "serde_json",
        &[
            "src/endpoint/status.rs",
            "src/cli/advise",
            "src/cli/bench/data.rs",
            "src/cli/tune/data.rs",
        ],
    ),
    ("fastrand", &["src/bench/pace.rs"]),
    ("prometheus", &["src/endpoint", "src/metrics"]),
    ("procfs", &["src/metrics"]),
    ("quanta", &["src/server/clock.rs"]),
    ("toml", &["src/config"]),
    ("clap", &["src/cli"]),
    ("clap_complete", &["src/cli/completions.rs"]),
    ("clap_mangen", &["src/cli/man.rs"]),
    ("signal_hook", &["src/cli"]),
    ("socket2", &["src/server", "src/client", "src/dial.rs"]),
    ("hdrhistogram", &["src/bench"]),
    ("indicatif", &["src/cli"]),
    ("listenfd", &["src/cli/systemd"]),
    ("sd_notify", &["src/cli/systemd"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder` with this ending, with their paths from the root.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == ending) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    let sources: Vec<_> = FOLDERS.iter().flat_map(|it| files(it, "rs")).collect();
    assert!(sources.len() > 50, "the sources are found");
    sources
}

fn check(what: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

#[test]
fn lines_and_files_are_short_and_files_say_what_they_own() {
    let mut wrong = Vec::new();
    let of_rust = sources();
    for (name, text) in &of_rust {
        if !text.starts_with("//! ") {
            wrong.push(format!("{name} does not open with //!"));
        }
    }
    let others = [("src", "js"), ("src", "css"), ("src", "html"), ("dashboards", "py")];
    let others: Vec<_> = others.iter().flat_map(|(folder, ending)| files(folder, ending)).collect();
    assert!(others.len() > 4, "the others are found");
    for (name, text) in of_rust.into_iter().chain(others) {
        if text.lines().count() > LONGEST_FILE {
            wrong.push(format!("{name} has more than {LONGEST_FILE} lines"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            if line.chars().count() > WIDEST_LINE {
                wrong.push(format!("{name}:{number} is wider than {WIDEST_LINE}"));
            }
        }
    }
    check("too long", wrong);
}

/// A function begins at its `fn` and ends at the brace in the column in which it began: that is
/// how rustfmt writes it.
#[test]
fn functions_fit_on_a_screen() {
    let mut wrong = Vec::new();
    let mut functions = 0;
    for (name, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let words = code.split(['(', '<']).next().unwrap_or_default();
            let is_function = words.split(' ').any(|word| word == "fn") && !code.starts_with("//");
            if !is_function || code.ends_with(';') || code.ends_with('}') {
                continue;
            }
            let end = format!("{}}}", &line[..line.len() - code.len()]);
            let length = lines[start..].iter().position(|line| *line == end).unwrap_or(0) + 1;
            functions += 1;
            if length > LONGEST_FUNCTION {
                wrong.push(format!("{name}:{}: {length} lines: {code}", start + 1));
            }
        }
    }
    assert!(functions > 300, "the functions are found: {functions}");
    check(&format!("functions longer than {LONGEST_FUNCTION} lines"), wrong);
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for (part, allowed) in ARROWS {
        let parts = files(&format!("src/{part}"), "rs");
        assert!(!parts.is_empty(), "src/{part} is gone");
        for (name, text) in parts {
            for (number, line) in (1..).zip(text.lines()) {
                let code = line.split("//").next().unwrap_or_default();
                for (_, import) in
                    code.match_indices("crate::").map(|(at, it)| (at, &code[at + it.len()..]))
                {
                    let other: String = import
                        .chars()
                        .take_while(|it| it.is_alphanumeric() || *it == '_')
                        .collect();
                    if other != *part && !allowed.contains(&other.as_str()) {
                        wrong.push(format!("{name}:{number}: {part} imports {other}"));
                    }
                }
                // A module's tests are inside it and may see all of it.
                let of_tests = code.trim() == "use super::*;";
                let ours = ["use crate::", "use super::", "use self::"];
                let ours = ours.iter().any(|start| code.trim_start().starts_with(start));
                if ours && code.contains("::*") && !of_tests {
                    wrong.push(format!("{name}:{number}: a glob import"));
                }
            }
        }
    }
    check("imports against the arrows", wrong);
}

#[test]
fn each_outside_crate_is_named_in_few_places() {
    let mut wrong = Vec::new();
    for (name, text) in files("src", "rs") {
        for (library, places) in CRATES {
            let used = text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                code.contains(&format!("{library}::")) || code.contains(&format!("use {library};"))
            });
            if used && !places.iter().any(|place| name.starts_with(place)) {
                wrong.push(format!("{name} names {library}, which belongs to {places:?}"));
            }
        }
    }
    check("crates out of their place", wrong);
}

/// Words that look like our metrics, in everything that a reader or Prometheus reads, against the
/// golden list of what is exported.
#[test]
fn every_metric_that_a_document_names_exists() {
    let golden = fs::read_to_string(root().join("tests/it/golden/metrics.txt")).unwrap();
    let exported: BTreeSet<&str> =
        golden.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(exported.len() > 10, "the golden list is read");
    let mut documents = files("docs", "md");
    documents.extend(
        ["README.md", "ARCHITECTURE.md"]
            .map(|name| (name.to_owned(), fs::read_to_string(root().join(name)).unwrap())),
    );
    for ending in ["json", "yml"] {
        documents.extend(files("dashboards", ending));
    }
    let mut wrong = Vec::new();
    for (name, text) in documents {
        // A recording rule's name, level:metric:operations, is one word.
        for word in text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_' && it != ':') {
            let word = word.trim_matches(':');
            let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end));
            let known = exported.contains(word) || base.is_some_and(|it| exported.contains(it));
            if word.starts_with("welcomed_") && !known {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    check("metrics that do not exist", wrong);
}

/// `docs/metrics.md` has a row for each metric that is exported, with its type and labels.
#[test]
fn the_metrics_table_is_what_is_exported() {
    let golden = fs::read_to_string(root().join("tests/it/golden/metrics.txt")).unwrap();
    let mut exported = Vec::new();
    for line in golden.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let mut labels = BTreeSet::new();
        for sample in golden.lines().filter_map(|line| line.strip_prefix(name)) {
            let sample = sample.strip_prefix("_bucket").unwrap_or(sample);
            // Another metric may begin with this one's name.
            let Some(pairs) = sample.strip_prefix('{') else { continue };
            for pair in pairs.trim_end_matches('}').split(',') {
                labels.insert(pair.split('=').next().unwrap().to_owned());
            }
        }
        labels.remove("le");
        exported.push((name.to_owned(), kind.to_owned(), labels));
    }
    let table = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `welcomed_"));
    let documented: Vec<_> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let labels = cells[3].split(", ").map(|label| label.trim_matches('`').to_owned());
            let labels = labels.filter(|label| !label.is_empty()).collect();
            (cells[1].trim_matches('`').to_owned(), cells[2].to_owned(), labels)
        })
        .collect();
    // Labels whose values are no constants are no part of the golden file.
    let plain = |mut all: Vec<(String, String, BTreeSet<String>)>| {
        for (_, _, labels) in all.iter_mut().filter(|(name, ..)| name.ends_with("_info")) {
            labels.clear();
        }
        all
    };
    assert_eq!(plain(documented), plain(exported));
}

/// `docs/reliability.md` names tests; each of them is where it says.
#[test]
fn every_test_that_the_reliability_table_names_exists() {
    let table = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let (mut named, mut wrong) = (0, Vec::new());
    for path in table.split('`').filter(|word| word.contains("::") && !word.contains(' ')) {
        let (module, test) = path.rsplit_once("::").unwrap();
        let file = format!("tests/it/{}.rs", module.replace("::", "/"));
        let text = fs::read_to_string(root().join(&file)).unwrap_or_default();
        // An attribute stands before a test.
        if !text.contains(&format!("]\nfn {test}(")) {
            wrong.push(format!("{path}: not in {file}"));
        }
        named += 1;
    }
    assert!(named > 30, "the names are found: {named}");
    check("tests that do not exist", wrong);
}
