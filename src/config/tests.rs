//! Loads from made-up sources: nothing here touches the process's environment.

use super::{File, KEYS, Key, LogFormat, Origin, ServiceKind, Settings, StuckAction, load};
use crate::protocol::Framing;
use crate::server::{Address, MAX_WORKERS, Options, Overload, default_workers};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

/// Loads `text` as `test.toml`, environment variables without their prefix, and flags.
fn load_all(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Settings, String> {
    let environment =
        environment.iter().map(|(name, value)| (format!("WELCOMED_{name}").into(), value.into()));
    let flags = flags.iter().map(|(name, value)| {
        let key = KEYS.iter().find(|key| key.flag == Some(name)).expect("a flag of the table");
        (key, (*value).to_owned())
    });
    let file = File { name: "test.toml", text };
    load(Some(file), environment, flags).map_err(|error| error.to_string())
}

fn load_text(text: &str) -> Result<Settings, String> {
    load_all(text, &[], &[])
}

/// Everything in the settings but where it came from. A new field must be named here.
fn values(settings: &Settings) -> impl PartialEq + fmt::Debug {
    let Settings {
        listen,
        socket_mode,
        metrics_listen,
        metrics_allow,
        stuck_action,
        workers,
        service,
        work_delay,
        log_level,
        log_format,
        engine,
        origins: _,
        warnings: _,
    } = settings.clone();
    let metrics = (metrics_listen, metrics_allow, stuck_action, socket_mode);
    (listen, metrics, workers, service, work_delay, log_level, log_format, engine)
}

fn key(path: &str) -> &'static Key {
    KEYS.iter().find(|key| key.path == path).expect("a key of the table")
}

#[test]
fn names_are_unique_and_well_formed() {
    let mut names = BTreeSet::new();
    let mut sections = Vec::new();
    for key in KEYS {
        assert!(names.insert(key.path.to_owned()), "{} is there twice", key.path);
        assert!(names.insert(key.variable()), "{} is there twice", key.variable());
        assert!(key.flag.is_none_or(|flag| names.insert(format!("--{flag}"))), "{key:?}");
        let lower = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(lower(key.section()) && lower(key.name()), "{key:?}");
        assert!(!key.section().is_empty() && !key.name().is_empty(), "{key:?}");
        // The first line is the short help; details stand behind an empty line.
        let short = key.help.lines().next().unwrap_or_default();
        assert!(!short.is_empty() && short.len() < 80, "{key:?}");
        assert!(key.help.lines().nth(1).is_none_or(str::is_empty), "{key:?}");
        if sections.last() != Some(&key.section()) {
            assert!(!sections.contains(&key.section()), "{} comes in pieces", key.section());
            sections.push(key.section());
        }
        // Kubernetes sets these for a service of the name `welcomed`.
        let variable = key.variable();
        for injected in ["WELCOMED_SERVICE_HOST", "WELCOMED_SERVICE_PORT", "WELCOMED_PORT"] {
            assert!(!variable.starts_with(injected), "{variable}");
        }
    }
}

#[test]
fn no_source_gives_the_defaults() {
    let settings = load(None, [], []).unwrap();
    assert_eq!(settings.options(), Options::default());
    assert_eq!(settings.options().workers, default_workers());
    assert!(KEYS.iter().all(|key| *settings.origin(key) == Origin::Default));
    assert!(!settings.max_connections_is_explicit());
    assert!(settings.warnings().is_empty());
    assert!(!settings.to_toml().contains('#'), "{}", settings.to_toml());
}

