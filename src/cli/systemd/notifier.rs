//! What systemd is told: that the service is ready, reloads or stops, how it does in a line, and
//! that its accept loop is alive.

use crate::server::Handle;
use sd_notify::NotifyState;
use std::env;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// How often the line of status may change.
const STATUS_EVERY: Duration = Duration::from_secs(2);

/// Speaks to systemd, if it listens. Cheap to clone.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Notifier {
    /// `NOTIFY_SOCKET` is set.
    heard: bool,
}

impl Notifier {
    /// Looks whether systemd listens.
    pub(in crate::cli) fn from_env() -> Self {
        Self { heard: env::var_os("NOTIFY_SOCKET").is_some() }
    }

    /// The service accepts clients: its start, or its reload, is done.
    pub(in crate::cli) fn ready(self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// A reload begins. [`ready`](Self::ready) ends it, also one that was refused.
    pub(in crate::cli) fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => log::warn!("the clock could not be read: {error}"),
        }
    }

    /// The drain begins.
    pub(in crate::cli) fn stopping(self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// One line for `systemctl status`.
    pub(in crate::cli) fn status(self, line: &str) {
        self.tell(&[NotifyState::Status(line)]);
    }

    /// Keeps the status up to date, and the watchdog quiet while the accept loop is alive, on a
    /// thread of its own that ends with the process.
    pub(in crate::cli) fn watch(self, handle: Handle) -> io::Result<()> {
        if !self.heard {
            return Ok(());
        }
        let mut pulse = Pulse::new(handle.clone(), sd_notify::watchdog_enabled());
        let mut told = (String::new(), Instant::now());
        let watch = move || {
            loop {
                if pulse.beat() {
                    self.tell(&[NotifyState::Watchdog]);
                }
                let line = describe(&handle);
                if line != told.0 && (told.0.is_empty() || told.1.elapsed() >= STATUS_EVERY) {
                    self.status(&line);
                    told = (line, Instant::now());
                }
                thread::sleep(pulse.pause().min(STATUS_EVERY));
            }
        };
        thread::Builder::new().name("notify".to_owned()).spawn(watch).map(drop)
    }

    fn tell(self, states: &[NotifyState<'_>]) {
        if self.heard
            && let Err(error) = sd_notify::notify(states)
        {
            log::warn!("systemd could not be told: {error}");
        }
    }
}

/// The pool in a line.
fn describe(handle: &Handle) -> String {
    let stats = handle.stats();
    let draining = if handle.is_stopping() { "draining: " } else { "" };
    let (workers, busy, open) = (stats.workers, stats.workers_busy, stats.open());
    format!("{draining}{workers} workers, {busy} busy, {open} connections")
}

/// When the watchdog is to be told that all is well: each half of its time, if the accept loop
/// has answered the question of half a time ago.
struct Pulse {
    handle: Handle,
    /// `None`: there is no watchdog.
    half: Option<Duration>,
    asked: u64,
    /// When to look next.
    due: Instant,
}

impl Pulse {
    fn new(handle: Handle, watchdog: Option<Duration>) -> Self {
        // The loop may not run yet: it answers when it does.
        let asked = handle.ping();
        Self { handle, half: watchdog.map(|time| time / 2), asked, due: Instant::now() }
    }

    /// Looks whether it is time and the loop has answered.
    fn beat(&mut self) -> bool {
        let now = Instant::now();
        let Some(half) = self.half.filter(|_| now >= self.due) else {
            return false;
        };
        // A stop ends by itself, and TimeoutStopSec= is there for the rest.
        let alive = self.handle.is_stopping() || self.handle.pong() >= self.asked;
        if alive {
            self.asked = self.handle.ping();
        }
        // A late answer is seen soon, before the watchdog's time is over.
        self.due = now + if alive { half } else { half / 10 };
        alive
    }

    /// How long nothing is to be done.
    fn pause(&self) -> Duration {
        match self.half {
            Some(_) => self.due.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::server::{Options, Server};
    use crate::service::{Context, Flow, Reply, Service, ServiceError};
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A service whose connections do not end before they may: an idle one holds the accept loop
    /// that closes it.
    struct Sticky(Arc<Gate>);

    #[derive(Default)]
    struct Gate {
        reached: AtomicBool,
        closed: Mutex<()>,
    }

    struct Stuck(Arc<Gate>);

    impl Drop for Stuck {
        fn drop(&mut self) {
            self.0.reached.store(true, Ordering::SeqCst);
            drop(self.0.closed.lock());
        }
    }

    impl Service for Sticky {
        fn call(
            &self,
            context: &mut Context<'_>,
            _: &[u8],
            reply: &mut Reply<'_>,
        ) -> Result<Flow, ServiceError> {
            *context.state() = Some(Stuck(Arc::clone(&self.0)));
            reply.push(b"held");
            Ok(Flow::Continue)
        }
    }

    fn until(mut holds: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() > deadline {
                return false;
            }
            thread::yield_now();
        }
        true
    }

    #[test]
    fn the_watchdog_is_fed_by_the_accept_loop_alone() {
        let gate = Arc::<Gate>::default();
        let closed = gate.closed.lock().unwrap();
        let options =
            Options { idle_timeout: Duration::from_millis(1), workers: 2, ..Options::default() };
        let builder = Server::builder().options(options).listen("127.0.0.1:0").unwrap();
        let server = builder.build(Sticky(Arc::clone(&gate))).unwrap();
        let handle = server.handle();
        let mut pulse = Pulse::new(handle.clone(), Some(Duration::from_millis(2)));
        assert!(!pulse.beat(), "it does not run yet");
        let address = handle.local_addrs()[0].to_string();
        let running = thread::spawn(move || server.run().unwrap());
        for _ in 0..3 {
            assert!(until(|| pulse.beat()), "the loop answers");
        }
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"hold\n").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        assert!(until(|| gate.reached.load(Ordering::SeqCst)), "it idles and is closed");
        // What was asked before the loop was held may have been answered.
        pulse.asked = handle.ping();
        let deadline = Instant::now() + Duration::from_millis(100);
        while Instant::now() < deadline {
            assert!(!pulse.beat(), "the workers are well, but nobody accepts");
            thread::yield_now();
        }
        drop(closed);
        assert!(until(|| pulse.beat()), "it answers again");
        handle.stop();
        assert!(until(|| pulse.beat()), "a drain is no reason to be killed");
        assert!(running.join().unwrap().is_clean());
        assert!(until(|| pulse.beat()), "nor is its end");
    }

    #[test]
    fn without_a_watchdog_there_is_nothing_to_feed() {
        let builder = Server::builder().listen("127.0.0.1:0").unwrap();
        let server = builder.build(crate::service::Echo).unwrap();
        let mut pulse = Pulse::new(server.handle(), None);
        assert!(!pulse.beat());
        assert_eq!(pulse.pause(), Duration::MAX);
        assert!(describe(&server.handle()).ends_with(" 0 busy, 0 connections"));
    }
}
