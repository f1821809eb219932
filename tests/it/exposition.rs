//! The text that `/metrics` serves, as a whole: what Prometheus' own linter says of it, that the
//! names and help texts that dashboards rely on stay as they are, and that nothing jumps about.

use crate::support::Daemon;
use prometheus::{Registry, TextEncoder};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use welcomed::metrics::{Distribution, ListenerStats, Snapshot, collector, process_collector};
use welcomed::server::Server;
use welcomed::service::Hello;

/// A real server that has just been made: every label value that it knows, at zero.
fn at_start() -> Snapshot {
    Server::builder().listen("127.0.0.1:0").unwrap().build(Hello).unwrap().handle().stats()
}

fn exposition(registry: &Registry) -> String {
    TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

fn registry_of(snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) -> Registry {
    let registry = Registry::new();
    registry.register(collector("welcomed", snapshot).unwrap()).unwrap();
    registry.register(process_collector().unwrap()).unwrap();
    registry
}

/// The samples, by name and labels.
fn samples(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).collect()
}

#[test]
fn prometheus_own_linter_has_nothing_to_say() {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match spawned {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(env::var("CI").as_deref() != Ok("true"), "CI has to have promtool");
            eprintln!("skipped: no promtool here (it comes with Debian's package `prometheus`)");
            return;
        }
        spawned => spawned.unwrap(),
    };
    let text = exposition(&registry_of(at_start));
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}\n{text}", output.status);
    assert_eq!(String::from_utf8_lossy(&said), "", "{text}");
}

/// A family that a server which has just begun has no sample of, as the golden file has it.
const ABSENT_AT_START: &str = "# HELP welcomed_pool_recommended_workers Worker count the advisor \
    suggests for the last window; absent until it has enough samples.\n\
    # TYPE welcomed_pool_recommended_workers gauge\nwelcomed_pool_recommended_workers\n";

/// Names, help texts, types, labels, buckets and their order. After a wanted change,
/// `WELCOMED_GOLDEN=1 cargo test --test it golden` writes the file anew.
#[test]
fn the_golden_file_is_what_is_exported() {
    let text = crate::endpoint::get(Daemon::serve(&[]).metrics.unwrap(), "/metrics").1;
    let mut ours = String::new();
    for line in text.lines().filter(|line| line.contains("welcomed_")) {
        // Of a sample the number is no interface; the build's labels are no constants.
        let fixed = match line.starts_with('#') {
            true => line,
            false => line.rsplit_once(' ').unwrap().0,
        };
        let fixed = fixed.split("{version=").next().unwrap();
        ours += fixed.split("{hash=").next().unwrap();
        ours += "\n";
    }
    // Families stand in the order of their names.
    let later = ours.match_indices("# HELP ").find(|(at, _)| ours[*at..] > *ABSENT_AT_START);
    ours.insert_str(later.unwrap().0, ABSENT_AT_START);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/metrics.txt");
    if env::var_os("WELCOMED_GOLDEN").is_some() {
        fs::write(path, &ours).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap();
    assert_eq!(ours, golden, "dashboards and alerts use these names");
}

#[test]
fn the_process_metrics_have_their_official_names_and_texts() {
    let text = exposition(&registry_of(at_start));
    for (name, kind, help) in [
        (
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
        ),
        ("process_open_fds", "gauge", "Number of open file descriptors."),
        ("process_max_fds", "gauge", "Maximum number of open file descriptors."),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes."),
        (
            "process_virtual_memory_max_bytes",
            "gauge",
            "Maximum amount of virtual memory available in bytes.",
        ),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes."),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
        ),
        ("process_threads", "gauge", "Number of OS threads in the process."),
    ] {
        let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} ");
        assert!(text.contains(&head), "{head:?} in\n{text}");
    }
}