/// A file with no key at its default.
const UNUSUAL: &str = r#"
[server]
listen = ["127.0.0.1:0", "127.0.0.1:0", '[::1]:80', 'unix:/run/a "quoted\path".sock']
backlog = 0x10
socket_mode = "0660"
[limits]
max_connections = 1_000
max_connections_per_ip = 5
allow = ["10.0.0.0/8", "192.0.2.7"]
deny = ["10.9.0.0/16"]
max_pending_output = "2MiB"
[timeouts]
idle = "1h"
message = "20s"
write = "21s"
linger = "0s"
max_age = "10m"
tcp_keepalive = "off"
tcp_user = "30s"
[overload]
policy = "wait"
max_queue_wait = "250ms"
[drain]
delay = "5s"
timeout = "1m"
[pool]
workers = 8
stuck_after = "1m"
stuck_action = "abort"
[service]
kind = "echo"
framing = "raw"
work_delay = "1s 500ms"
max_message = "1.5KiB"
[metrics]
listen = "off"
allow = ["10.0.0.0/8", "fd00::1"]
[log]
level = "off"
format = "json"
connections = "trace"
"#;

#[test]
fn every_key_of_a_file_arrives() {
    let settings = load_text(UNUSUAL).unwrap();
    assert_eq!(
        settings.options(),
        Options {
            workers: 8,
            framing: Framing::Raw,
            max_message: 1536,
            max_connections: 1000,
            max_connections_per_ip: Some(5),
            allow: ["10.0.0.0/8", "192.0.2.7"].map(|net| net.parse().unwrap()).to_vec(),
            deny: vec!["10.9.0.0/16".parse().unwrap()],
            overload: Overload::Wait,
            max_queue_wait: Some(Duration::from_millis(250)),
            max_pending_output: 2 << 20,
            idle_timeout: Duration::from_secs(3600),
            message_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(21),
            linger_timeout: Duration::ZERO,
            max_age: Some(Duration::from_secs(600)),
            tcp_keepalive: None,
            tcp_user_timeout: Some(Duration::from_secs(30)),
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(60),
            stuck_after: Duration::from_secs(60),
            backlog: 16,
            thread_prefix: String::new(),
            connection_log: log::Level::Trace,
        }
    );
    let listen: Vec<_> = settings.listen.iter().map(Address::to_string).collect();
    let expected = ["127.0.0.1:0", "127.0.0.1:0", "[::1]:80", r#"unix:/run/a "quoted\path".sock"#];
    assert_eq!(listen, expected);
    assert_eq!(settings.socket_mode, Some(0o660));
    assert_eq!(settings.metrics_listen, None);
    let allowed: Vec<_> = settings.metrics_allow.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["10.0.0.0/8", "fd00::1/128"]);
    assert_eq!(settings.service, ServiceKind::Echo);
    assert_eq!(settings.stuck_action, StuckAction::Abort);
    assert_eq!(settings.work_delay, Duration::from_millis(1500));
    assert_eq!(settings.log_level, log::LevelFilter::Off);
    assert_eq!(settings.log_format, LogFormat::Json);
    for key in KEYS {
        assert!(matches!(settings.origin(key), Origin::File { .. }), "{key:?}");
        assert_ne!(
            key.value(&settings).toml(),
            key.value(&Settings::default()).toml(),
            "{key:?} should not be at its default here"
        );
    }
}

#[test]
fn what_is_shown_loads_again() {
    for text in [UNUSUAL, "", "[service]\nmax_message = 1000\nwork_delay = '1ns'"] {
        let settings = load_text(text).unwrap();
        let again = load_text(&settings.to_toml()).unwrap();
        assert_eq!(values(&again), values(&settings), "{}", settings.to_toml());
    }
}

#[test]
fn what_is_shown_loads_again_through_each_source() {
    // A comma separates addresses outside the file, and no path here has one.
    let settings = load_text(UNUSUAL).unwrap();
    let text = |key: &Key| key.value(&settings).to_string();
    let variables = KEYS.iter().map(|key| (key.variable().into(), text(key).into()));
    let from_environment = load(None, variables, []).unwrap();
    assert_eq!(values(&from_environment), values(&settings));
    let from_flags = load(None, [], KEYS.iter().map(|key| (key, text(key)))).unwrap();
    assert_eq!(values(&from_flags), values(&settings));
}

