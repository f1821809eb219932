//! Reloads: what changes while the server runs, what is refused, and that nothing is lost by it.

use crate::endpoint::scrape;
use crate::faults::base::Base;
use crate::services::Gate;
use crate::support::{CleanEnv, Client, Daemon, SERVE, TestServer, count, eventually, short, talk};
use crossbeam_channel::bounded;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use welcomed::protocol::Framing;
use welcomed::server::{Options, Overload};
use welcomed::service::Hello;

fn options(workers: usize) -> Options {
    Options { workers, framing: Framing::Line, ..Options::default() }
}

#[test]
fn new_options_hold_for_those_who_are_there_already() {
    let server = TestServer::start(options(2), Hello);
    let mut parked = server.connect();
    parked.expect("Welcome!");
    let mut half = server.connect();
    half.expect("Welcome!");
    half.send("An");
    let mut talking = server.connect();
    talking.expect("Welcome!");
    let longer = Options { max_message: 3, ..options(1) };
    server.handle.reload(longer).unwrap();
    server.until("one worker left", |stats| (stats.workers, stats.workers_limit) == (1, 1));
    talk(&mut talking, &["Ann"]);
    assert_eq!(talking.send("Anna\n").rest(), "Message too long (limit 3 bytes).\n");
    let impatient = Options { idle_timeout: short(200), message_timeout: short(100), ..options(1) };
    server.handle.reload(impatient).unwrap();
    assert_eq!(parked.rest(), "");
    assert_eq!(half.rest(), "");
    drop((parked, half));
    server.until("closed for these reasons", |stats| {
        (count(&stats.closed, "idle"), count(&stats.closed, "read_timeout")) == (1, 1)
    });
}

/// Each of two changes is of options and crew together.
#[test]
fn resizes_at_once_leave_options_and_pool_in_agreement() {
    let server = TestServer::start(options(1), Hello);
    thread::scope(|scope| {
        for first in [1, 2] {
            let handle = &server.handle;
            scope.spawn(move || {
                for workers in (first..8).step_by(2).cycle().take(2000) {
                    handle.resize(workers).unwrap();
                }
            });
        }
    });
    let workers = server.handle.options().workers;
    assert_eq!(server.stats().workers_limit, workers);
    server.until("so many", |stats| stats.workers == workers);
    talk(server.connect().expect("Welcome!"), &["Ann"]);
}

#[test]
fn what_cannot_change_is_refused_and_nothing_else_changes() {
    let server = TestServer::start(Options { max_connections: 10, ..options(2) }, Hello);
    let same = || Options { max_connections: 10, ..options(2) };
    for (name, new) in [
        ("framing", Options { framing: Framing::Raw, workers: 3, ..same() }),
        ("backlog", Options { backlog: 7, workers: 3, ..same() }),
        ("thread_prefix", Options { thread_prefix: "x".into(), workers: 3, ..same() }),
        ("max_connections = 11", Options { max_connections: 11, workers: 3, ..same() }),
        ("workers = 0", Options { workers: 0, ..same() }),
    ] {
        let refused = server.handle.reload(new).unwrap_err().to_string();
        assert!(refused.contains(name), "{name}: {refused}");
        assert_eq!(server.handle.options(), same());
    }
    assert_eq!(server.stats().workers_limit, 2);
}

#[test]
fn fewer_connections_close_none_and_up_to_the_first_number_they_may_be_more_again() {
    let server = TestServer::start(Options { max_connections: 3, ..options(1) }, Hello);
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("Welcome!");
    }
    let at_most = |max_connections| Options { max_connections, ..options(1) };
    server.handle.reload(at_most(1)).unwrap();
    talk(&mut clients[2], &["still here"]);
    drop(clients.split_off(1));
    server.until("two have left", |stats| stats.parked == 1);
    assert_eq!(server.connect().rest(), "Busy, try again later.\n");
    server.handle.reload(at_most(2)).unwrap();
    // Until the accept loop has seen the new options, it refuses.
    eventually("one more", || server.connect().line() == "Welcome!\n");
    assert_eq!(server.stats().queue_limit, 3);
}