#[test]
fn before_the_first_client_every_series_is_there_and_nothing_has_happened() {
    let text = exposition(&registry_of(at_start));
    let counted: Vec<_> = samples(&text)
        .into_iter()
        .filter(|(name, _)| name.starts_with("welcomed_"))
        .filter(|(name, _)| !name.contains("_limit") && !name.contains("build_info"))
        .collect();
    assert!(counted.len() > 100, "{}", counted.len());
    for (name, value) in counted {
        assert_eq!(value, "0", "{name}");
    }
    // The budget of a server with one listener.
    let series = samples(&text).len();
    assert!(series <= 250, "{series} series");
}

/// One value in the first bucket, `above` values above all bounds.
fn spread(above: u64) -> Distribution {
    let mut counts = vec![1, 0];
    counts.push(above);
    Distribution { bounds: &[0.5, 2.5], counts, sum: above as f64 }
}

/// Every number another one.
fn distinct() -> Snapshot {
    Snapshot {
        workers: 1,
        workers_limit: 2,
        workers_busy: 3,
        parked: 4,
        queued: 5,
        active: 6,
        closing: 7,
        connections_limit: 8,
        accepted: vec![ListenerStats {
            listener: "a".to_owned(),
            accepted: 9,
            backlog: Some((20, 21)),
        }],
        rejected: vec![("max_connections", 10)],
        closed: vec![("idle", 11), ("client", 12)],
        messages: (1 << 53) - 1,
        message_errors: vec![("panic", 13)],
        received_bytes: 1 << 53,
        sent_bytes: 14,
        handler_panics: 15,
        ready: true,
        worker_busy_seconds: 16.5,
        worker_turns: 17,
        worker_restarts: 18,
        saturated_seconds: 19.25,
        resizes: vec![("grow", 22), ("shrink", 23)],
        queue_limit: 24,
        parks: 25,
        accept_errors: vec![("emfile", 26)],
        accept_pauses: vec![("fd", 27)],
        accept_paused_seconds: 28.125,
        queue_wait: spread(1),
        handler_time: spread(2),
        handler_seconds_squared: 29.5,
        write_time: spread(3),
        connection_duration: spread(4),
        worker_turns_now: Vec::new(),
        draining: true,
        workers_overdue: 29,
        queue_shed: 30,
    }
}

/// The samples of [`distinct`], without the histograms.
const DISTINCT: &[(&str, &str)] = &[
    ("workers", "1"),
    ("workers_limit", "2"),
    ("workers_busy", "3"),
    ("draining", "1"),
    ("workers_overdue", "29"),
    ("queue_shed_total{reason=\"late\"}", "30"),
    ("connections{state=\"parked\"}", "4"),
    ("connections{state=\"queued\"}", "5"),
    ("connections{state=\"active\"}", "6"),
    ("connections{state=\"closing\"}", "7"),
    ("connections_limit", "8"),
    ("connections_accepted_total{listener=\"a\"}", "9"),
    ("connections_rejected_total{reason=\"max_connections\"}", "10"),
    ("connections_closed_total{reason=\"idle\"}", "11"),
    ("connections_closed_total{reason=\"client\"}", "12"),
    ("messages_total", "9007199254740991"),
    ("message_errors_total{reason=\"panic\"}", "13"),
    ("received_bytes_total", "9007199254740992"),
    ("sent_bytes_total", "14"),
    ("handler_seconds_squared_total", "29.5"),
    ("handler_panics_total", "15"),
    ("ready", "1"),
    ("worker_busy_seconds_total", "16.5"),
    ("worker_turns_total", "17"),
    ("worker_restarts_total", "18"),
    ("pool_saturated_seconds_total", "19.25"),
    ("listen_backlog{listener=\"a\"}", "20"),
    ("listen_backlog_limit{listener=\"a\"}", "21"),
    ("pool_resizes_total{direction=\"grow\"}", "22"),
    ("pool_resizes_total{direction=\"shrink\"}", "23"),
    ("queue_limit", "24"),
    ("connection_parks_total", "25"),
    ("accept_errors_total{code=\"emfile\"}", "26"),
    ("accept_pauses_total{cause=\"fd\"}", "27"),
    ("accept_paused_seconds_total", "28.125"),
];

