//! A headless Chromium, driven over WebDriver: its JSON over HTTP is small enough to speak by
//! hand. Used by `page`.

use crate::support::{Client, eventually};
use serde_json::{Value, json};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// As root, without a network of its own, and without a look at anything but the page.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// A browser with one window. Its drop ends it.
pub struct Browser {
    session: String,
    driver: Driver,
    _profile: TempDir,
}

/// The process of chromedriver; its drop kills it.
struct Driver {
    process: Child,
    address: SocketAddr,
}

impl Browser {
    /// Starts one; nothing, and a word about it, where there is none. In CI there must be one.
    pub fn start() -> Option<Self> {
        let (Some(chromium), Some(chromedriver)) = (find("chromium"), find("chromedriver")) else {
            assert!(env::var_os("CI").is_none(), "CI needs chromium and chromedriver");
            eprintln!("skipped: no chromium or chromedriver; scripts/install-test-packages");
            return None;
        };
        let driver = Driver::start(&chromedriver);
        let profile = tempfile::tempdir().unwrap();
        let folder = format!("--user-data-dir={}", profile.path().display());
        let flags: Vec<&str> = FLAGS.iter().copied().chain([folder.as_str()]).collect();
        let wish = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "binary": chromium, "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = driver.call("POST", "/session", Some(&wish));
        let session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        Some(Self { session, driver, _profile: profile })
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        self.driver.call("POST", &format!("{}/{command}", self.session), Some(body))
    }

    pub fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// What the script returns; its `arguments[0]` is `argument`.
    pub fn run(&self, script: &str, argument: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [argument] }))
    }

    /// The text of the element with this id; empty if there is none.
    pub fn text(&self, id: &str) -> String {
        let script = "return document.getElementById(arguments[0])?.textContent ?? ''";
        self.run(script, id).as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn until_text(&self, id: &str, holds: impl Fn(&str) -> bool) {
        eventually(&format!("the text of {id} (last: {})", self.text(id)), || {
            holds(&self.text(id))
        });
    }

    /// The screen's size in pixels, and whether the user likes it dark.
    pub fn look(&self, width: u32, height: u32, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.tools("Emulation.setEmulatedMedia", &json!({ "features": features }));
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.tools("Emulation.setDeviceMetricsOverride", &size);
    }

    fn tools(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Errors and warnings of the console since the last call, a line each.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", &json!({ "type": "browser" }));
        let bad = |entry: &&Value| !matches!(entry["level"].as_str(), Some("INFO" | "DEBUG"));
        log.as_array().unwrap().iter().filter(bad).map(ToString::to_string).collect()
    }

    /// Writes what is on the screen as a PNG.
    pub fn screenshot(&self, path: &Path) {
        let text = self.driver.call("GET", &format!("{}/screenshot", self.session), None);
        let mut decoder = Command::new("base64")
            .arg("--decode")
            .stdin(Stdio::piped())
            .stdout(fs::File::create(path).unwrap())
            .spawn()
            .unwrap();
        decoder.stdin.take().unwrap().write_all(text.as_str().unwrap().as_bytes()).unwrap();
        assert!(decoder.wait().unwrap().success());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A test that failed may have broken it; the process is killed in any case.
        if !std::thread::panicking() {
            self.driver.call("DELETE", &self.session, None);
        }
    }
}

impl Driver {
    /// The port that it chooses on IPv4 may be taken on IPv6; then it ends, and is tried again.
    fn start(program: &Path) -> Self {
        (0..5).find_map(|_| Self::try_start(program)).expect("chromedriver starts")
    }

    fn try_start(program: &Path) -> Option<Self> {
        let mut process = Command::new(program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let port = said.lines().map_while(Result::ok).find_map(|line| {
            let port = line.split("started successfully on port ").nth(1)?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let Some(port) = port else {
            process.wait().unwrap();
            return None;
        };
        Some(Self { process, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// One command; the `value` of its answer, which must not be an error.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut client = Client::connect(self.address);
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let mut length = 0;
        loop {
            let line = client.line().to_ascii_lowercase();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        client.reader.read_exact(&mut answer).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{method} {path}: {value}");
        value
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Its end closes the browser that it started.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