/// Clients who talk without pause while the pool goes up and down.
fn talking<T>(address: SocketAddr, clients: usize, meanwhile: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..clients {
            let over = &over;
            scope.spawn(move || {
                let mut client = Client::connect(address);
                client.expect("Welcome!");
                for n in 0.. {
                    let names = [0, 1, 2].map(|k| format!("{number}-{n}-{k}"));
                    client.send(names.join("\n") + "\n");
                    for name in names {
                        client.expect(&format!("Hello, {name}!"));
                    }
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    // A pace that leaves the machine time for the reloads.
                    thread::sleep(short(2));
                }
                assert_eq!(client.send("exit\n").rest(), "");
            });
        }
        // Also if it panics: nobody waits for clients that never end.
        let _end = Over(&over);
        meanwhile()
    })
}

/// Its end is what the clients look for.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The program; without root's privilege to read what nobody may read.
fn heedful() -> Command {
    let program = env!("CARGO_BIN_EXE_welcomed");
    let privileged =
        Command::new("setpriv").arg("--bounding-set=-dac_override").arg("true").output();
    if !privileged.is_ok_and(|output| output.status.success()) {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let without = "-dac_override,-dac_read_search";
    command.args([format!("--bounding-set={without}"), format!("--inh-caps={without}")]);
    command.arg(program);
    command
}

/// A daemon with a file of its own.
struct Configured {
    daemon: Daemon,
    file: PathBuf,
    _folder: TempDir,
}

impl Configured {
    fn serve(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("welcomed.toml");
        fs::write(&file, text).unwrap();
        let mut command = heedful();
        command.args(SERVE).args(["--framing", "line", "--config"]).arg(&file);
        let daemon = Daemon::start(command.clean_env().stdin(Stdio::null()));
        Self { daemon, file, _folder: folder }
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        self.be_gone();
        fs::write(&self.file, text).unwrap();
    }

    fn be_gone(&self) {
        // Whatever it is now, if anything.
        fs::remove_file(&self.file).or_else(|_| fs::remove_dir(&self.file)).ok();
    }

    fn be_a_folder(&self) {
        self.be_gone();
        fs::create_dir(&self.file).unwrap();
    }

    fn scrape(&self) -> BTreeMap<String, f64> {
        scrape(self.daemon.metrics.unwrap())
    }

    fn metric(&self, name: &str) -> f64 {
        self.scrape()[name]
    }

    /// Sends SIGHUP and waits until it was seen to.
    fn reload(&self) {
        let before = self.metric("welcomed_config_reloads_total");
        self.daemon.signal("HUP");
        eventually("reloaded", || self.metric("welcomed_config_reloads_total") > before);
    }
}

#[test]
fn a_thousand_reloads_good_and_bad_lose_no_reply() {
    let server = Configured::serve("[pool]\nworkers = 4\n");
    let base = Base::of(&server.daemon);
    let mut workers = 4;
    talking(server.daemon.service, 8, || {
        for n in 0..1000_u32 {
            let good = n % 4 > 0;
            match (good, n / 4 % 4) {
                (true, _) => {
                    workers = 1 + n.wrapping_mul(2_654_435_761) % 64;
                    server.write(format!("[pool]\nworkers = {workers}\n"));
                }
                (_, 0) => server.write("[pool]\nworkers = 3\nwrokers = 3\n"),
                (_, 1) => server.write("# ".repeat(1 << 20)),
                (_, 2) => server.be_a_folder(),
                _ => server.be_gone(),
            }
            server.reload();
            let samples = server.scrape();
            let succeeded = samples["welcomed_config_last_reload_successful"];
            assert_eq!(succeeded, f64::from(u8::from(good)), "reload {n}");
            assert_eq!(samples["welcomed_workers_limit"], f64::from(workers), "reload {n}");
        }
    });
    assert_eq!(server.scrape()["welcomed_config_reload_failures_total"], 250.0);
    server.write("[pool]\nworkers = 4\n");
    server.reload();
    eventually("as many as at the start", || server.scrape()["welcomed_workers"] == 4.0);
    base.is_restored(&server.daemon);
    let (status, said) = server.daemon.stop();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_blocked_worker_leaves_when_it_returns() {
    let (release, gate) = bounded::<()>(0);
    let server = TestServer::start(options(2), Gate::new("wait", gate));
    let mut blocks: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut blocks {
        client.send("wait\n");
    }
    server.until("both are in a call", |stats| stats.workers_busy == 2);
    server.handle.resize(1).unwrap();
    server.until("asked", |stats| stats.workers_limit == 1);
    assert_eq!(server.stats().workers, 2, "a call is not cut short");
    drop(release);
    for client in &mut blocks {
        client.expect("wait");
    }
    server.until("one has left", |stats| stats.workers == 1);
    assert_eq!(count(&server.stats().resizes, "shrink"), 1);
}

#[test]
fn what_a_reload_changes_is_in_force_at_once() {
    let server = Configured::serve("[pool]\nworkers = 2\n");
    let mut old = server.daemon.connect();
    old.expect("Welcome!");
    talk(&mut old, &["before"]);
    let text = "[pool]\nworkers = 5\n[service]\nmax_message = 8\nwork_delay = '1ms'\n\
                [limits]\nmax_connections = 2\n[log]\nlevel = 'debug'\n[timeouts]\nidle = '1h'\n";
    server.write(text);
    let since = server.metric("welcomed_config_last_reload_success_timestamp_seconds");
    server.reload();
    let after = scrape(server.daemon.metrics.unwrap());
    assert_eq!(after["welcomed_workers_limit"], 5.0);
    assert_eq!(after["welcomed_connections_limit"], 2.0);
    assert_eq!(after["welcomed_config_last_reload_successful"], 1.0);
    assert!(after["welcomed_config_last_reload_success_timestamp_seconds"] > since);
    talk(&mut old, &["after"]);
    let mut second = server.daemon.connect();
    second.expect("Welcome!");
    assert_eq!(server.daemon.connect().rest(), "Busy, try again later.\n");
    assert_eq!(second.send("far too long\n").rest(), "Message too long (limit 8 bytes).\n");
    drop(old);
    let (status, said) = server.daemon.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("the configuration was reloaded"), "{said}");
    assert!(said.contains("DEBUG"), "the log's level too: {said}");
}

#[test]
fn a_reload_that_is_wrong_changes_nothing_and_says_why_in_one_line() {
    let server = Configured::serve("[pool]\nworkers = 2\n");
    let mut client = server.daemon.connect();
    client.expect("Welcome!");
    let service = server.daemon.service;
    let started = server.metric("welcomed_config_last_reload_success_timestamp_seconds");
    let wrong: [(Vec<u8>, &str); 9] = [
        (b"[pool\n".into(), "welcomed.toml:1: not valid TOML"),
        (b"[pool]\n\nworkers = 0\n".into(), "welcomed.toml:3: pool.workers: `0` is not valid"),
        (b"[pool]\nwrokers = 3\nworkers = 3\n".into(), "welcomed.toml:2: unknown key"),
        ("# ".repeat(1 << 20).into(), "is too long for a configuration"),
        (b"\xff\xfe".into(), "cannot read"),
        (
            b"[pool]\nworkers = 3\n[server]\nbacklog = 7\n".into(),
            "welcomed.toml:4: server.backlog: changing 1024 to 7 needs a restart",
        ),
        (b"[service]\nkind = 'echo'\n".into(), "service.kind: changing \"hello\" to \"echo\""),
        (
            b"[limits]\nmax_connections = 10001\n".into(),
            "welcomed.toml:2: limits.max_connections: 10001 is more than the 10000",
        ),
        (b"[limits]\nmax_connections = 1000000\n".into(), "limits.max_connections = 1000000 needs"),
    ];
    for (text, _) in &wrong {
        server.write(text);
        server.reload();
        assert_eq!(server.metric("welcomed_config_last_reload_successful"), 0.0);
        talk(&mut client, &["still here"]);
    }
    let success = "welcomed_config_last_reload_success_timestamp_seconds";
    assert_eq!(server.metric(success), started, "when it last succeeded stands");
    assert_eq!(server.metric("welcomed_config_reload_failures_total"), 9.0);
    assert_eq!(server.metric("welcomed_workers_limit"), 2.0);
    server.write(format!("[pool]\nworkers = 2\n# {service}\n"));
    server.reload();
    assert_eq!(server.metric("welcomed_config_last_reload_successful"), 1.0);
    drop(client);
    let (_, said) = server.daemon.stop();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("was not reloaded")).collect();
    assert_eq!(lines.len(), 9, "{said}");
    for (line, (_, reason)) in lines.iter().zip(&wrong) {
        assert!(line.contains(reason), "{reason}: {line}");
    }
}