#[test]
fn every_number_is_exported_under_its_own_name() {
    let registry = Registry::new();
    registry.register(collector("other_name", distinct).unwrap()).unwrap();
    let text = exposition(&registry);
    let mut samples = samples(&text);
    samples.retain(|name, _| !name.starts_with("other_name_build_info{version=\""));
    let mut expected: Vec<(String, String)> = DISTINCT
        .iter()
        .map(|(name, value)| (format!("other_name_{name}"), (*value).to_owned()))
        .collect();
    for (name, labels, above) in [
        ("queue_wait_seconds", "", 1),
        ("message_duration_seconds", "phase=\"handler\"", 2),
        ("message_duration_seconds", "phase=\"write\"", 3),
        ("connection_duration_seconds", "", 4),
    ] {
        let (comma, braced) = match labels {
            "" => ("", String::new()),
            labels => (",", format!("{{{labels}}}")),
        };
        for (bound, count) in [("0.5", 1), ("2.5", 1), ("+Inf", 1 + above)] {
            let name = format!("other_name_{name}_bucket{{{labels}{comma}le=\"{bound}\"}}");
            expected.push((name, count.to_string()));
        }
        expected.push((format!("other_name_{name}_sum{braced}"), above.to_string()));
        expected.push((format!("other_name_{name}_count{braced}"), (1 + above).to_string()));
    }
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(name, v)| (name.as_str(), v.as_str())).collect();
    assert_eq!(samples, expected);
    // The prefix reaches the help texts that name another metric.
    assert!(text.contains("never above other_name_workers.") && !text.contains("{prefix}"));
}

#[test]
fn the_build_is_described() {
    let text = exposition(&registry_of(at_start));
    let line = text.lines().find(|line| line.starts_with("welcomed_build_info")).unwrap();
    let labels = line.strip_prefix("welcomed_build_info{").unwrap().strip_suffix("} 1").unwrap();
    let labels: Vec<_> = labels.split(',').map(|pair| pair.split_once('=').unwrap()).collect();
    let names: Vec<_> = labels.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["version", "revision", "rustc", "target"]);
    assert_eq!(labels[0].1, concat!("\"", env!("CARGO_PKG_VERSION"), "\""));
    assert!(labels[2].1.starts_with("\"1."), "{line}");
    assert!(labels[3].1.contains(env::consts::ARCH), "{line}");
}

#[test]
fn scrapes_have_the_same_lines_in_the_same_order() {
    let scrapes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&scrapes);
    let registry = registry_of(move || {
        let mut snapshot = at_start();
        // The order in which the server lists its reasons is no promise.
        if counted.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            snapshot.closed.reverse();
            snapshot.message_errors.reverse();
        }
        snapshot
    });
    let names = || -> Vec<String> {
        let text = exposition(&registry);
        let name = |line: &str| match line.starts_with('#') {
            true => line.to_owned(),
            false => line.rsplit_once(' ').unwrap().0.to_owned(),
        };
        text.lines().map(name).collect()
    };
    let first = names();
    for _ in 0..10 {
        assert_eq!(names(), first);
    }
    assert_eq!(scrapes.load(Ordering::Relaxed), 11, "one reading per scrape");
}

#[test]
fn a_prefix_that_makes_no_names_is_refused_and_so_is_the_same_one_twice() {
    for prefix in ["9lives", "with-dash", "with space", "\u{e9}"] {
        assert!(collector(prefix, Snapshot::default).is_err(), "{prefix}");
    }
    let registry = registry_of(at_start);
    assert!(registry.register(collector("welcomed", at_start).unwrap()).is_err());
    assert!(registry.register(collector("welcomed_client", at_start).unwrap()).is_ok());
}
