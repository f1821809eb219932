//! `/status`: everything the page shows, as JSON, also for scripts.
//!
//! Called by `routes`. The fields are an interface, documented in `docs/status.md`: they are added
//! to, not renamed.

use super::Readiness;
use super::history::{History, Ring, STEP, WINDOW};
use super::interval::{Interval, total};
use super::policy::Policy;
use crate::metrics::{Snapshot, TurnNow};
use crate::sizing::{Seen, verdict};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One server, its history and its configuration.
pub(super) struct Status {
    history: Arc<History>,
    policy: Arc<Policy>,
}

impl Status {
    pub(super) fn new(
        observe: impl Fn() -> Snapshot + Send + Sync + 'static,
        policy: Arc<Policy>,
    ) -> Self {
        Self { history: Arc::new(History::new(observe)), policy }
    }

    pub(super) fn history(&self) -> Arc<History> {
        Arc::clone(&self.history)
    }

    /// The whole report.
    pub(super) fn report(&self, readiness: &Readiness) -> String {
        let now = self.history.observe();
        let ring = self.history.ring();
        let window = ring.recent(WINDOW);
        let advice = ring.advice();
        let (verdict, sentence) = verdict(&seen(&now, &window, &ring), &advice);
        let reason = advice.recommended.is_ok().then_some(&advice.reason);
        let state = match readiness {
            Readiness::Ready => "ready",
            Readiness::NotReady(reason) => reason,
        };
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": state,
            "time": unix(SystemTime::now()),
            "since": unix(self.history.since()),
            "verdict": {
                "advice": verdict.name(),
                "sentence": sentence,
                "recommended_workers": advice.recommended.ok(),
                "reason": reason,
            },
            "window": self::window(&window),
            "pool": pool(&now),
            "connections": connections(&now),
            "messages": messages(&now),
            "history": self::history(&ring),
            "config": self.policy.config(),
        });
        drop(ring);
        report.to_string()
    }
}

fn seen(now: &Snapshot, window: &Interval, ring: &Ring) -> Seen {
    Seen {
        seconds: window.seconds,
        workers: now.workers,
        utilisation: window.utilisation(),
        saturated: window.saturated(),
        messages: window.messages,
        wait_mean: window.wait_mean(),
        wait_p95: window.wait(0.95),
        handler_p50: window.handler(0.5),
        longest_turn: now.worker_turns_now.iter().flatten().map(|turn| turn.running).max(),
        overdue: now.workers_overdue,
        history_seconds: ring.seconds(),
        peak_busy_workers: ring.peak_busy_workers(),
    }
}

fn window(window: &Interval) -> Value {
    let quantiles = |of: fn(&Interval, f64) -> Option<f64>| {
        json!({
            "p50": fine(of(window, 0.5)),
            "p95": fine(of(window, 0.95)),
            "p99": fine(of(window, 0.99)),
        })
    };
    let rate = |count| round(window.per_second(count));
    json!({
        "seconds": round(window.seconds),
        "utilisation": round(window.utilisation()),
        "saturated": round(window.saturated()),
        "messages_per_second": rate(window.messages),
        "errors_per_second": rate(window.errors),
        "accepted_per_second": rate(window.accepted),
        "rejected_per_second": rate(window.rejected),
        "received_bytes_per_second": rate(window.received_bytes),
        "sent_bytes_per_second": rate(window.sent_bytes),
        "queue_wait_seconds": quantiles(Interval::wait),
        "handler_seconds": quantiles(Interval::handler),
    })
}

