//! The live page in a real browser, against what `/metrics` says; and the pictures of it in the
//! documentation.

use crate::browser::Browser;
use crate::endpoint::{get, scrape};
use crate::services::Gate;
use crate::support::{Client, Daemon, TestServer, eventually, talk, tcp};
use crossbeam_channel::bounded;
use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use welcomed::endpoint::{Observed, SideEndpoint};
use welcomed::protocol::Framing;
use welcomed::server::{Listener, Options};
use welcomed::service::{Hello, Service};

const CONFIG: &str = "greeting = \"<b>1 < 2</b> & so on\"\n";

fn options() -> Options {
    Options { workers: 3, framing: Framing::Line, ..Options::default() }
}

/// A server, of three workers if nothing else is said, with an endpoint.
struct Site {
    // Dropped first: it reports on the server.
    endpoint: SideEndpoint,
    server: TestServer,
}

impl Site {
    fn start(address: &str) -> Self {
        Self::of(address, options(), Hello)
    }

    fn of(address: &str, options: Options, service: impl Service) -> Self {
        let server = TestServer::start(options, service);
        let mut listener = None;
        eventually("the port is free", || {
            listener = Listener::bind(&address.parse().unwrap(), 16).ok();
            listener.is_some()
        });
        let observed = Observed { handle: server.handle.clone(), config: CONFIG.to_owned() };
        let endpoint = SideEndpoint::start(listener.unwrap(), observed).unwrap();
        Self { endpoint, server }
    }

    fn address(&self) -> SocketAddr {
        tcp(self.endpoint.local_addr())
    }
}

/// The number of the row with this label, in the table with this heading.
fn cell(browser: &Browser, table: &str, label: &str) -> String {
    let script = "
        const [title, label] = arguments[0].split('/');
        const table = [...document.querySelectorAll('table')]
            .find((table) => table.tHead.textContent === title);
        const row = [...table?.tBodies[0].rows ?? []]
            .find((row) => row.cells[0].textContent === label);
        return row?.cells[1].textContent ?? ''";
    browser.run(script, &format!("{table}/{label}")).as_str().unwrap().to_owned()
}

/// Greets, says each name, and waits until the server has nothing more to do.
fn talk_all(site: &Site, clients: &mut [Client], names: &[&str]) {
    for client in clients.iter_mut() {
        talk(client, names);
    }
    let open = clients.len() as u64;
    site.server.until("all is read", |stats| stats.parked == open && stats.workers_busy == 0);
}

/// The page shows what `/metrics` says, which does not change meanwhile.
#[track_caller]
fn agrees(browser: &Browser, site: &Site) {
    let metrics = scrape(site.address());
    let total = metrics["welcomed_messages_total"];
    browser.until_text("rate-detail", |text| text == format!("{total} in total"));
    let workers = metrics["welcomed_workers"];
    assert_eq!(browser.text("utilisation-detail"), format!("0 of {workers} busy now"));
    let parked = metrics["welcomed_connections{state=\"parked\"}"].to_string();
    assert_eq!(browser.text("open"), parked);
    assert_eq!(cell(browser, "Open connections", "waiting for input"), parked);
    let accepted = metrics["welcomed_connections_accepted_total{listener=\"127.0.0.1:0\"}"];
    assert_eq!(cell(browser, "Accepted", "127.0.0.1:0"), accepted.to_string());
    assert_eq!(cell(browser, "Messages", "answered or failed"), total.to_string());
}

fn greeted(site: &Site, clients: usize) -> Vec<Client> {
    let greeted = |_| {
        let mut client = site.server.connect();
        client.expect("Welcome!");
        client
    };
    (0..clients).map(greeted).collect()
}

