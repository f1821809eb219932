//! All sizes together, measured beside predicted: what the reports are of.

use super::choice::{Candidate, Choice, count};
use super::measure::Measured;
use super::model::{Model, Predicted};
use super::plan::Plan;
use super::wait::{Wait, Waits};
use crate::bench::{Load, Pace};
use crate::sizing::{Human, MOST_UTILIZED, MOST_WORKERS, Target};

/// Handler times are near enough to their mean for a client's latency to tell the wait.
const MOST_VARIATION: f64 = 0.1;
/// From here on the machine is measured and not the pool.
const CPU_NEARLY_FULL: f64 = 0.9;
/// Less than this part of a predicted throughput is not what a prediction may be off by.
const FAR_BEHIND: f64 = 0.8;

/// What came of a plan.
pub(super) struct Sweep {
    pub(super) title: String,
    pub(super) load: Load,
    pub(super) target: Target,
    pub(super) sizes: Vec<Size>,
    pub(super) model: Model,
    pub(super) waits_from: WaitsFrom,
    pub(super) choice: Option<Choice>,
    pub(super) interrupted: bool,
}

/// One size.
pub(super) struct Size {
    pub(super) measured: Measured,
    pub(super) waits: Waits,
    pub(super) predicted: Option<Predicted>,
}

/// Where measured waits come from, the same for all sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFrom {
    Clients,
    Server,
}

impl Sweep {
    pub(super) fn new(plan: &Plan, measured: Vec<Measured>, interrupted: bool) -> Self {
        let seen: Vec<_> = measured.iter().map(|it| it.seen).collect();
        let model = Model::new(&seen, &plan.load);
        let waits_from = if model.demand.service_cv2 <= MOST_VARIATION {
            WaitsFrom::Clients
        } else {
            WaitsFrom::Server
        };
        let size = |measured: Measured| {
            let wait: Option<Wait> = match waits_from {
                WaitsFrom::Clients => measured.client_wait(),
                WaitsFrom::Server => measured.server_wait,
            };
            let waits = match wait {
                _ if model.saturates(&measured.seen) => Waits::Saturated,
                Some(wait) => Waits::Known(wait),
                None => Waits::Unknown,
            };
            Size { predicted: model.predict(measured.workers()), measured, waits }
        };
        let sizes: Vec<Size> = measured.into_iter().map(size).collect();
        let candidates: Vec<Candidate> = sizes.iter().filter_map(Size::candidate).collect();
        let choice = Choice::of(&candidates, plan.target);
        let (title, load, target) = (plan.describe(), plan.load.clone(), plan.target);
        Self { title, load, target, sizes, model, waits_from, choice, interrupted }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.load.pace, Pace::Open { .. })
    }

    /// What limits the answer, a sentence each.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let demand = &self.model.demand;
        if !self.model.from.is_empty() {
            let from: Vec<String> = self.model.from.iter().map(usize::to_string).collect();
            notes.push(format!(
                "A message holds a worker for {} on average (cv2 {:.2}, measured with {} {}): \
                 predictions follow from that.",
                Human(demand.service_seconds),
                demand.service_cv2,
                from.join(", "),
                if self.model.from == [1] { "worker" } else { "workers" },
            ));
        }
        notes.push(match self.waits_from {
            WaitsFrom::Clients => "Waits are the clients' latency less the handler's mean time.",
            WaitsFrom::Server => {
                "Waits are the server's, from its run queue, interpolated between the bounds of \
                 its buckets: the handler's times vary too much to tell them from latencies."
            }
        }
        .to_owned());
        notes.extend(self.machine());
        notes.extend(self.fewer());
        notes.extend(self.more());
        if self.interrupted {
            notes.push("It was interrupted: the last size may be short, others missing.".into());
        }
        notes
    }

    /// Whether something else than the pool was the limit.
    fn machine(&self) -> Option<String> {
        let is_full = |it: &&Size| it.measured.cpu_utilisation() >= CPU_NEARLY_FULL;
        if let Some(full) = self.sizes.iter().find(is_full) {
            return Some(format!(
                "From {} on server and load kept the cores {:.0} % busy: more workers cannot \
                 show what they can do on this machine.",
                count(full.measured.workers()),
                full.measured.cpu_utilisation() * 100.0,
            ));
        }
        // The workers were not the reason: the load is too weak, or others use the cores.
        let share = |it: &Size| Some(it.measured.throughput() / it.predicted?.throughput);
        let is_behind = |it: &&Size| {
            it.measured.seen.utilisation() < MOST_UTILIZED
                && share(it).is_some_and(|share| share < FAR_BEHIND)
        };
        let behind = self.sizes.iter().find(is_behind)?;
        Some(format!(
            "With {} there was {:.0} % of the predicted throughput, while the pool was busy for \
             {:.0} % of its time: the load or the machine was the limit there.",
            count(behind.measured.workers()),
            share(behind)? * 100.0,
            behind.measured.seen.utilisation() * 100.0,
        ))
    }

    /// Errors by size.
    pub(super) fn errors(&self) -> Vec<String> {
        let wrong = self.sizes.iter().filter(|it| !it.measured.report.errors.is_empty());
        let errors = |it: &Size| {
            format!("errors with {}: {}", count(it.measured.workers()), it.measured.report.errors)
        };
        wrong.map(errors).collect()
    }

    /// A size between two that were measured may do.
    fn fewer(&self) -> Option<String> {
        let choice = self.choice.as_ref().filter(|choice| choice.keeps)?;
        let sizes = self.sizes.iter().map(|it| it.measured.workers());
        let below = sizes.filter(|size| *size < choice.workers).max()?;
        let less = self.keeps(below + 1..choice.workers)?;
        Some(format!("By the prediction {less} would do: --sweep {less} would show it."))
    }

    /// A size above all that were measured may do.
    fn more(&self) -> Option<String> {
        self.choice.as_ref().filter(|choice| !choice.keeps)?;
        let most = self.sizes.iter().map(|it| it.measured.workers()).max()?;
        let more = self.keeps(most + 1..MOST_WORKERS + 1)?;
        Some(format!("By the prediction it takes {more}: --sweep {more} would show it."))
    }

    fn keeps(&self, mut sizes: std::ops::Range<usize>) -> Option<usize> {
        sizes.find(|size| {
            let wait = self.model.predict(*size).and_then(|it| it.waits.known());
            wait.and_then(|wait| wait.of(self.target))
                .is_some_and(|wait| wait <= self.target.seconds())
        })
    }
}

impl Size {
    fn candidate(&self) -> Option<Candidate> {
        let right = self.measured.report.errors.is_empty() && self.measured.seen.messages > 0;
        right.then(|| Candidate {
            workers: self.measured.workers(),
            throughput: self.measured.throughput(),
            waits: self.waits,
        })
    }
}
