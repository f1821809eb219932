//! Errors injected into a running process's system calls, by strace.

use super::base::has;
use crate::support::{Daemon, eventually};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Which threads are traced. The first runs the accept loop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    All,
    First,
}

/// A tracer that injects until it is ended.
pub struct Injector {
    strace: Child,
    log: tempfile::NamedTempFile,
}

impl Injector {
    /// Attaches to the process. Each fault is a list of system calls, and what is done to which
    /// of them: `error=EINTR:when=5+5`. `None` without strace.
    pub fn attach(daemon: &Daemon, threads: Threads, faults: &[(&str, &str)]) -> Option<Self> {
        if !has("strace") {
            return None;
        }
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("strace");
        command.args(["-qq", "-p", &daemon.pid().to_string(), "-o"]).arg(log.path());
        if threads == Threads::All {
            command.arg("-f");
        }
        let traced: Vec<&str> = faults.iter().map(|(calls, _)| *calls).collect();
        // `?`: a call that this machine's kernel or strace does not know is none.
        let known = |calls: &str| calls.split(',').map(|call| format!("?{call}")).collect();
        let list = |calls: &str| -> String {
            let calls: Vec<String> = known(calls);
            calls.join(",")
        };
        command.arg(format!("-etrace={}", list(&traced.join(","))));
        for (calls, how) in faults {
            command.arg(format!("-einject={}:{how}", list(calls)));
        }
        let strace = command.stdin(Stdio::null()).spawn().unwrap();
        let mut injector = Self { strace, log };
        let tasks = format!("/proc/{}/task", daemon.pid());
        eventually("strace has attached", || {
            assert!(injector.strace.try_wait().unwrap().is_none(), "strace cannot attach");
            let first = format!("{tasks}/{}", daemon.pid());
            match threads {
                Threads::First => is_traced(Path::new(&first)),
                Threads::All => {
                    fs::read_dir(&tasks).unwrap().all(|task| is_traced(&task.unwrap().path()))
                }
            }
        });
        Some(injector)
    }

    /// Detaches; returns how often each system call was injected into.
    pub fn end(mut self) -> BTreeMap<String, usize> {
        self.interrupt();
        let log = fs::read_to_string(self.log.path()).unwrap();
        let mut injected = BTreeMap::new();
        let touched = |line: &&str| line.contains("(INJECTED)") || line.contains("(DELAYED)");
        for line in log.lines().filter(touched) {
            // `1234  accept4(...) = -1 EINTR ... (INJECTED)`, or `1234  <... accept4 resumed>...`
            let call = line.trim_start_matches(|it: char| it.is_ascii_digit() || it == ' ');
            let call = call.trim_start_matches("<... ");
            let end = call.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap();
            *injected.entry(call[..end].to_owned()).or_default() += 1;
        }
        injected
    }

    fn interrupt(&mut self) {
        let pid = self.strace.id().to_string();
        Command::new("kill").args(["-s", "INT", &pid]).status().unwrap();
        self.strace.wait().unwrap();
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        if self.strace.try_wait().unwrap().is_none() {
            self.interrupt();
        }
    }
}

fn is_traced(task: &Path) -> bool {
    // A thread that has ended meanwhile is nobody's.
    let Ok(status) = fs::read_to_string(task.join("status")) else {
        return true;
    };
    status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
}

/// The sum over several system calls' names.
pub fn of(injected: &BTreeMap<String, usize>, calls: &[&str]) -> usize {
    calls.iter().filter_map(|call| injected.get(*call)).sum()
}