#[test]
fn a_reload_whose_file_cannot_be_read_changes_nothing() {
    let server = Configured::serve("[pool]\nworkers = 2\n");
    let mut client = server.daemon.connect();
    client.expect("Welcome!");
    let forbid = |server: &Configured| {
        server.write("[pool]\nworkers = 3\n");
        fs::set_permissions(&server.file, Permissions::from_mode(0o000)).unwrap();
    };
    // Opening it would wait for a writer, and for ever.
    let be_a_pipe = |server: &Configured| {
        server.be_gone();
        assert!(Command::new("mkfifo").arg(&server.file).status().unwrap().success());
    };
    let spoil: [&dyn Fn(&Configured); 4] =
        [&Configured::be_gone, &Configured::be_a_folder, &be_a_pipe, &forbid];
    let reasons = ["No such file", "Is a directory", "it is a pipe", "Permission denied"];
    for spoil in spoil {
        spoil(&server);
        server.reload();
        assert_eq!(server.metric("welcomed_config_last_reload_successful"), 0.0);
        assert_eq!(server.metric("welcomed_workers_limit"), 2.0);
        talk(&mut client, &["still here"]);
    }
    server.write("[pool]\nworkers = 3\n");
    server.reload();
    assert_eq!(server.metric("welcomed_workers_limit"), 3.0, "once it is mended");
    drop(client);
    let (_, said) = server.daemon.stop();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("was not reloaded")).collect();
    assert_eq!(lines.len(), reasons.len(), "{said}");
    for (line, reason) in lines.iter().zip(reasons) {
        assert!(line.contains("cannot read") && line.contains(reason), "{reason}: {line}");
    }
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    let daemon = Daemon::serve(&["--workers", "2"]);
    daemon.signal("HUP");
    let failures = || scrape(daemon.metrics.unwrap())["welcomed_config_reload_failures_total"];
    eventually("refused", || failures() == 1.0);
    daemon.connect().expect("Welcome!");
    let (status, said) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    assert!(said.contains("the server was started without --config"), "{said}");
}

