//! What makes a test short: a server in this process or as the real program, and a client that
//! speaks its protocol.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use welcomed::metrics::Snapshot;
use welcomed::server::{Address, Handle, Options, Report, Server};
use welcomed::service::Service;

/// How long a test waits for what must happen. Far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn short(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Waits until `holds` says so.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to this: {what}");
        // The machine has others to run, the one among them that is waited for.
        thread::sleep(Duration::from_millis(1));
    }
}

/// A server in this process, on a port of the kernel's choice. Its drop stops it and checks that
/// its books balance.
pub struct TestServer {
    pub handle: Handle,
    running: Option<JoinHandle<Report>>,
}

impl TestServer {
    pub fn start(options: Options, service: impl Service) -> Self {
        let builder = Server::builder().options(options).listen("127.0.0.1:0").unwrap();
        Self::run(builder.build(service).unwrap())
    }

    pub fn run(server: Server) -> Self {
        let handle = server.handle();
        let running = thread::spawn(move || server.run().unwrap());
        Self { handle, running: Some(running) }
    }

    pub fn address(&self) -> SocketAddr {
        tcp(&self.handle.local_addrs()[0])
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.handle.local_addrs().iter().map(tcp).collect()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    pub fn stats(&self) -> Snapshot {
        self.handle.stats()
    }

    /// Waits until the counters say so.
    pub fn until(&self, what: &str, holds: impl Fn(&Snapshot) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.stats()) {
            assert!(Instant::now() < deadline, "not so: {what}: {:?}", self.stats());
            thread::yield_now();
        }
    }

    /// Stops the server and returns how it ended.
    pub fn stop(mut self) -> Report {
        self.finish()
    }

    fn finish(&mut self) -> Report {
        self.handle.stop();
        let report = self.running.take().unwrap().join().unwrap();
        let stats = self.stats();
        if report.is_clean() {
            assert_eq!(stats.open(), 0, "{stats:?}");
            assert_eq!(stats.workers, 0, "{stats:?}");
            let accepted: u64 = stats.accepted.iter().map(|listener| listener.accepted).sum();
            assert_eq!(accepted, sum(&stats.rejected) + sum(&stats.closed), "{stats:?}");
        }
        report
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if self.running.is_some() && !thread::panicking() {
            self.finish();
        }
    }
}

fn sum(counts: &[(&str, u64)]) -> u64 {
    counts.iter().map(|(_, count)| count).sum()
}

/// The count under this label.
pub fn count(counts: &[(&str, u64)], label: &str) -> u64 {
    counts.iter().find(|(name, _)| *name == label).unwrap().1
}

pub fn tcp(address: &Address) -> SocketAddr {
    match address {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("a TCP address, not {}", path.display()),
    }
}

/// Arguments that serve on ports of the kernel's choice.
pub const SERVE: [&str; 5] =
    ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];

/// A child's environment with nothing in it that the program could heed.
pub trait CleanEnv {
    fn clean_env(&mut self) -> &mut Self;
}

impl CleanEnv for Command {
    fn clean_env(&mut self) -> &mut Self {
        // Where a program that counts its lines for `scripts/coverage` writes them.
        let counts = env::var_os("LLVM_PROFILE_FILE");
        self.env_clear().envs(counts.map(|file| ("LLVM_PROFILE_FILE", file)))
    }
}

/// The real program, serving. Its drop kills it; [`stop`](Daemon::stop) ends it well.
pub struct Daemon {
    child: Child,
    stderr: Option<BufReader<ChildStderr>>,
    pub service: SocketAddr,
    /// Behind further `--listen`s.
    pub others: Vec<SocketAddr>,
    pub metrics: Option<SocketAddr>,
}

impl Daemon {
    /// `welcomed serve` with these arguments, on ports of the kernel's choice.
    pub fn serve(arguments: &[&str]) -> Self {
        Self::serve_by(env!("CARGO_BIN_EXE_welcomed").as_ref(), arguments)
    }

    /// The same by another program, with a service of its own.
    pub fn serve_by(program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        Self::start(command.args(SERVE).args(arguments).clean_env().stdin(Stdio::null()))
    }

    /// A command that becomes `welcomed serve`.
    pub fn start(command: &mut Command) -> Self {
        let mut child =
            command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut services: Vec<SocketAddr> = Vec::new();
        let metrics = loop {
            let mut line = String::new();
            stderr.read_line(&mut line).unwrap();
            let Some(address) = line.trim().strip_prefix("listening ") else {
                // The log speaks too.
                assert!(line.contains(" INFO ") || line.contains(" WARN "), "{line}");
                continue;
            };
            let (what, address) = address.split_once('=').expect(&line);
            let address = address.parse().unwrap();
            match what {
                "metrics" => break Some(address),
                _ => services.push(address),
            }
        };
        let service = services.remove(0);
        Self { child, stderr: Some(stderr), service, others: services, metrics }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.service)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// What the program says from here on. Who takes it has to read it, or a pipe fills.
    pub fn take_log(&mut self) -> BufReader<ChildStderr> {
        self.stderr.take().unwrap()
    }

    /// Sends SIGTERM; returns how it ended and what else it said.
    pub fn stop(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the end; returns it with what the program said since it listened.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let mut stderr = self.stderr.take().unwrap();
        let reader = thread::spawn(move || {
            let mut said = String::new();
            stderr.read_to_string(&mut said).unwrap();
            said
        });
        (self.wait_unread(), reader.join().unwrap())
    }

    /// Waits for the end while nobody reads what the program says.
    pub fn wait_unread(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After `wait` there is nothing left to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A client with a deadline on everything.
pub struct Client {
    pub socket: TcpStream,
    pub reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
    }

    pub fn of(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(socket.try_clone().unwrap());
        Self { socket, reader }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.socket.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// The next line, with its end; empty at the end of the stream.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    #[track_caller]
    pub fn expect(&mut self, line: &str) -> &mut Self {
        assert_eq!(self.line(), format!("{line}\n"));
        self
    }

    /// What one read returns, as the tutorial's client reads.
    pub fn chunk(&mut self) -> String {
        let mut chunk = [0; 1024];
        let length = self.reader.read(&mut chunk).unwrap();
        String::from_utf8(chunk[..length].to_vec()).unwrap()
    }

    /// Everything up to the end of the stream, which must be one and no reset.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).unwrap();
        rest
    }

    /// Ends our side of the stream.
    pub fn finish(&mut self) -> &mut Self {
        self.socket.shutdown(Shutdown::Write).unwrap();
        self
    }
}

/// Says each name and expects its answer.
#[track_caller]
pub fn talk(client: &mut Client, names: &[&str]) {
    for name in names {
        client.send(format!("{name}\n")).expect(&format!("Hello, {name}!"));
    }
}
