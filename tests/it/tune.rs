//! `welcomed tune`, the real program: what it measures, what it says of it, and its exit codes.

use crate::browser::Browser;
use crate::support::{CleanEnv, PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// `welcomed tune`, short unless the arguments say how long.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
    command.arg("tune");
    for (name, value) in [("--duration", "500ms"), ("--warmup", "100ms")] {
        if !arguments.contains(&name) {
            command.args([name, value]);
        }
    }
    command.args(arguments).clean_env().stdin(Stdio::null());
    command
}

fn tune(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn tune_json(arguments: &[&str]) -> (Value, Output) {
    let output = tune(&[arguments, &["--json", "-"]].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {output:?}");
    });
    (report, output)
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

const FOUR_CLIENTS: [&str; 6] = ["--sweep", "4,1,2", "--connections", "4", "--work-delay", "5ms"];

#[test]
fn more_workers_answer_more_and_the_prediction_knows() {
    let (report, output) = tune_json(&[&FOUR_CLIENTS[..], &["--duration", "1s"]].concat());
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "", "nothing but the report in a pipe");
    let sizes = report["sizes"].as_array().unwrap();
    let workers: Vec<_> = sizes.iter().map(|size| size["workers"].as_u64().unwrap()).collect();
    assert_eq!(workers, [1, 2, 4]);
    let throughput = |at: usize, of: &str| number(&sizes[at][of]["throughput_per_second"]);
    for of in ["measured", "predicted"] {
        let ratio = throughput(2, of) / throughput(0, of);
        assert!(ratio > 1.5, "{of}: {ratio}: {report}");
    }
    for size in sizes {
        let measured = &size["measured"];
        let ratio = number(&measured["throughput_per_second"]) / number(&measured["messages"]);
        assert!((number(&measured["seconds"]) * ratio - 1.0).abs() < 1e-6, "{size}");
        assert!(number(&measured["handler_seconds"]) >= 0.005, "{size}");
        assert!((0.01..1.5).contains(&number(&measured["utilisation"])), "{size}");
        assert!(number(&measured["cpu_utilisation"]) > 0.0, "{size}");
        let errors = measured["errors"].as_object().unwrap();
        assert!(errors.len() > 5 && errors.values().all(|count| *count == 0), "{size}");
        assert_eq!(size["saturated"], false, "a closed loop never is");
    }
    // Three of four clients wait for the one worker, and nobody for the fourth.
    let wait = |at: usize| number(&sizes[at]["measured"]["wait_seconds"]["mean"]);
    assert!(wait(0) > wait(1) && wait(1) > wait(2), "{report}");
    let foretold = number(&sizes[0]["predicted"]["wait_seconds"]["mean"]);
    assert!((0.01..0.5).contains(&foretold), "{report}");
    assert_eq!(sizes[0]["predicted"]["wait_seconds"]["p99"], Value::Null);
    assert!(workers.contains(&report["recommended_workers"].as_u64().unwrap()), "{report}");
    assert_eq!(report["load"]["loop"], "closed");
    // Which one it is depends on how evenly the machine sleeps.
    let wait_from = report["wait_from"].as_str().unwrap();
    assert!(["clients", "server"].contains(&wait_from), "{report}");
}

#[test]
fn the_text_has_table_curves_and_lines_for_the_configuration() {
    let tuned = [&FOUR_CLIENTS[..], &["--target-wait", "1m"]].concat();
    let output = tune(&tuned);
    assert_exit(&output, 0);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("hello, 5ms of work, line framing; 4 connections, closed"), "{text}");
    assert!(text.ends_with("\n\n[pool]\nworkers = 1\n"), "{text}");
    let reason = "1 worker: the smallest of the sizes measured with a mean wait of at most 60 s:";
    assert_eq!(text.matches(reason).count(), 1, "{text}");
    for curve in ["\nThroughput, messages/s ", "\nUtilisation, % ", "\nWait, mean, "] {
        assert_eq!(text.matches(curve).count(), 1, "{text}");
    }
    assert!(!text.contains('⠒') && text.contains("o measured"), "no locale, no braille: {text}");
    let braille = command(&tuned).env("LANG", "C.UTF-8").output().unwrap();
    assert!(String::from_utf8(braille.stdout).unwrap().contains("● measured"));
}