#[test]
fn flags_override_the_environment_and_that_the_file() {
    let file = "[pool]\nworkers = 1\n[service]\nkind = 'echo'\nframing = 'raw'";
    let environment = [("POOL_WORKERS", "2"), ("SERVICE_KIND", "discard")];
    let settings = load_all(file, &environment, &[("workers", "3")]).unwrap();
    assert_eq!(settings.options().workers, 3);
    assert_eq!(settings.service, ServiceKind::Discard);
    assert_eq!(settings.options().framing, Framing::Raw);
    let origin = |path| settings.origin(key(path)).to_string();
    assert_eq!(origin("pool.workers"), "--workers");
    assert_eq!(origin("service.kind"), "WELCOMED_SERVICE_KIND");
    assert_eq!(origin("service.framing"), "test.toml:5");
    assert_eq!(origin("log.level"), "default");

    let settings = load_all(file, &[], &[("workers", "auto")]).unwrap();
    assert_eq!(settings.options().workers, default_workers(), "auto overrides a number");
}

#[test]
fn a_list_is_one_or_several_in_each_source() {
    let two = ["127.0.0.1:1", "[::1]:2"];
    let shown =
        |settings: Settings| -> Vec<_> { settings.listen.iter().map(Address::to_string).collect() };
    let settings = load_text("[server]\nlisten = ['127.0.0.1:1',\n'[::1]:2']").unwrap();
    assert_eq!(shown(settings), two);
    let settings = load_all("", &[("SERVER_LISTEN", "127.0.0.1:1, [::1]:2")], &[]).unwrap();
    assert_eq!(shown(settings), two);
    let settings = load_all("", &[], &[("listen", "127.0.0.1:1,[::1]:2")]).unwrap();
    assert_eq!(shown(settings), two);
    let settings = load_text("[server]\nlisten = 'unix:/a,b'").unwrap();
    assert_eq!(shown(settings), ["unix:/a,b"], "a comma in the file is part of a path");
}

#[test]
fn unknown_variables_are_warned_about() {
    let environment = [
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "9999"),
        ("PORT_9999_TCP_ADDR", "10.0.0.1"),
        ("POOL_WORKER", "3"),
    ];
    let settings = load_all("", &environment, &[]).unwrap();
    assert_eq!(
        settings.warnings(),
        [
            "WELCOMED_POOL_WORKER is no setting and is ignored (did you mean \
             WELCOMED_POOL_WORKERS?)",
            "WELCOMED_PORT_9999_TCP_ADDR is no setting and is ignored",
            "WELCOMED_SERVICE_HOST is no setting and is ignored",
            "WELCOMED_SERVICE_PORT is no setting and is ignored",
        ]
    );
    let others = [(OsString::from("PATH"), OsString::new())];
    assert!(load(None, others, []).unwrap().warnings().is_empty());
}

