//! What the side endpoint serves under which path: the [`Service`] behind its listener.
//!
//! Run by an engine of its own, with the framing [`Head`](crate::protocol::Framing::Head), so
//! that a message is one request's head. Every answer is made in memory from what it is given at
//! start; nothing here asks the workers whose server it reports on, so it answers while they are
//! all stuck.

use super::PREFIX;
use super::http::{self, Answer, Rejection, Request};
use super::meters::Meters;
use super::page;
use super::policy::Policy;
use super::status::Status;
use crate::metrics::{Row, Snapshot, Table};
use crate::server::{Error, Network};
use crate::service::{Context, Flow, Refusal, Reply, Service, ServiceError};
use prometheus::{Registry, TextEncoder};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Whether the server wants new clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not, and this is why, for a human: `draining`.
    NotReady(String),
}

/// The HTTP service of the side endpoint: metrics, health and readiness, and the live page.
pub struct Endpoint {
    registry: Registry,
    readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
    status: Option<Status>,
    pub(super) policy: Arc<Policy>,
    pub(super) meters: Arc<Meters>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Serves what is registered at `registry`, and asks `readiness` at each `/readyz`. It must
    /// not block: the endpoint has few workers.
    #[must_use]
    pub fn new(
        registry: Registry,
        readiness: impl Fn() -> Readiness + Send + Sync + 'static,
    ) -> Self {
        let readiness = Box::new(readiness);
        let policy = Arc::<Policy>::default();
        let paths = ROUTES.iter().map(|route| route.paths[0]);
        let meters = Arc::new(Meters::new(Arc::clone(&policy), paths));
        Self { registry, readiness, status: None, policy, meters }
    }

    /// Adds the live page and `/status`, about what `observe` reads: every two seconds for the
    /// history, and at each request. `config` is shown as it is; leave secrets out.
    #[must_use]
    pub fn with_page(
        mut self,
        observe: impl Fn() -> Snapshot + Send + Sync + 'static,
        config: String,
    ) -> Self {
        self.policy.set_config(config);
        self.status = Some(Status::new(observe, Arc::clone(&self.policy)));
        self
    }

    /// Answers clients in these networks only, others with 403; none means everyone.
    #[must_use]
    pub fn allow(self, networks: Vec<Network>) -> Self {
        self.policy.set_allow(networks);
        self
    }

    /// Names the active configuration, by a hash of this text, in `config_info`.
    #[must_use]
    pub fn fingerprint(self, text: &str) -> Self {
        self.policy.set_fingerprint(text);
        self
    }

    /// Exports more metrics, made of what `read` says at each scrape.
    pub(crate) fn export<R: 'static>(
        &self,
        rows: &'static [Row<R>],
        read: impl Fn() -> R + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let table = Table::new(PREFIX, rows, read);
        let registered = table.and_then(|table| self.registry.register(Box::new(table)));
        registered.map_err(|error| Error::Invalid(error.to_string()))
    }

    pub(super) fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// The registry, to register more with.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// A page, and how it is made.
struct Route {
    /// Its path, first, and other names of it.
    paths: &'static [&'static str],
    about: &'static str,
    answer: fn(&Endpoint) -> Answer,
}

/// All pages; the answer to an unknown path lists them, and so does `/` without a live page.
const ROUTES: &[Route] = &[
    Route { paths: &["/"], about: "the server now, for a browser", answer: Endpoint::home },
    Route {
        paths: &["/status"],
        about: "the same numbers as JSON, with the last 15 minutes",
        answer: Endpoint::report,
    },
    Route {
        paths: &["/metrics"],
        about: "metrics in the Prometheus text format",
        answer: Endpoint::metrics,
    },
    Route {
        paths: &["/healthz", "/-/healthy", "/livez"],
        about: "200 while the process answers",
        answer: |_| Answer::text(200, "ok"),
    },
    Route {
        paths: &["/readyz", "/-/ready"],
        about: "200 while the server takes new clients, else 503 and the reason",
        answer: Endpoint::ready,
    },
];

/// The place of `/` in them.
const HOME: usize = 0;

