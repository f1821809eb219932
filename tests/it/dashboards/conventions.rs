//! The rules of Grafana's dashboard linter, and a few of our own: each one holds for the dashboard
//! and is broken by a dashboard that has the mistake. No exceptions.

use super::{
    Mention, dashboard, exported, family, list, mentions, none_wrong, panels, queries, text,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::Range;

/// Of Grafana's units, those that a reader need not look up.
const UNITS: &[&str] = &[
    "s",
    "reqps",
    "ops",
    "Bps",
    "bytes",
    "percentunit",
    "short",
    "none",
    "bool_yes_no",
    "dateTimeFromNow",
];
const MATCHERS: &str = r#"{job=~"$job",instance=~"$instance""#;

type Rule = (&'static str, fn(&Value) -> Vec<String>);

/// What must hold, and the places where it does not.
const RULES: &[Rule] = &[
    ("one datasource variable, first of all", |dashboard| {
        let all = list(&dashboard["templating"], "list");
        let sources = all.iter().filter(|it| it["type"] == "datasource").count();
        let first = &all[0];
        let right = text(first, "name") == "datasource"
            && text(first, "label") == "Data source"
            && text(first, "query") == "prometheus";
        if sources == 1 && right { vec![] } else { vec![first.to_string()] }
    }),
    ("job and instance: multi, all, refreshed with the time range", |dashboard| {
        let all = list(&dashboard["templating"], "list");
        let queries: Vec<_> = all.iter().filter(|it| it["type"] == "query").collect();
        let names: Vec<_> = queries.iter().map(|it| text(it, "name")).collect();
        assert_eq!(names, ["job", "instance"]);
        let wrong = |it: &&&Value| {
            it["label"] != it["name"]
                || it["datasource"]["uid"] != "${datasource}"
                || it["multi"] != true
                || it["includeAll"] != true
                || it["allValue"] != ".+"
                || it["refresh"] != 2
                || !text(&it["query"], "query").starts_with("label_values(welcomed_build_info")
        };
        queries.iter().filter(wrong).map(|it| it.to_string()).collect()
    }),
    ("the chosen datasource on every panel and query", |dashboard| {
        let chosen = json!({"type": "prometheus", "uid": "${datasource}"});
        let wrong = |panel: &&Value| {
            panel["datasource"] != chosen
                || list(panel, "targets").iter().any(|target| target["datasource"] != chosen)
        };
        titles(panels(dashboard).into_iter().filter(wrong))
    }),
    ("a title and a description that ends its sentence", |dashboard| {
        let wrong = |panel: &&Value| {
            text(panel, "title").is_empty() || !text(panel, "description").ends_with('.')
        };
        titles(panels(dashboard).into_iter().filter(wrong))
    }),
    ("a known unit", |dashboard| {
        let unit = |panel: &Value| text(&panel["fieldConfig"]["defaults"], "unit").to_owned();
        let wrong = |panel: &&Value| !UNITS.contains(&unit(panel).as_str());
        titles(panels(dashboard).into_iter().filter(wrong))
    }),
    ("a query at least, and a legend where there is more than one", |dashboard| {
        let wrong = |panel: &&Value| {
            let targets = list(panel, "targets");
            let named = targets.iter().all(|target| !text(target, "legendFormat").is_empty());
            targets.is_empty() || targets.len() > 5 || !(named || panel["type"] == "table")
        };
        titles(panels(dashboard).into_iter().filter(wrong))
    }),
    ("every selector is of the chosen job and instance", |dashboard| {
        offending(dashboard, |mention, _| !mention.after.starts_with(MATCHERS))
    }),
    ("a counter only inside rate or increase, over $__rate_interval, and nothing else", |board| {
        offending(board, |mention, grows| {
            let function = mention.before.trim_end_matches('(').rsplit(['(', ' ']).next();
            let range = mention.after.split_once('}').unwrap().1;
            let rated = matches!(function, Some("rate" | "increase"))
                && range.starts_with("[$__rate_interval])");
            let ranged = range.starts_with('[') && !range.starts_with("[$__rate_interval])");
            rated != grows || ranged
        })
    }),
    ("not editable, no inputs, a fixed uid", |dashboard| {
        let right = dashboard["editable"] == false
            && dashboard.get("__inputs").is_none()
            && dashboard.get("id").is_none()
            && dashboard["uid"] == "welcomed"
            && dashboard["graphTooltip"] == 1
            && dashboard["refresh"] == "30s"
            && dashboard["time"] == json!({"from": "now-1h", "to": "now"})
            && dashboard["schemaVersion"] == 41
            && !list(dashboard, "tags").is_empty();
        if right { vec![] } else { vec!["the dashboard's head".to_owned()] }
    }),
    ("ids that differ", |dashboard| {
        let mut seen = BTreeSet::new();
        let every = list(dashboard, "panels").iter().chain(panels(dashboard));
        let ids = every.map(|panel| (panel["id"].as_u64().unwrap(), text(panel, "title")));
        let ids: BTreeSet<_> = ids.collect();
        let again = ids.into_iter().filter(|(id, _)| !seen.insert(*id));
        again.map(|(id, title)| format!("{id}: {title}")).collect()
    }),
    ("a grid of 24 columns, and nothing on top of another", |dashboard| {
        let top = list(dashboard, "panels");
        let closed = top.iter().map(|row| list(row, "panels"));
        [top].into_iter().chain(closed).flat_map(misplaced).collect()
    }),
    ("two rows open, the first of them short", |dashboard| {
        let rows = list(dashboard, "panels").iter().filter(|panel| panel["type"] == "row");
        let open: Vec<_> = rows.map(|row| row["collapsed"] == false).collect();
        let right = open.iter().position(|it| !it) == Some(2) && !open[2..].contains(&true);
        if right { vec![] } else { vec![format!("{open:?}")] }
    }),
];

fn titles<'a>(panels: impl Iterator<Item = &'a Value>) -> Vec<String> {
    panels.map(|panel| text(panel, "title").to_owned()).collect()
}

/// The queries with a series that is not as it should be; unknown series are another test's.
fn offending(dashboard: &Value, wrong: impl Fn(&Mention<'_>, bool) -> bool) -> Vec<String> {
    let exported = exported();
    let grows = |name: &str| family(name, &exported).is_some_and(|(_, grows)| grows);
    let mut found = Vec::new();
    for (place, expr) in queries(dashboard) {
        if mentions(&expr).iter().any(|it| wrong(it, grows(it.name))) {
            found.push(format!("{place}: {expr}"));
        }
    }
    found
}

fn misplaced(panels: &[Value]) -> Vec<String> {
    let side = |panel: &Value, key: &str| panel["gridPos"][key].as_u64().unwrap();
    let span = |panel: &Value, from, length| {
        let from = side(panel, from);
        from..from + side(panel, length)
    };
    let meet = |a: &Range<u64>, b: &Range<u64>| a.start < b.end && b.start < a.end;
    let mut wrong = Vec::new();
    for (number, one) in panels.iter().enumerate() {
        let (x, y) = (span(one, "x", "w"), span(one, "y", "h"));
        let others = panels[number + 1..].iter();
        let mut over =
            others.filter(|it| meet(&x, &span(it, "x", "w")) && meet(&y, &span(it, "y", "h")));
        if x.end > 24 || x.is_empty() || y.is_empty() || over.next().is_some() {
            wrong.push(text(one, "title").to_owned());
        }
    }
    wrong
}

#[test]
fn the_dashboard_keeps_the_conventions() {
    let dashboard = dashboard();
    assert!(panels(&dashboard).len() > 30, "the panels are found");
    let broken = RULES.iter().flat_map(|(rule, check)| {
        check(&dashboard).into_iter().map(move |place| format!("{rule}: {place}"))
    });
    none_wrong("conventions broken", &broken.collect::<Vec<_>>());
}

/// A mistake for each of the rules, by its number: where it is made, and what stands there.
#[test]
fn a_dashboard_with_a_mistake_is_found_out() {
    let unselective = r#"welcomed_workers{job=~"$job"}"#;
    let unrated = r#"sum(welcomed_messages_total{job=~"$job",instance=~"$instance"})"#;
    let fixed = r#"rate(welcomed_messages_total{job=~"$job",instance=~"$instance"}[5m])"#;
    for (rule, place, value) in [
        (0, "/templating/list/0/label", json!("Data Source")),
        (1, "/templating/list/1/refresh", json!(1)),
        (2, "/panels/1/targets/0/datasource/uid", json!("prometheus")),
        (3, "/panels/1/description", json!("")),
        (4, "/panels/1/fieldConfig/defaults/unit", json!("parsecs")),
        (5, "/panels/1/targets/0/legendFormat", json!("")),
        (6, "/panels/1/targets/0/expr", json!(unselective)),
        (7, "/panels/1/targets/0/expr", json!(unrated)),
        (7, "/panels/1/targets/0/expr", json!(fixed)),
        (8, "/editable", json!(true)),
        (9, "/panels/2/id", json!(2)),
        (10, "/panels/2/gridPos/x", json!(1)),
        (10, "/panels/6/gridPos/w", json!(5)),
        (11, "/panels/0/collapsed", json!(true)),
    ] {
        let mut dashboard = dashboard();
        *dashboard.pointer_mut(place).unwrap() = value;
        let broken: Vec<_> =
            (0..RULES.len()).filter(|it| !RULES[*it].1(&dashboard).is_empty()).collect();
        assert_eq!(broken, [rule], "{place}: {}", RULES[rule].0);
    }
}
