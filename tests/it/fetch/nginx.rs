//! A real web server for one test: nginx on a free port with a configuration of our own.
//!
//! Owns the process and its directory; its drop stops and reaps both.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PROGRAM: &str = "/usr/sbin/nginx";

/// One process (no master: nothing to outlive it, no user to change to), everything it writes in
/// its own directory.
const CONFIGURATION: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log error.log info;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    default_type application/octet-stream;
    gzip off;
    server {
        listen 127.0.0.1:PORT;
        root files;
        location /chunked/ {
            alias files/;
            # Server-side includes: the length is not known beforehand, so it answers in chunks.
            ssi on;
            ssi_types *;
        }
        location = /empty { return 204; }
        location = /to/relative { absolute_redirect off; return 302 ../page.txt; }
        location = /to/path { absolute_redirect off; return 307 /page.txt; }
        location = /to/absolute { return 301 http://localhost:PORT/page.txt; }
        location = /to/https { return 301 https://localhost:PORT/page.txt; }
        location = /loop { return 302 /loop; }
        # As many redirects as there are ones.
        location ~ ^/hops/1(1*)$ { return 302 /hops/$1; }
        location = /hops/ { return 200 "there"; }
    }
}
"#;

pub struct Nginx {
    process: Child,
    directory: TempDir,
    pub port: u16,
}

impl Nginx {
    /// Starts it with these files. `None`, with a word on standard error, where it is not
    /// installed; in CI that is a failure.
    pub fn start(files: &[(&str, &[u8])]) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            let missing = format!("{PROGRAM} is not installed (Debian's package `nginx-light`)");
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing}");
            eprintln!("SKIPPED: {missing}");
            return None;
        }
        // Between finding a free port and listening on it, someone else may take it.
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("temp")).unwrap();
            fs::create_dir(directory.path().join("files")).unwrap();
            for (name, content) in files {
                fs::write(directory.path().join("files").join(name), content).unwrap();
            }
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let nginx = Self { process: spawn(directory.path(), port), directory, port };
            if let Some(nginx) = nginx.once_listening() {
                return Some(nginx);
            }
        }
        panic!("nginx found no free port in 20 attempts");
    }

    /// Waits until it listens; `None` if it gave up because the port was taken.
    fn once_listening(mut self) -> Option<Self> {
        let started = Instant::now();
        // It writes this file right after it has opened its sockets.
        let pid = self.directory.path().join("nginx.pid");
        while fs::metadata(&pid).map_or(0, |file| file.len()) == 0 {
            let log = || fs::read_to_string(self.directory.path().join("error.log"));
            if let Some(status) = self.process.try_wait().unwrap() {
                let log = log().unwrap_or_default();
                assert!(log.contains("Address already in use"), "nginx: {status}: {log}");
                return None;
            }
            let waited = started.elapsed();
            assert!(waited < Duration::from_secs(30), "nginx does not start: {:?}", log());
            thread::sleep(Duration::from_millis(5));
        }
        Some(self)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

fn spawn(directory: &Path, port: u16) -> Child {
    let configuration = CONFIGURATION.replace("PORT", &port.to_string());
    fs::write(directory.join("nginx.conf"), configuration).unwrap();
    Command::new(PROGRAM)
        .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
