//! The dashboard, the rules and the runbook agree with the metrics, with each other and with the
//! conventions of Grafana's dashboard linter. Without a server; `prometheus.rs` runs them.

mod conventions;

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The metrics that every program has, which the golden list does not hold.
const COMMON: &[(&str, &str)] = &[
    ("process_cpu_seconds_total", "counter"),
    ("process_max_fds", "gauge"),
    ("process_open_fds", "gauge"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_start_time_seconds", "gauge"),
    ("process_threads", "gauge"),
    ("process_virtual_memory_bytes", "gauge"),
    ("process_virtual_memory_max_bytes", "gauge"),
];
/// Metrics on no panel and in no alert, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    ("process_virtual_memory_max_bytes", "as good as always without a limit: 2^64"),
    ("welcomed_handler_seconds_squared_total", "for `welcomed advise`; says nothing by itself"),
];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

pub fn dashboard() -> Value {
    serde_json::from_str(&read("dashboards/welcomed.json")).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// Every panel that shows something: rows are taken apart.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let all =
        list(dashboard, "panels").iter().flat_map(|it| [it].into_iter().chain(list(it, "panels")));
    all.filter(|panel| panel["type"] != "row").collect()
}

/// Every query with the title of its panel: of the panels, and of the annotations.
pub fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        for target in list(panel, "targets") {
            let place = format!("{}, {}", text(panel, "title"), text(target, "refId"));
            queries.push((place, text(target, "expr").to_owned()));
        }
    }
    for annotation in list(&dashboard["annotations"], "list") {
        let place = format!("annotation {}", text(annotation, "name"));
        queries.push((place, text(annotation, "expr").to_owned()));
    }
    queries
}

/// A query as Prometheus takes it: Grafana's variables stand for every server and `interval`.
pub fn without_variables(expr: &str, interval: &str) -> String {
    let expr = expr.replace("$__rate_interval", interval);
    expr.replace("$job", ".+").replace("$instance", ".+")
}

/// The metrics that are exported, with their types.
fn exported() -> BTreeMap<String, String> {
    let golden = read("tests/it/golden/metrics.txt");
    let types = golden.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let types = types.chain(COMMON.iter().copied());
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// The family that a series belongs to, and whether the series only grows.
fn family<'a>(series: &'a str, exported: &BTreeMap<String, String>) -> Option<(&'a str, bool)> {
    if let Some(kind) = exported.get(series) {
        return (kind != "histogram").then_some((series, kind == "counter"));
    }
    let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| series.strip_suffix(end))?;
    exported.get(base).is_some_and(|kind| kind == "histogram").then_some((base, true))
}

/// A series in an expression, with what stands on either side of its name.
struct Mention<'a> {
    name: &'a str,
    before: &'a str,
    after: &'a str,
}

/// The series that an expression names: words that begin like one of ours, outside of quotes.
/// Recorded ones have a colon in their name and are left out.
fn mentions(expr: &str) -> Vec<Mention<'_>> {
    let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':';
    let mut found = Vec::new();
    let mut at = 0;
    while at < expr.len() {
        let rest = &expr[at..];
        let quoted = rest.strip_prefix('"').and_then(|it| it.find('"'));
        let length = match quoted {
            Some(length) => length + 2,
            None => rest.find(|it| !is_word(it)).unwrap_or(rest.len()).max(1),
        };
        let word = &rest[..length];
        let ours = word == "up" || word.starts_with("welcomed_") || word.starts_with("process_");
        if ours && !word.contains(':') {
            found.push(Mention { name: word, before: &expr[..at], after: &rest[length..] });
        }
        at += length;
    }
    found
}

/// The alert rules: their names, and the lines of each.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let blocks = rules.split("- alert: ").skip(1);
    blocks.map(|block| block.split_once('\n').unwrap()).collect()
}

/// The expressions of the rules, without what surrounds them: names of metrics occur there alone
/// and in the names of records, which have colons.
fn rule_lines(rules: &str) -> String {
    let lines = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn none_wrong(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

/// Runs a program that a test may do without, except in CI.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).current_dir(root()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(env::var("CI").as_deref() != Ok("true"), "CI has to have {program}");
            eprintln!("skipped: no {program} here; scripts/install-test-packages installs it");
            None
        }
        output => Some(output.unwrap()),
    }
}

#[track_caller]
fn promtool(arguments: &[&str]) {
    let Some(output) = run("promtool", arguments) else { return };
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "promtool {}:\n{said}", arguments.join(" "));
}

