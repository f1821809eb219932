//! Errors injected into a running process's system calls, by strace.

use super::base::has;
use crate::support::{Daemon, eventually};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Which threads are traced. The first runs the accept loop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    All,
    First,
    Workers,
}

impl Threads {
    /// Those that are there now.
    fn tasks(self, daemon: &Daemon) -> Vec<PathBuf> {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let is_one = |task: &PathBuf| match self {
            Self::All => true,
            Self::First => task.ends_with(daemon.pid().to_string()),
            Self::Workers => {
                fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("work-"))
            }
        };
        tasks.map(|task| task.unwrap().path()).filter(is_one).collect()
    }
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
        command.args(["-qq", "-o"]).arg(log.path());
        match threads {
            Threads::All => {
                command.args(["-f", "-p", &daemon.pid().to_string()]);
            }
            Threads::First | Threads::Workers => {
                for task in threads.tasks(daemon) {
                    command.arg("-p").arg(task.file_name().unwrap());
                }
            }
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
        eventually("strace has attached", || {
            assert!(injector.strace.try_wait().unwrap().is_none(), "strace cannot attach");
            threads.tasks(daemon).iter().all(|task| is_traced(task))
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
