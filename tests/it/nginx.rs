//! A real nginx for the tests of `fetch`: Debian's package, on a port of the kernel's choice.

use crate::support::eventually;
use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const CONFIG: &str = "
daemon off;
pid PREFIX/nginx.pid;
error_log PREFIX/error.log;
worker_processes 1;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path PREFIX/body; proxy_temp_path PREFIX/proxy;
    fastcgi_temp_path PREFIX/fastcgi; uwsgi_temp_path PREFIX/uwsgi; scgi_temp_path PREFIX/scgi;
    gzip off;
    server {
        listen 127.0.0.1:PORT;
        absolute_redirect off;
        root PREFIX/www;
        location /chunked/ { alias PREFIX/www/; ssi on; ssi_types *; }
        location = /relative { return 302 /page.html; }
        location = /absolute { return 301 http://127.0.0.1:PORT/relative; }
        location = /loop { return 302 /loop; }
        location = /secure { return 302 https://127.0.0.1:PORT/; }
        location = /empty { return 204; }
    }
}
";

/// A running nginx; its drop ends it.
pub struct Nginx {
    child: Child,
    pub address: SocketAddr,
    folder: TempDir,
}

impl Nginx {
    /// Starts it. Nothing if there is no nginx: then the test says so, and fails in CI.
    pub fn start() -> Option<Self> {
        let known = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
        let Some(program) = known.into_iter().map(PathBuf::from).find(|path| path.exists()) else {
            assert!(env::var_os("CI").is_none(), "nginx is missing: Debian's package nginx-light");
            eprintln!("skipped: nginx is missing (Debian's package nginx-light)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().to_str().unwrap();
        fs::create_dir(folder.path().join("www")).unwrap();
        // Somebody may take the port between our choice and its bind: then it is tried again.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let config = CONFIG.replace("PREFIX", prefix);
            let config = config.replace("PORT", &address.port().to_string());
            fs::write(folder.path().join("nginx.conf"), config).unwrap();
            let mut child = Command::new(&program)
                .args(["-p", prefix, "-c", "nginx.conf", "-e", "start.log"])
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut ended = false;
            eventually("nginx listens or ends", || {
                ended = child.try_wait().unwrap().is_some();
                ended || TcpStream::connect(address).is_ok()
            });
            if !ended {
                return Some(Self { child, address, folder });
            }
        }
        let log = fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
        panic!("nginx does not start: {log}");
    }

    /// Puts a file into what it serves.
    pub fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join("www").join(name), content).unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // TERM, so that the master ends its worker; it may have ended by itself.
        Command::new("kill").arg(self.child.id().to_string()).status().ok();
        self.child.wait().ok();
    }
}