#[test]
fn the_page_says_what_the_metrics_say_and_follows() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let site = Site::start("127.0.0.1:0");
    let mut clients = greeted(&site, 5);
    talk_all(&site, &mut clients, &["Ann"]);
    browser.open(&format!("http://{}/", site.address()));
    agrees(&browser, &site);
    talk_all(&site, &mut clients, &["Bob", "Cid"]);
    agrees(&browser, &site);
    assert_eq!(browser.text("rate-detail"), "15 in total");
    assert_eq!(browser.text("config"), CONFIG, "as text, not as markup");
    assert_eq!(browser.text("state"), "ready");
    browser.until_text("sentence", |text| text.starts_with("3 workers, 0 % busy, "));
    for chart in ["Utilisation", "Queue depth", "Queue wait", "Messages", "Handler time"] {
        let script = "return [...document.querySelectorAll('svg.plot')].filter(
            (plot) => plot.getAttribute('aria-label').startsWith(arguments[0] + ', ')).length";
        assert_eq!(browser.run(script, chart), 1, "{chart}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_page_says_that_the_server_is_away_and_recovers() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let site = Site::start("127.0.0.1:0");
    let address = site.address();
    talk_all(&site, &mut greeted(&site, 3), &["Ann"; 10]);
    browser.open(&format!("http://{address}/"));
    browser.until_text("rate-detail", |text| text == "30 in total");
    assert_eq!(browser.run("return document.getElementById('away').hidden", ""), true);
    drop(site);
    browser.until_text("away", |text| text.starts_with("The server is away; trying again"));
    assert_eq!(browser.text("state"), "away");
    assert_eq!(browser.text("rate-detail"), "30 in total", "the last numbers stay");
    assert_eq!(browser.run("return document.getElementById('away').hidden", ""), false);

    // The new one counts from zero, and has no history yet.
    let site = Site::start(&address.to_string());
    let mut clients = greeted(&site, 2);
    talk_all(&site, &mut clients, &["Bob"]);
    agrees(&browser, &site);
    assert_eq!(browser.text("rate-detail"), "2 in total");
    assert_eq!(browser.text("state"), "ready");
    assert_eq!(browser.run("return document.getElementById('away').hidden", ""), true);
    // The browser itself notes each poll that nobody answered; the page complains of nothing.
    let unanswered = |line: &String| line.contains("net::ERR_") && line.contains("/status");
    let others: Vec<String> =
        browser.complaints().into_iter().filter(|line| !unanswered(line)).collect();
    assert_eq!(others, [""; 0]);
}

fn is_hidden(browser: &Browser, id: &str) -> bool {
    let hidden = browser.run("return document.getElementById(arguments[0]).hidden", id);
    hidden.as_bool().unwrap()
}

#[test]
fn the_page_marks_stuck_workers_and_says_that_the_server_drains() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let (release, gate) = bounded(0);
    let options = Options { stuck_after: Duration::from_millis(100), ..options() };
    let site = Site::of("127.0.0.1:0", options, Gate::new("wait", gate));
    browser.open(&format!("http://{}/", site.address()));
    browser.until_text("state", |text| text == "ready");
    assert_eq!(["stuck", "draining"].map(|id| is_hidden(&browser, id)), [true, true]);
    assert_eq!(cell(&browser, "Pool", "stuck workers"), "0");

    let mut clients: Vec<Client> = (0..3).map(|_| site.server.connect()).collect();
    clients[0].send("wait\n");
    browser.until_text("stuck", |text| text.starts_with("One worker has not come back from its"));
    assert!(!is_hidden(&browser, "stuck"));
    assert_eq!(browser.text("state"), "ready");
    assert_eq!(browser.text("workers-note"), "3, 1 busy, 1 stuck");
    assert_eq!(cell(&browser, "Pool", "stuck workers"), "1");
    let marked = "return [...document.querySelectorAll('#workers .stuck')]
        .map((square) => square.getAttribute('aria-label')).join()";
    let marked = browser.run(marked, "").as_str().unwrap().to_owned();
    assert!(marked.contains(": stuck for ") && !marked.contains(','), "one is marked: {marked}");

    for client in &mut clients[1..] {
        client.send("wait\n");
    }
    browser.until_text("stuck", |text| text.starts_with("No worker is left: none has come back"));
    assert!(browser.text("state").starts_with("every worker has been in one call for longer"));
    browser.until_text("sentence", |text| text.ends_with(": look whether the handler is stuck."));

    (0..3).for_each(|_| release.send(()).unwrap());
    for client in &mut clients {
        client.expect("wait");
    }
    browser.until_text("stuck", str::is_empty);
    assert!(is_hidden(&browser, "stuck"));
    assert_eq!(browser.text("state"), "ready");

    clients[0].send("wait\n");
    site.server.until("it works", |stats| stats.workers_busy == 1);
    site.server.handle.stop();
    browser.until_text("draining", |text| text.starts_with("The server was told to stop"));
    assert!(!is_hidden(&browser, "draining"));
    assert_eq!(browser.text("state"), "draining");
    release.send(()).unwrap();
    clients[0].expect("wait");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_page_counts_whom_an_overloaded_server_refuses() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let longest = Some(Duration::from_millis(1));
    let options = Options { workers: 1, max_queue_wait: longest, ..options() };
    let (_release, gate) = bounded(0);
    let site = Site::of("127.0.0.1:0", options, Gate::new("wait", gate));
    browser.open(&format!("http://{}/", site.address()));
    browser.until_text("state", |text| text == "ready");
    assert_eq!(cell(&browser, "Shed", "late"), "0");
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let mut client = site.server.connect();
                let mut served = true;
                while served && site.server.stats().queue_shed == 0 {
                    served = client.send("slow\n").line() == "slow\n";
                }
            });
        }
    });
    let shed = site.server.stats().queue_shed.to_string();
    browser.until_text("queued-detail", |text| text.ends_with(&format!(", {shed} shed")));
    assert_eq!(cell(&browser, "Shed", "late"), shed);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_page_follows_the_users_colours_and_fits_a_phone() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let site = Site::start("127.0.0.1:0");
    browser.open(&format!("http://{}/", site.address()));
    browser.until_text("state", |text| text == "ready");
    let background = || browser.run("return getComputedStyle(document.body).backgroundColor", "");
    let mut seen = Vec::new();
    for (width, dark) in [(1280, false), (1280, true), (360, false), (360, true)] {
        browser.look(width, 800, dark);
        let overflow = "return document.documentElement.scrollWidth - innerWidth";
        eventually("nothing sticks out", || browser.run(overflow, "") == 0);
        seen.push(background());
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(seen[..2], seen[2..]);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_pages_parts_are_asked_for_once_and_then_only_whether_they_changed() {
    let site = Site::start("127.0.0.1:0");
    for part in ["/", "/page.css", "/page.js"] {
        let ask = |known: &str| {
            let mut client = Client::connect(site.address());
            client.send(format!(
                "GET {part} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {known}\r\n\
                 Connection: close\r\n\r\n"
            ));
            client.rest()
        };
        let whole = ask("\"other\"");
        assert!(whole.starts_with("HTTP/1.0 200 OK\r\n"), "{whole}");
        assert!(whole.contains("\r\nCache-Control: no-cache\r\n"), "{whole}");
        let tag = whole.split("\r\nETag: ").nth(1).unwrap().split("\r\n").next().unwrap();
        for known in [tag, &format!("\"other\", W/{tag}"), "*"] {
            let same = ask(known);
            assert!(same.starts_with("HTTP/1.0 304 Not Modified\r\n"), "{same}");
            assert!(same.ends_with("\r\n\r\n") && same.contains(tag), "{same}");
        }
    }
}

#[test]
fn status_is_json_for_scripts() {
    let server = Daemon::serve(&["--workers", "3"]);
    // It listens a little before its workers have started.
    eventually("it is ready", || get(server.metrics.unwrap(), "/readyz").0 == 200);
    let (status, body) = get(server.metrics.unwrap(), "/status");
    let report: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &report["pool"]["workers"]), (200, &3.into()));
    assert_eq!(report["state"], "ready");
    assert!(report["config"].as_str().unwrap().contains("workers = 3"), "{body}");
    // What is there is documented, down to the last name.
    let document = include_str!("../../docs/status.md");
    let mut names = Vec::new();
    for (name, value) in report.as_object().unwrap() {
        names.push(name.clone());
        let fields = value.as_object().into_iter().flat_map(|fields| fields.keys());
        names.extend(fields.map(|field| format!("{name}.{field}")));
    }
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        assert!(document.contains(&format!("`{name}`")), "docs/status.md lacks {name}");
    }
}