fn pool(now: &Snapshot) -> Value {
    let running = |turn: &Option<TurnNow>| turn.map(|turn| turn.running);
    let mut turns: Vec<Option<Duration>> = now.worker_turns_now.iter().map(running).collect();
    // Places left empty by a shrink are not idle workers.
    while turns.len() > now.workers && turns.last() == Some(&None) {
        turns.pop();
    }
    let turns = turns.into_iter().map(|turn| fine(turn.map(|turn| turn.as_secs_f64())));
    json!({
        "workers": now.workers,
        "workers_limit": now.workers_limit,
        "workers_busy": now.workers_busy,
        "workers_overdue": now.workers_overdue,
        "turn_seconds": turns.collect::<Vec<_>>(),
        "queue_limit": now.queue_limit,
        "shed_total": { "late": now.queue_shed },
        "turns_total": now.worker_turns,
        "restarts_total": now.worker_restarts,
        "busy_seconds_total": round(now.worker_busy_seconds),
        "saturated_seconds_total": round(now.saturated_seconds),
        "resizes_total": by_label(&now.resizes),
    })
}

fn connections(now: &Snapshot) -> Value {
    let listeners = now.accepted.iter().map(|listener| {
        json!({
            "address": listener.listener,
            "accepted_total": listener.accepted,
            "backlog": listener.backlog.map(|(waiting, _)| waiting),
            "backlog_limit": listener.backlog.map(|(_, limit)| limit),
        })
    });
    json!({
        "open": now.open(),
        "limit": now.connections_limit,
        "parked": now.parked,
        "queued": now.queued,
        "active": now.active,
        "closing": now.closing,
        "accepted_total": now.accepted.iter().map(|listener| listener.accepted).sum::<u64>(),
        "listeners": listeners.collect::<Vec<_>>(),
        "rejected_total": by_label(&now.rejected),
        "closed_total": by_label(&now.closed),
        "accept_errors_total": by_label(&now.accept_errors),
        "accept_pauses_total": by_label(&now.accept_pauses),
        "accept_paused_seconds_total": round(now.accept_paused_seconds),
    })
}

fn messages(now: &Snapshot) -> Value {
    json!({
        "total": now.messages,
        "errors_total": total(&now.message_errors),
        "errors_by_reason_total": by_label(&now.message_errors),
        "handler_panics_total": now.handler_panics,
        "received_bytes_total": now.received_bytes,
        "sent_bytes_total": now.sent_bytes,
    })
}

/// Columns, the oldest first: a quarter of the bytes that a list of objects takes.
fn history(ring: &Ring) -> Value {
    let column = |read: &dyn Fn(&Interval) -> Value| ring.intervals().map(read).collect::<Vec<_>>();
    let quantile = |of: fn(&Interval, f64) -> Option<f64>, q| column(&|it| fine(of(it, q)));
    json!({
        "step_seconds": STEP.as_secs(),
        "time": column(&|it| unix(it.end)),
        "utilisation": column(&|it| round(it.utilisation())),
        "saturated": column(&|it| round(it.saturated())),
        "queued": column(&|it| it.queued.into()),
        "open": column(&|it| it.open.into()),
        "messages_per_second": column(&|it| round(it.per_second(it.messages))),
        "errors_per_second": column(&|it| round(it.per_second(it.errors))),
        "accepted_per_second": column(&|it| round(it.per_second(it.accepted))),
        "rejected_per_second": column(&|it| round(it.per_second(it.rejected))),
        "queue_wait_p50": quantile(Interval::wait, 0.5),
        "queue_wait_p95": quantile(Interval::wait, 0.95),
        "queue_wait_p99": quantile(Interval::wait, 0.99),
        "handler_p50": quantile(Interval::handler, 0.5),
        "handler_p95": quantile(Interval::handler, 0.95),
        "handler_p99": quantile(Interval::handler, 0.99),
    })
}

fn by_label(counts: &[(&'static str, u64)]) -> Value {
    counts.iter().map(|(label, count)| ((*label).to_owned(), Value::from(*count))).collect()
}

fn unix(time: SystemTime) -> Value {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    round(since.as_secs_f64())
}

/// To a thousandth: no eye and no script needs more, and the report stays small.
fn round(number: f64) -> Value {
    ((number * 1e3).round() / 1e3).into()
}

/// Seconds to a microsecond, the precision of the buckets; `null` where there is no value.
fn fine(seconds: Option<f64>) -> Value {
    seconds.map(|seconds| (seconds * 1e6).round() / 1e6).into()
}