#[test]
fn all_that_is_wrong_is_reported_source_by_source() {
    let file = "[pool]\nworkers = 0\n[metrics]\nlisten = 1\n[pol]\n";
    let environment = [("POOL_WORKERS", ""), ("LOG_LEVEL", "loud\n")];
    let wrong = load_all(file, &environment, &[("workers", "many")]).unwrap_err();
    let workers = format!("allowed: `auto` or a whole number from 1 to {MAX_WORKERS}");
    let expected = [
        format!("test.toml:2: pool.workers: `0` is not valid; {workers}"),
        "test.toml:4: metrics.listen: `1` is not valid; allowed: `off` or an address such as \
         `127.0.0.1:9999`, `[::1]:9999` or `unix:/path`"
            .to_owned(),
        "test.toml:5: unknown section `[pol]` (did you mean `[pool]`?); allowed: `[server]`, \
         `[limits]`, `[timeouts]`, `[overload]`, `[drain]`, `[pool]`, `[service]`, \
         `[metrics]` or `[log]`"
            .to_owned(),
        "WELCOMED_LOG_LEVEL: `loud\\n` is not valid; allowed: `off`, `error`, `warn`, `info`, \
         `debug` or `trace`"
            .to_owned(),
        format!("WELCOMED_POOL_WORKERS: nothing is not valid; {workers}"),
        format!("--workers: `many` is not valid; {workers}"),
    ];
    assert_eq!(wrong.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn sizes_are_binary_and_their_bounds_hold() {
    let size = |text: &str| load_all("", &[("SERVICE_MAX_MESSAGE", text)], &[]);
    for (text, bytes) in
        [("1", 1), ("1b", 1), ("2 kib", 2048), ("0.5KiB", 512), ("1023KiB", 1023 << 10)]
    {
        assert_eq!(size(text).unwrap().options().max_message, bytes, "{text}");
    }
    for text in ["0", "64KB", "64K", "1e3", "-1", "KiB", "2GiB", "99999999999999999999"] {
        let wrong = size(text).unwrap_err();
        assert!(wrong.contains(&format!("`{text}` is not valid")), "{text}: {wrong}");
    }
}

#[test]
fn a_message_must_fit_a_reply() {
    let room = Options::default().max_pending_output - 64;
    let text = format!("[service]\nmax_message = {room}");
    assert_eq!(load_text(&text).unwrap().options().max_message, room);
    let text = format!("[service]\nmax_message = {}", room + 1);
    assert!(load_text(&text).unwrap_err().starts_with("test.toml:2: service.max_message: "));
}

#[test]
fn addresses_must_differ_unless_the_kernel_chooses() {
    let twice = load_all("", &[("SERVER_LISTEN", "[::1]:1,[::1]:1")], &[]).unwrap_err();
    assert_eq!(twice, "WELCOMED_SERVER_LISTEN: `[::1]:1` is listed twice");
    assert!(load_all("", &[("SERVER_LISTEN", "[::1]:0,[::1]:0")], &[]).is_ok());

    let same = load_all("", &[], &[("metrics-listen", "127.0.0.1:9999")]).unwrap_err();
    let expected = "--metrics-listen: `127.0.0.1:9999` is also an address of server.listen (by \
                    default); allowed: another address, port 0 or `off`";
    assert_eq!(same, expected);
    let same = load_all("", &[], &[("listen", "127.0.0.1:9998")]).unwrap_err();
    assert!(same.starts_with("metrics.listen (default): "), "{same}");
    assert!(same.contains("server.listen (--listen)"), "{same}");
    assert!(
        load_all("", &[], &[("listen", "[::1]:0"), ("metrics-listen", "[::1]:0")]).is_ok(),
        "two free ports"
    );
}

#[test]
fn a_file_name_stays_on_its_line() {
    let file = File { name: "a\nb.toml", text: "[pool]\nworkers = 3" };
    let settings = load(Some(file), [], []).unwrap();
    assert_eq!(settings.origin(key("pool.workers")).to_string(), "a\\nb.toml:2");
    assert!(load_text(&settings.to_toml()).is_ok());
}

#[test]
fn a_chosen_number_of_connections_is_known_as_such() {
    let same_as_default = format!("[limits]\nmax_connections = {}", 10_000);
    assert!(load_text(&same_as_default).unwrap().max_connections_is_explicit());
    assert!(!load_text("[limits]").unwrap().max_connections_is_explicit());
}

#[test]
fn the_chosen_service_is_built_with_its_delay() {
    use crate::service::{Context, Flow, Peer, Reply};
    let answer = |text: &str| {
        let service = load_text(text).unwrap().build_service().0;
        let (mut out, mut state) = (Vec::new(), None);
        let mut context = Context::new(1, Peer::Unix, false, &mut state);
        let start = std::time::Instant::now();
        let flow = service.call(&mut context, b"Ann", &mut Reply::new(&mut out, 100)).unwrap();
        (flow, String::from_utf8(out).unwrap(), start.elapsed() >= Duration::from_millis(5))
    };
    let delayed = "[service]\nwork_delay = '5ms'\nkind =";
    assert_eq!(answer(&format!("{delayed}'hello'")), (Flow::Continue, "Hello, Ann!".into(), true));
    assert_eq!(answer(&format!("{delayed}'echo'")), (Flow::Continue, "Ann".into(), true));
    assert_eq!(answer(&format!("{delayed}'discard'")), (Flow::Silent, String::new(), true));
}
