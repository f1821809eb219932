//! A world that is not as it should be when the program starts: who started it has closed its
//! standard streams, left signals ignored or blocked, or the machine has no threads left.

use super::base::{Base, Patient, follow, has};
use super::strace::{Injector, Threads, of};
use crate::endpoint::scrape;
use crate::support::{CleanEnv, Daemon, SERVE, eventually, talk};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// A shell that does `first` and then becomes the program.
fn after(first: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{first}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_welcomed")]);
    command.args(SERVE).clean_env().env("PATH", "/usr/bin:/bin");
    command
}

/// The first sockets would get the numbers of the streams, and clients would read the log.
#[test]
fn without_standard_streams_clients_read_nothing_but_their_replies() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("service.sock");
    let mut command = after("exec 0<&- 1>&- 2>&-");
    let listen = format!("unix:{}", socket.display());
    command.args(["--listen", &listen, "--framing", "line", "--log-level", "trace"]);
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let connect = || UnixStream::connect(&socket).ok();
    eventually("it listens", || connect().is_some());
    for _ in 0..20 {
        let mut client = connect().unwrap();
        client.write_all(b"Ann\nexit\n").unwrap();
        let mut read = String::new();
        client.read_to_string(&mut read).unwrap();
        assert_eq!(read, "Welcome!\nHello, Ann!\n");
    }
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// As `nohup` and shells without job control leave them.
#[test]
fn signals_that_were_ignored_are_heeded() {
    for signal in ["TERM", "INT"] {
        let server = Daemon::start(&mut after("trap '' TERM INT HUP"));
        server.connect().expect("Welcome!");
        server.signal("HUP");
        let mut server = server;
        server.signal(signal);
        let (status, said) = server.wait();
        assert_eq!(status.code(), Some(0), "{signal}: {said}");
        assert!(said.contains("was not reloaded"), "SIGHUP too: {said}");
    }
}

/// They cannot come, so the log says at the start that they will not.
#[test]
fn signals_that_were_blocked_are_told_of() {
    let knows = Command::new("env").args(["--block-signal=TERM", "true"]).output().unwrap();
    if !knows.status.success() {
        eprintln!("SKIPPED: this env cannot block signals");
        return;
    }
    let mut command = Command::new("env");
    command.args(["--block-signal=TERM", env!("CARGO_BIN_EXE_welcomed")]).args(SERVE);
    let mut server = Daemon::start(&mut command);
    server.signal("TERM");
    server.connect().expect("Welcome!");
    server.signal("INT");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(said.matches("is blocked by whoever started this program").count(), 1, "{said}");
    assert!(said.contains("SIGTERM is blocked"), "{said}");
}