#[test]
fn the_load_is_what_the_arguments_say() {
    let names = tempfile::NamedTempFile::new().unwrap();
    fs::write(names.path(), "Michael\nTracy\n").unwrap();
    let payload = names.path().to_str().unwrap();
    let sweep = ["--sweep", "1", "--connections", "4"];
    let open = ["--rate", "200", "--arrivals", "constant", "--payload", payload];
    for (load, told) in [
        (&open[..], "4 connections, open loop, 200 messages/s, constant arrivals"),
        (&["--think-time", "2ms"], "4 connections, closed loop, think time 2ms"),
    ] {
        let output = tune(&[&sweep, load, &["--target-p99", "1s"]].concat());
        assert_exit(&output, 0);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(told) && text.contains("Wait, p99"), "{text}");
    }
}

#[test]
fn a_rate_beyond_the_workers_is_saturated() {
    let arguments = ["--sweep", "1,16", "--rate", "400", "--work-delay", "10ms"];
    let started = Instant::now();
    let (report, output) = tune_json(&[&arguments[..], &["--target-p99", "2s"]].concat());
    assert_exit(&output, 0);
    assert!(started.elapsed() < PATIENCE, "the backlog is not waited for");
    let [one, many] = [0, 1].map(|at| &report["sizes"][at]);
    assert_eq!((&one["saturated"], &many["saturated"]), (&true.into(), &false.into()), "{report}");
    assert_eq!(one["measured"]["wait_seconds"], Value::Null);
    assert!(number(&many["predicted"]["wait_seconds"]["p99"]) >= 0.0, "{report}");
    assert!(number(&many["measured"]["wait_seconds"]["p99"]) > 0.0, "{report}");
    assert_eq!(report["recommended_workers"], 16, "{report}");
    let ratio = number(&many["measured"]["throughput_per_second"])
        / number(&one["measured"]["throughput_per_second"]);
    assert!(ratio > 1.5, "{report}");
    let text = String::from_utf8(tune(&arguments).stdout).unwrap();
    assert!(text.contains("saturated saturated  saturated saturated"), "{text}");
}

#[test]
fn the_service_is_the_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("welcomed.toml");
    // Neither the addresses nor the admission of the server that is configured are in the way.
    fs::write(
        &config,
        "[server]\nlisten = [\"192.0.2.1:1\"]\n[limits]\nmax_connections = 1\n\
         deny = [\"127.0.0.0/8\"]\n[overload]\nmax_queue_wait = \"1ms\"\n\
         [service]\nkind = \"echo\"\nwork_delay = \"3ms\"\nframing = \"raw\"\n\
         max_message = \"100B\"\n",
    )
    .unwrap();
    let config = ["--config", config.to_str().unwrap(), "--sweep", "1,2", "--connections", "4"];
    let output = tune(&config);
    assert_exit(&output, 0);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("echo, 3ms of work, raw framing; 4 connections"), "{text}");
    let too_long = tune(&[&config[..], &["--payload", "101"]].concat());
    assert_exit(&too_long, 2);
    assert!(stderr(&too_long).contains("max_message: the payload has messages of 101 bytes"));
    let wrong = tune(&[&config[..], &["--expect", "hello"]].concat());
    assert_exit(&wrong, 1);
    assert!(stderr(&wrong).contains("wrong"), "{wrong:?}");
    let text = String::from_utf8(wrong.stdout).unwrap();
    assert!(text.contains("errors with 1 worker: "), "shown all the same: {text}");
    assert!(!text.contains("[pool]"), "and nothing is advised: {text}");
}