/// One place given back is then not enough for the next client to be let in.
#[test]
fn a_lower_limit_is_waited_for_as_well() {
    let wait = |max_connections| Options {
        stuck_after: Duration::from_secs(3600),
        max_connections,
        overload: Overload::Wait,
        ..options(4)
    };
    let server = TestServer::start(wait(3), Hello);
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("Welcome!");
    }
    let mut waiting = server.connect();
    server.until("paused", |stats| count(&stats.accept_pauses, "limit") == 1);
    server.handle.reload(wait(1)).unwrap();
    // The accept loop looks by itself for 100 ms after its start; later only who rings wakes it.
    thread::sleep(short(300));
    for left in [2, 1, 0] {
        drop(clients.pop());
        let open = |stats: &welcomed::metrics::Snapshot| stats.open();
        server.until("one has left", |stats| open(stats) <= left.max(1));
    }
    waiting.expect("Welcome!");
    assert_eq!(
        count(&server.stats().accept_pauses, "limit"),
        1,
        "one pause, however often it rang"
    );
}

/// From waiting to refusing, while clients wait: those are refused then.
#[test]
fn a_new_overload_policy_is_for_those_who_wait_too() {
    let wait = Options { max_connections: 1, overload: Overload::Wait, ..options(1) };
    let server = TestServer::start(wait.clone(), Hello);
    let mut first = server.connect();
    first.expect("Welcome!");
    let mut waiting = server.connect();
    server.until("paused", |stats| count(&stats.accept_pauses, "limit") == 1);
    server.handle.reload(Options { overload: Overload::Reject, ..wait }).unwrap();
    assert_eq!(waiting.rest(), "Busy, try again later.\n");
    talk(&mut first, &["Ann"]);
}