/// It is not heard before it continues, and then as if it had just come.
#[test]
fn a_stop_signal_for_a_stopped_process_is_one_drain() {
    let mut server = Daemon::serve(&["--framing", "line"]);
    let mut client = server.connect();
    client.expect("Welcome!");
    server.signal("STOP");
    client.send("Ann\n");
    server.signal("TERM");
    server.signal("CONT");
    assert_eq!(client.rest(), "Hello, Ann!\n");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// The system refuses one thread after the other: the program ends with one line, and neither
/// hangs nor serves with a part of itself missing.
#[test]
fn whichever_thread_cannot_be_started_the_program_says_so_and_ends() {
    if !has("strace") {
        return;
    }
    for nth in 1.. {
        let log = tempfile::NamedTempFile::new().unwrap();
        let inject = format!("-einject=?clone3,?clone:error=EAGAIN:when={nth}");
        // With -D it is the tracer that is the child's child.
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-qq", "-etrace=?clone3,?clone", &inject, "-o"]).arg(log.path());
        command.arg(env!("CARGO_BIN_EXE_welcomed")).args(SERVE).args(["--workers", "2"]);
        let child = command.clean_env().stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("Waiting for connection") && stderr.read_line(&mut said).unwrap() > 0 {
        }
        // The workers are the last threads; it may be over, or end for the lack of one.
        Command::new("kill").arg(child.id().to_string()).output().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let code = child.wait().unwrap().code();
        if !fs::read_to_string(log.path()).unwrap().contains("(INJECTED)") {
            assert_eq!(code, Some(0), "{said}");
            // The log's, the endpoint's, the signals' and two workers, at the least.
            assert!(nth > 6, "it has {nth} threads");
            return;
        }
        let complaint = "Resource temporarily unavailable";
        assert!(said.contains(complaint), "thread {nth}, {code:?}: {said}");
        assert_eq!(code, Some(2), "thread {nth}: {said}");
    }
}

/// The pool shall grow and the system has no thread for it, twice: it asks again by itself.
#[test]
fn a_worker_that_cannot_be_started_is_asked_for_again() {
    let server = Patient::new("[pool]\nworkers = 1\n");
    let mut client = server.connect();
    client.expect("Welcome!");
    let faults = [("clone3,clone", "error=EAGAIN:when=1..2")];
    let Some(injector) = Injector::attach(&server, Threads::First, &faults) else { return };
    server.reload("[pool]\nworkers = 3\n");
    server.until("welcomed_workers", 3.0);
    assert_eq!(of(&injector.end(), &["clone3", "clone"]), 2);
    let complaints = server.log().matches("a worker thread could not be started").count();
    assert_eq!(complaints, 2, "{}", server.log());
    talk(&mut client, &["still", "served"]);
    drop(client);
    server.reload("[pool]\nworkers = 1\n");
    server.until("welcomed_workers", 1.0);
    server.is_restored();
}

/// A limit of the kernel's, as `TasksMax=` and `ulimit -u` set them, and not an injected error.
/// Root has none, so this is another user.
#[test]
fn a_user_without_threads_left_has_the_workers_that_there_are() {
    let user = (50_000 + std::process::id() % 10_000).to_string();
    let become_user = ["--reuid", &user, "--regid", &user, "--clear-groups"];
    let allowed = Command::new("setpriv").args(become_user).arg("true").output();
    if !has("setpriv") || !allowed.unwrap().status.success() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    // Where that user may read.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let [program, config] = ["welcomed", "welcomed.toml"].map(|name| folder.path().join(name));
    // By another process: what this one has open for writing, its children would have too, and
    // nobody can run such a program.
    let copy = Command::new("cp").arg(env!("CARGO_BIN_EXE_welcomed")).arg(&program).status();
    assert!(copy.unwrap().success());
    let workers =
        |count: usize| fs::write(&config, format!("[pool]\nworkers = {count}\n")).unwrap();
    workers(2);
    let mut command = Command::new("prlimit");
    command.args(["--nproc=16:10000", "setpriv"]).args(become_user).arg(program).args(SERVE);
    command.args(["--framing", "line", "--config"]).arg(&config);
    let mut server = Daemon::start(command.clean_env().stdin(Stdio::null()));
    let (log, _) = follow(&mut server);
    let base = Base::of(&server);
    let now = || scrape(server.metrics.unwrap())["welcomed_workers"];
    let mut client = server.connect();
    client.expect("Welcome!");
    workers(64);
    server.signal("HUP");
    let complaint = "a worker thread could not be started";
    eventually("it says so", || log.lock().unwrap().contains(complaint));
    let there_are = now();
    assert!((3.0..16.0).contains(&there_are), "{there_are} workers");
    talk(&mut client, &["still", "served"]);
    // The limit of a process is its user's business.
    let mut relent = Command::new("setpriv");
    relent.args(become_user).args(["prlimit", "--nproc=10000", "--pid"]);
    assert!(relent.arg(server.pid().to_string()).status().unwrap().success());
    eventually("all that are wanted", || now() == 64.0);
    workers(2);
    server.signal("HUP");
    eventually("as many as at the start", || now() == 2.0);
    drop(client);
    base.is_restored(&server);
    server.signal("TERM");
    assert_eq!(server.wait_unread().code(), Some(0));
}
