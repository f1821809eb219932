//! A server as a process: started on its core, asked for its address, killed when dropped.

use super::machine::Cores;
use super::plan::Server;
use super::rivals::LISTENING;
use clap::ValueEnum;
use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// What `welcomed` writes before the address of its metrics.
const METRICS: &str = "listening metrics=";
/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);
/// How many lines of a server's log may wait for us; more are dropped.
const LINES: usize = 64;

pub(super) struct Process {
    child: Child,
    pub(super) address: SocketAddr,
    /// Where its metrics are, if it has any.
    pub(super) metrics: Option<SocketAddr>,
}

impl Process {
    pub(super) fn start(server: Server, cores: Cores) -> Result<Self, String> {
        let mut command = command(server)?;
        // The open standard input is what keeps a rival alive.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = cores.place(|| command.spawn()).map_err(|error| format!("start: {error}"))?;
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Self { child, address: unspecified, metrics: None };
        let (sender, lines) = sync_channel(LINES);
        let stderr = process.child.stderr.take();
        thread::spawn(move || stderr.map(|stderr| pass_on(BufReader::new(stderr), &sender)));
        let service_only = [LISTENING];
        let both = [LISTENING, METRICS];
        let prefixes = if server == Server::Welcomed { &both[..] } else { &service_only };
        let addresses = process.announced(prefixes, &lines)?;
        process.address = addresses[0];
        process.metrics = addresses.get(1).copied();
        Ok(process)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with each of these prefixes, in any order, and returns the addresses
    /// behind them.
    fn announced(
        &mut self,
        prefixes: &[&str],
        lines: &Receiver<String>,
    ) -> Result<Vec<SocketAddr>, String> {
        let deadline = Instant::now() + START;
        let mut found = vec![None; prefixes.len()];
        let mut said = String::new();
        loop {
            if let Some(all) = found.iter().copied().collect() {
                return Ok(all);
            }
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    for (prefix, place) in prefixes.iter().zip(&mut found) {
                        if let Some((_, rest)) = line.split_once(prefix) {
                            let address = rest.split_whitespace().next().unwrap_or_default();
                            let address = address.parse();
                            *place = Some(address.map_err(|_| format!("no address in `{line}`"))?);
                        }
                    }
                    if said.is_empty() {
                        said = line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let wanted = prefixes.join("` and `");
                    return Err(format!("no `{wanted}` within {START:?}; it said `{said}`"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().map_err(|error| error.to_string())?;
                    return Err(format!("ended with {status}; it said `{said}`"));
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill, and waiting is enough.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn command(server: Server) -> Result<Command, String> {
    match server {
        Server::Welcomed => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_welcomed"));
            command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
            command.args(["--workers", "2", "--framing", "line", "--log-level", "warn"]);
            command.args(["--max-connections", "15000"]);
            Ok(command)
        }
        Server::Rival(rival) => {
            let this = env::current_exe().map_err(|error| format!("this program: {error}"))?;
            let name = rival.to_possible_value().ok_or("a rival without a name")?;
            let mut command = Command::new(this);
            command.args(["--rival", name.get_name()]);
            Ok(command)
        }
    }
}

/// Reads a server's log to its end, so that it never waits for us.
fn pass_on(log: impl BufRead, lines: &SyncSender<String>) {
    for line in log.lines().map_while(Result::ok) {
        // Nobody reads them once the addresses are known.
        lines.try_send(line).ok();
    }
}