/// A path, and what answers it.
type Part = (&'static str, fn() -> Answer);

/// Parts of the live page, which nobody asks for by hand.
const PARTS: [Part; 2] = [("/page.css", page::css), ("/page.js", page::js)];

impl Endpoint {
    fn answer(&self, request: &Request<'_>) -> Answer {
        let asked = ROUTES.iter().position(|route| route.paths.contains(&request.path));
        let part = PARTS.iter().find(|(path, _)| *path == request.path);
        let (route, answer) = match (asked, part) {
            (Some(route), _) => (asked, (ROUTES[route].answer)(self)),
            // A part of the page is counted as the page.
            (None, Some((_, part))) => (Some(HOME), part()),
            (None, None) => (None, not_found()),
        };
        let answer = answer.unless_known(request);
        self.meters.answered(route, answer.status);
        answer
    }

    fn home(&self) -> Answer {
        if self.status.is_some() { page::html() } else { list_of_pages() }
    }

    fn report(&self) -> Answer {
        let Some(status) = &self.status else {
            return Answer::text(404, "This endpoint observes no server.");
        };
        Answer::new("application/json", status.report(&(self.readiness)()))
    }

    fn metrics(&self) -> Answer {
        let begun = Instant::now();
        let text = TextEncoder::new().encode_to_string(&self.registry.gather());
        self.meters.scraped(begun.elapsed(), text.is_err());
        match text {
            // Prometheus 3 fails a scrape whose type it does not know.
            Ok(body) => Answer::new("text/plain; version=0.0.4; charset=utf-8", body),
            Err(error) => Answer::text(500, format!("The metrics cannot be written: {error}.")),
        }
    }

    fn ready(&self) -> Answer {
        match (self.readiness)() {
            Readiness::Ready => Answer::text(200, "ok"),
            Readiness::NotReady(reason) => Answer::text(503, format!("not ready: {reason}")),
        }
    }
}

fn not_found() -> Answer {
    let mut text = "There is no such page. There are:".to_owned();
    for route in ROUTES {
        text += &format!("\n{:<9} {}", route.paths[0], route.about);
    }
    Answer::text(404, text)
}

fn list_of_pages() -> Answer {
    let mut body = "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
                    <title>welcomed</title>\n<h1>welcomed</h1>\n<ul>\n"
        .to_owned();
    for Route { paths, about, .. } in ROUTES {
        body += &format!("<li><a href=\"{0}\">{0}</a>: {about}</li>\n", paths[0]);
    }
    body += concat!("</ul>\n<p>Version ", env!("CARGO_PKG_VERSION"), "</p>\n</html>\n");
    Answer::new("text/html; charset=utf-8", body)
}

impl Service for Endpoint {
    fn call(
        &self,
        ctx: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        let (answer, head_only, keep_alive) = match http::parse(message) {
            Ok(request) if !self.policy.permits(ctx.peer()) => {
                self.meters.refused_denied();
                (Answer::text(403, "This address may not look here."), request.head_only, false)
            }
            Ok(request) => (self.answer(&request), request.head_only, request.keep_alive),
            Err(Rejection { answer, head_only }) => {
                self.meters.refused_malformed();
                (answer, head_only, false)
            }
        };
        let keep_alive = keep_alive && !answer.is_error() && !ctx.stopping();
        answer.print(reply, head_only, keep_alive)?;
        Ok(if keep_alive { Flow::Continue } else { Flow::Close })
    }

    fn refuse(&self, refusal: Refusal, reply: &mut Reply<'_>) {
        let answer = match refusal {
            Refusal::Busy => Answer::text(503, refusal.to_string()).with_header("Retry-After", "1"),
            Refusal::TooLong { limit } => {
                Answer::text(431, format!("The request's head is longer than {limit} bytes."))
            }
            Refusal::Internal => Answer::text(500, refusal.to_string()),
        };
        let mut text = Vec::new();
        // A write into a vector does not fail.
        if answer.print(&mut text, false, false).is_err() {
            return;
        }
        // The engine asks for these words once and says them for years: they carry no date, which
        // a server error may do without (RFC 9110, section 6.6.1).
        let dated = |line: &[u8]| refusal == Refusal::Busy && line.starts_with(b"Date:");
        for line in text.split_inclusive(|byte| *byte == b'\n').filter(|line| !dated(line)) {
            reply.push(line);
        }
    }
}
