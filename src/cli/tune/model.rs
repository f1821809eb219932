//! What the sizes should come to: from what messages cost, measured over the sweep, to
//! predictions. The mathematics are `sizing`'s; here is which of them fits the load.

use super::wait::{Wait, Waits};
use crate::bench::{Arrivals, Load, Pace};
use crate::sizing::{self, Closed, MOST_UTILIZED, Observed, Prediction};

/// A pool whose workers were busy for this part of their time,
const ALWAYS_BUSY: f64 = 0.99;
/// and which did less than this part of what came, was saturated, whatever was predicted.
const KEEPS_UP: f64 = 0.98;

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
    pub(super) utilisation: f64,
    pub(super) waits: Waits,
}

impl Model {
    /// The costs are of the sizes that were not full, together: in a full pool messages disturb
    /// each other. If all were full they are of all.
    pub(super) fn new(seen: &[Observed], load: &Load) -> Self {
        let answered = || seen.iter().filter(|it| it.messages > 0);
        let not_full = |it: &&Observed| it.utilisation() < MOST_UTILIZED;
        let mut used: Vec<&Observed> = answered().filter(not_full).collect();
        if used.is_empty() {
            used = answered().collect();
        }
        let sum = used.iter().fold(Observed::default(), |sum, it| add(sum, it));
        let demand = sizing::Load { clients: None, ..sum.load() };
        let demand = match load.pace {
            Pace::Closed { .. } => demand,
            Pace::Open { rate, arrivals } => {
                let arrival_cv2 = if arrivals == Arrivals::Poisson { 1.0 } else { 0.0 };
                sizing::Load { arrivals_per_second: rate, arrival_cv2, ..demand }
            }
        };
        let from = used.iter().map(|it| it.workers).collect();
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
        let Prediction { utilisation, wait, .. } = sizing::predict(&self.demand, workers).ok()?;
        let rate = self.demand.arrivals_per_second;
        let by_workers = workers as f64 / self.demand.service_seconds;
        let throughput = rate.min(by_workers).min(self.most_by_cpu());
        let waits = match wait {
            _ if utilisation >= 1.0 || throughput < rate => Waits::Saturated,
            Ok(wait) => {
                Waits::Known(Wait { mean: wait.mean, p50: Some(wait.p50), p99: Some(wait.p99) })
            }
            Err(_) => Waits::Unknown,
        };
        Some(Predicted { workers, throughput, utilisation: utilisation.min(1.0), waits })
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
            utilisation: (throughput * service_seconds / workers as f64).min(1.0),
            waits: Waits::Known(Wait { mean, p50: None, p99: None }),
        })
    }

    /// Whether more messages come than so many workers can do: never in a closed loop.
    pub(super) fn saturates(&self, seen: &Observed) -> bool {
        let Pace::Open { rate, .. } = self.pace else { return false };
        let predicted = self.predict(seen.workers);
        let is_behind = seen.load().arrivals_per_second < rate * KEEPS_UP;
        predicted.is_some_and(|it| it.waits == Waits::Saturated)
            || (seen.utilisation() >= ALWAYS_BUSY && is_behind)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use std::time::Duration;

    /// A second in which each message held a worker for exactly 10 ms.
    fn second(workers: usize, messages: u64) -> Observed {
        let busy_seconds = messages as f64 * 0.01;
        Observed {
            seconds: 1.0,
            workers,
            messages,
            busy_seconds,
            handler_seconds: busy_seconds,
            handler_seconds_squared: messages as f64 * 0.0001,
            cpu_seconds: Some(messages as f64 * 0.0001),
            cores: Some(2.0),
            ..Observed::default()
        }
    }

    fn load(pace: Pace, connections: usize) -> Load {
        Load { pace, connections, ..Load::new(([127, 0, 0, 1], 9).into()) }
    }

    fn closed(think_millis: u64) -> Pace {
        Pace::Closed { in_flight: 1, think: Duration::from_millis(think_millis) }
    }

    fn open(rate: f64) -> Pace {
        Pace::Open { rate, arrivals: Arrivals::Poisson }
    }

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= expected * 1e-3
    }

    #[test]
    fn costs_are_of_the_sizes_that_were_not_full() {
        let full = Observed { busy_seconds: 1.0, handler_seconds: 1.0, ..second(1, 50) };
        let model = Model::new(&[full, second(2, 100), second(4, 100)], &load(open(100.0), 64));
        assert_eq!(model.from, [2, 4]);
        assert!(near(model.demand.service_seconds, 0.01), "{:?}", model.demand);
        assert!(model.demand.service_cv2 < 1e-9 && model.demand.arrival_cv2 == 1.0);
        let only = Model::new(&[full], &load(open(100.0), 64));
        assert_eq!(only.from, [1]);
        assert!(near(only.demand.service_seconds, 0.02));
        let nothing = Model::new(&[second(1, 0)], &load(closed(0), 4));
        assert_eq!((nothing.predict(1), nothing.from.len()), (None, 0));
    }

    #[test]
    fn a_closed_loop_is_as_fast_as_its_workers_then_as_its_clients_then_as_the_cores() {
        let model = Model::new(&[second(4, 100)], &load(closed(0), 4));
        let one = model.predict(1).unwrap();
        assert!(near(one.throughput, 100.0) && near(one.utilisation, 1.0), "{one:?}");
        assert!(near(one.waits.known().unwrap().mean, 0.03), "{one:?}");
        let many = model.predict(16).unwrap();
        assert!(near(many.throughput, 400.0) && near(many.utilisation, 0.25), "{many:?}");
        assert!(many.waits.known().unwrap().mean < 1e-6, "{many:?}");
        assert!(!model.saturates(&second(1, 100)));
        // 10 ms of CPU on two cores: 200 a second, and the clients wait for the CPU.
        let heavy = Observed { cpu_seconds: Some(1.0), ..second(4, 100) };
        let bound = Model::new(&[heavy], &load(closed(0), 4)).predict(4).unwrap();
        assert!(near(bound.throughput, 200.0), "{bound:?}");
        assert!(near(bound.waits.known().unwrap().mean, 0.01), "{bound:?}");
    }

    #[test]
    fn an_open_loop_is_saturated_where_more_comes_than_can_be_done() {
        let model = Model::new(&[second(4, 150)], &load(open(150.0), 256));
        let one = model.predict(1).unwrap();
        assert_eq!(one.waits, Waits::Saturated);
        assert!(near(one.throughput, 100.0) && near(one.utilisation, 1.0), "{one:?}");
        assert!(model.saturates(&second(1, 100)) && !model.saturates(&second(2, 150)));
        let two = model.predict(2).unwrap();
        let wait = two.waits.known().unwrap();
        assert!(near(two.throughput, 150.0) && near(two.utilisation, 0.75), "{two:?}");
        assert!(wait.p50.unwrap() < wait.mean && wait.mean < wait.p99.unwrap(), "{wait:?}");
        // Nearly full: that the wait is long is all there is to say.
        let nearly = Model::new(&[second(4, 195)], &load(open(195.0), 256));
        assert_eq!(nearly.predict(2).unwrap().waits, Waits::Unknown);
        // Behind, though by its costs it should not be.
        assert!(nearly.saturates(&Observed { busy_seconds: 2.0, ..second(2, 150) }));
    }
}