#[test]
fn wrong_arguments_are_refused_before_anything_starts() {
    for (arguments, expected) in [
        (&["--sweep", "1,2,1"][..], "1 stands there twice"),
        (&["--sweep", "0,1"], "`0` is no number of workers; allowed are 1 to 4096"),
        (&["--sweep", ""], "is no number of workers"),
        (&["--duration", "10ms"], "it must be at least 300ms"),
        (&["--service", "discard"], "`discard` sends no replies"),
        (&["--config", "/no/such/file"], "cannot read `/no/such/file`"),
        (&["--target-wait", "1s", "--target-p99", "1s"], "cannot be used with"),
        (&["--rate", "10", "--think-time", "1s"], "cannot be used with"),
        (&["--rate", "-1"], "unexpected argument"),
        (&["--rate", "0"], "cannot send 0 messages per second"),
        (&["--connections", "0"], "cannot open 0 connections"),
        (&["--json", "-", "--html", "-"], "only one of the files can be `-`"),
        (&["--html", "/no/such/folder/report"], "cannot write `/no/such/folder/report`"),
    ] {
        let output = tune(arguments);
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn an_interrupt_ends_with_what_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--sweep", "1,2,4", "--work-delay", "1ms", "--connections", "4"];
    let mut child = command(&[&arguments[..], &["--json", "-", "--duration", "1m"]].concat())
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    // Its workers are there only once the signals are caught.
    eventually("the load runs", || {
        let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
        let name = |it: fs::DirEntry| fs::read_to_string(it.path().join("comm")).ok();
        let mut names = threads.filter_map(|it| name(it.ok()?));
        names.any(|name| name.starts_with("load-")) || child.try_wait().unwrap().is_some()
    });
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 3);
    assert_eq!(stderr(&output), "welcomed: tune: interrupted\n");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted"], true);
    assert!(report["sizes"].as_array().unwrap().len() < 3, "{report}");
}

#[test]
fn a_terminal_shows_how_far_it_has_come() {
    let binary = env!("CARGO_BIN_EXE_welcomed");
    let line = format!("{binary} tune --sweep 1,2 -c 4 --work-delay 1ms --duration 500ms");
    let shown = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_exit(&shown, 0);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for size in ["1 worker (1 of 2): ", "2 workers (2 of 2): "] {
        assert!(shown.contains(size), "{shown:?}");
    }
}

#[test]
fn the_page_is_whole_and_a_browser_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let rate = ["--sweep", "1,2,4", "--rate", "300", "--work-delay", "5ms"];
    let output = tune(&[&rate[..], &["--html", path.to_str().unwrap()]].concat());
    assert_exit(&output, 0);
    let page = fs::read_to_string(&path).unwrap();
    assert!(!page.contains("<script") && !page.contains("NaN"), "{page}");
    assert_eq!(page.matches("<figure").count(), 5);
    assert!(page.contains("workers = "), "{page}");

    let Some(browser) = Browser::start() else { return };
    browser.look(1240, 900, true);
    browser.open(&format!("file://{}", path.display()));
    let facts = browser.run(
        "const box = (it) => it.getBoundingClientRect();
         const inside = [...document.querySelectorAll('polyline')].every((line) => {
             const [it, plot] = [box(line), box(line.closest('svg'))];
             return it.width > 50 && it.top >= plot.top - 1 && it.bottom <= plot.bottom + 1;
         });
         const source = new XMLSerializer().serializeToString(document);
         const parsed = new DOMParser().parseFromString(source, 'application/xhtml+xml');
         return { inside, rows: document.querySelectorAll('.sizes tbody tr').length,
                  wellFormed: parsed.querySelector('parsererror') === null,
                  wide: document.documentElement.scrollWidth <= innerWidth }",
        "",
    );
    assert_eq!(facts["inside"], true, "{facts}");
    assert_eq!(facts["rows"], 3, "{facts}");
    assert_eq!(facts["wellFormed"], true, "{facts}");
    assert_eq!(facts["wide"], true, "{facts}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    if let Some(folder) = std::env::var_os("WELCOMED_SCREENSHOTS_BENCH") {
        browser.screenshot(&std::path::Path::new(&folder).join("tune.png"));
    }
}
