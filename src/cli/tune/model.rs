//! What the sizes should come to: from what messages cost, measured over the sweep, to
//! predictions. The mathematics are `sizing`'s; here is which of them fits the load.

use super::measure::{Measured, Wait};
use crate::bench::{Arrivals, Load, Pace};
use crate::sizing::{self, Closed, MOST_UTILIZED, Observed, Prediction};

/// What messages cost, and what loads the pool.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) demand: sizing::Load,
    /// The sizes that it was measured at.
    pub(super) from: Vec<usize>,
    pace: Pace,
    connections: usize,
}

/// What is expected at one size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Predicted {
    pub(super) workers: usize,
    /// Messages per second.
    pub(super) throughput: f64,
    /// Part of the workers' time that is spent.
    pub(super) utilization: f64,
    pub(super) waits: Waits,
}

/// What is said about waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Waits {
    Known(Wait),
    /// More arrives than can be done: they grow.
    Saturated,
    /// Nothing.
    Unknown,
}

impl Waits {
    pub(super) fn known(self) -> Option<Wait> {
        match self {
            Self::Known(wait) => Some(wait),
            Self::Saturated | Self::Unknown => None,
        }
    }
}

impl Model {
    /// The costs are of the sizes that were not full, together: in a full pool messages disturb
    /// each other. If all were full they are of all.
    pub(super) fn new(measured: &[Measured], load: &Load) -> Self {
        let answered = || measured.iter().filter(|it| it.seen.messages > 0);
        let not_full = |it: &&Measured| it.seen.utilization() < MOST_UTILIZED;
        let mut used: Vec<&Measured> = answered().filter(not_full).collect();
        if used.is_empty() {
            used = answered().collect();
        }
        let sum = used.iter().fold(Observed::default(), |sum, it| add(sum, &it.seen));
        let demand = sizing::Load { clients: None, ..sum.load() };
        let demand = match load.pace {
            Pace::Closed { .. } => demand,
            Pace::Open { rate, arrivals } => {
                let arrival_cv2 = if arrivals == Arrivals::Poisson { 1.0 } else { 0.0 };
                sizing::Load { arrivals_per_second: rate, arrival_cv2, ..demand }
            }
        };
        let from = used.iter().map(|it| it.workers()).collect();
        Self { demand, from, pace: load.pace, connections: load.connections }
    }

    /// Nothing if nothing is known of the messages.
    pub(super) fn predict(&self, workers: usize) -> Option<Predicted> {
        match self.pace {
            Pace::Open { .. } => self.open(workers),
            Pace::Closed { think, .. } => self.closed(workers, think.as_secs_f64()),
        }
    }

    /// What the cores can do: server and load share them.
    fn most_by_cpu(&self) -> f64 {
        let sizing::Load { cpu_seconds, cores, .. } = self.demand;
        if cpu_seconds > 0.0 { cores / cpu_seconds } else { f64::INFINITY }
    }

    fn open(&self, workers: usize) -> Option<Predicted> {
        let Prediction { utilization, wait, .. } = sizing::predict(&self.demand, workers).ok()?;
        let rate = self.demand.arrivals_per_second;
        let by_workers = workers as f64 / self.demand.service_seconds;
        let throughput = rate.min(by_workers).min(self.most_by_cpu());
        let waits = match wait {
            _ if utilization >= 1.0 || throughput < rate => Waits::Saturated,
            Ok(wait) => {
                Waits::Known(Wait { mean: wait.mean, p50: Some(wait.p50), p99: Some(wait.p99) })
            }
            Err(_) => Waits::Unknown,
        };
        Some(Predicted { workers, throughput, utilization: utilization.min(1.0), waits })
    }

    fn closed(&self, workers: usize, think_seconds: f64) -> Option<Predicted> {
        let service_seconds = self.demand.service_seconds;
        let clients = self.connections;
        let predicted = Closed { clients, think_seconds, service_seconds }.predict(workers)?;
        let throughput = predicted.throughput_per_second.min(self.most_by_cpu());
        // A client's round is the wait, the work and the thought (the response time law).
        let round = clients as f64 / throughput;
        let mean = predicted.wait_mean_seconds.max(round - service_seconds - think_seconds);
        Some(Predicted {
            workers,
            throughput,
            utilization: (throughput * service_seconds / workers as f64).min(1.0),
            waits: Waits::Known(Wait { mean, p50: None, p99: None }),
        })
    }

    /// Whether more messages come than so many workers can do: never in a closed loop.
    pub(super) fn saturates(&self, measured: &Measured) -> bool {
        let Pace::Open { rate, .. } = self.pace else { return false };
        let predicted = self.predict(measured.workers());
        predicted.is_some_and(|it| it.waits == Waits::Saturated)
            || (measured.seen.utilization() > 0.99 && measured.throughput() < rate * 0.98)
    }
}

fn add(sum: Observed, more: &Observed) -> Observed {
    Observed {
        seconds: sum.seconds + more.seconds,
        messages: sum.messages + more.messages,
        busy_seconds: sum.busy_seconds + more.busy_seconds,
        handler_seconds: sum.handler_seconds + more.handler_seconds,
        handler_seconds_squared: sum.handler_seconds_squared + more.handler_seconds_squared,
        cpu_seconds: Some(sum.cpu_seconds.unwrap_or(0.0) + more.cpu_seconds.unwrap_or(0.0)),
        cores: more.cores,
        ..sum
    }
}