#[test]
fn the_rules_and_the_scrape_configuration_are_valid_and_the_rules_tests_pass() {
    promtool(&["check", "config", "config/prometheus.yml"]);
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "dashboards/rules.yml"]);
    promtool(&["test", "rules", "dashboards/rules_test.yml"]);
}

#[test]
fn the_dashboard_is_what_its_generator_makes() {
    let Some(output) = run("python3", &["dashboards/generate.py", "--check"]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Prometheus' own parser reads every query, as a recording rule. JSON is YAML.
#[test]
fn every_query_is_promql() {
    let rules = queries(&dashboard());
    let rules = rules.iter().enumerate().map(|(number, (_, expr))| {
        json!({"record": format!("panel:{number}"), "expr": without_variables(expr, "5m")})
    });
    let rules: Vec<_> = rules.collect();
    assert!(rules.len() > 50, "the queries are found");
    let file = tempfile::NamedTempFile::new().unwrap();
    let groups = json!({"groups": [{"name": "panels", "rules": rules}]});
    fs::write(file.path(), groups.to_string()).unwrap();
    let path: PathBuf = file.path().to_owned();
    promtool(&["check", "rules", "--lint=none", path.to_str().unwrap()]);
}

#[test]
fn every_metric_exists_and_is_shown() {
    let exported = exported();
    let mut unseen: BTreeSet<&str> = exported.keys().map(String::as_str).collect();
    let mut unknown = Vec::new();
    let rules = rule_lines(&read("dashboards/rules.yml"));
    let mut every = queries(&dashboard());
    every.push(("rules.yml".to_owned(), rules));
    for (place, expr) in &every {
        for mention in mentions(expr).iter().filter(|it| it.name != "up") {
            match family(mention.name, &exported) {
                Some((name, _)) => drop(unseen.remove(name)),
                None => unknown.push(format!("{place}: {}", mention.name)),
            }
        }
    }
    none_wrong("metrics that do not exist", &unknown);
    let excused: BTreeSet<&str> = NOT_SHOWN.iter().map(|(name, _)| *name).collect();
    assert_eq!(unseen, excused, "metrics on no panel and in no alert, or excused and shown");
}

#[test]
fn every_alert_is_complete_tested_and_in_the_runbook() {
    let (rules, tests, runbook) =
        (read("dashboards/rules.yml"), read("dashboards/rules_test.yml"), read("docs/runbook.md"));
    let mut names = BTreeSet::new();
    for (name, lines) in alerts(&rules) {
        names.insert(name);
        for key in ["summary: ", "description: ", "expr: "] {
            assert_eq!(lines.matches(key).count(), 1, "{name}: {key}");
        }
        assert!(
            lines.contains("severity: page") || lines.contains("severity: ticket"),
            "{name}: severity"
        );
        let address = format!("runbook_url: docs/runbook.md#{}\n", name.to_lowercase());
        assert!(lines.contains(&address), "{name}: {address}");
    }
    assert!(names.len() > 10, "the alerts are found");

    let entries = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(entries.collect::<BTreeSet<_>>(), names, "entries of the runbook and alerts");

    let tests: Vec<_> = tests.split("\n    name: ").skip(1).collect();
    let tested: BTreeSet<_> = tests.iter().map(|test| test.split('\n').next().unwrap()).collect();
    assert_eq!(tested, names, "tests of the rules and alerts");
    for test in tests {
        let checks: Vec<_> =
            test.lines().filter_map(|line| line.trim().strip_prefix("exp_alerts:")).collect();
        let fires = checks.iter().any(|it| it.is_empty());
        let silent = [checks[0], checks[checks.len() - 1]] == [" []"; 2];
        assert!(fires && silent, "silent, firing, silent again: {test}");
    }
}

#[test]
fn the_runbook_speaks_of_panels_that_exist() {
    let runbook = read("docs/runbook.md").replace("**", "");
    let dashboard = dashboard();
    let rows = list(&dashboard, "panels").iter().filter(|it| it["type"] == "row");
    let shown: BTreeSet<_> = rows.chain(panels(&dashboard)).map(|it| text(it, "title")).collect();
    let named: Vec<_> = runbook.split('*').skip(1).step_by(2).collect();
    assert!(named.len() > 15, "the names of panels are found");
    let unknown = named.iter().filter(|name| !shown.contains(name.replace('\n', " ").as_str()));
    none_wrong("no such panel", &unknown.map(|name| (*name).to_owned()).collect::<Vec<_>>());
}