/// Runs this many clients, each of which says a name, reads its answer, and rests.
fn load<T>(address: SocketAddr, clients: usize, rest: Duration, during: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                client.expect("Welcome!");
                while !over.load(Ordering::Relaxed) {
                    talk(&mut client, &["Ann"]);
                    thread::sleep(rest);
                }
            });
        }
        let result = during();
        over.store(true, Ordering::Relaxed);
        result
    })
}

/// The pictures in the documentation, made anew when asked:
/// `WELCOMED_SCREENSHOTS=1 cargo test --test it page`.
#[test]
fn screenshots() {
    if env::var_os("WELCOMED_SCREENSHOTS").is_none() {
        return;
    }
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    let picture = |name: &str, (width, height), dark| {
        browser.look(width, height, dark);
        // The next answer draws the charts in the new width.
        let before = browser.text("updated");
        browser.until_text("updated", |text| text != before);
        browser.screenshot(&folder.join(name));
    };
    let pool = |workers, delay| {
        let arguments = ["--framing", "line", "--workers", workers, "--work-delay", delay];
        Daemon::serve(&arguments)
    };
    let minute = Duration::from_secs(75);
    let server = pool("8", "20ms");
    browser.open(&format!("http://{}/", server.metrics.unwrap()));
    load(server.service, 12, Duration::from_millis(35), || {
        thread::sleep(minute);
        picture("page-light.png", (1280, 1250), false);
        picture("page-dark.png", (1280, 1250), true);
        picture("page-narrow.png", (390, 1500), false);
    });
    let server = pool("2", "100ms");
    browser.open(&format!("http://{}/", server.metrics.unwrap()));
    load(server.service, 20, Duration::ZERO, || {
        thread::sleep(minute);
        picture("page-saturated.png", (1280, 1250), false);
    });
}
