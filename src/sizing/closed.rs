//! The closed loop: so many clients, each of which waits for its reply before it asks again.
//!
//! Such a load slows down with the server, so that what an open load would wait says nothing
//! about it. Used to recognise one, and for what can be said of it.

use super::MOST_WORKERS;

/// A closed loop: clients that ask, wait for the reply, think, and ask again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Closed {
    /// How many clients there are.
    pub clients: usize,
    /// How long each thinks between a reply and its next message, on average, in seconds.
    pub think_seconds: f64,
    /// How long a message holds a worker, on average, in seconds.
    pub service_seconds: f64,
}

/// What a closed loop comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ClosedPrediction {
    /// Messages a second.
    pub throughput_per_second: f64,
    /// Part of the workers' time that is spent, 0 to 1.
    pub utilisation: f64,
    /// The mean wait for a worker, in seconds.
    pub wait_mean_seconds: f64,
}

impl Closed {
    /// The most messages a second that `workers` on `cores` can answer, with `cpu_seconds` of CPU
    /// each: `min(N/(S+Z), c/S, n/D)` (Denning and Buzen, "The operational analysis of queueing
    /// network models", 1978). Nothing if a number is out of range.
    #[must_use]
    pub fn bound_per_second(&self, workers: usize, cpu_seconds: f64, cores: f64) -> Option<f64> {
        let Self { clients, think_seconds, service_seconds } = *self;
        let by_clients = clients as f64 / (service_seconds + think_seconds);
        let by_workers = workers as f64 / service_seconds;
        let by_cpu = if cpu_seconds > 0.0 { cores / cpu_seconds } else { f64::INFINITY };
        let bound = by_clients.min(by_workers).min(by_cpu);
        let valid = self.is_valid() && cpu_seconds >= 0.0 && cores > 0.0;
        (valid && bound.is_finite()).then_some(bound)
    }

    /// The exact solution for exponential work and thought: the machine repairman's model,
    /// M/M/c//N, as a birth-and-death chain over the clients that are not thinking (C. Palm 1947).
    /// Nothing if a number is out of range.
    #[must_use]
    pub fn predict(&self, workers: usize) -> Option<ClosedPrediction> {
        let Self { clients, think_seconds, service_seconds } = *self;
        if !self.is_valid() || !(1..=MOST_WORKERS).contains(&workers) {
            return None;
        }
        // A client that does not think never leaves the queue: the limit of ever shorter thought.
        let think = think_seconds.max(service_seconds * 1e-9);
        let (mut weight, mut all, mut busy, mut queued) = (1.0_f64, 1.0, 0.0, 0.0);
        for inside in 1..=clients {
            let working = inside.min(workers) as f64;
            weight *= (clients - inside + 1) as f64 * (service_seconds / think) / working;
            all += weight;
            busy += weight * working;
            queued += weight * inside.saturating_sub(workers) as f64;
            if all > 1e200 {
                // Only ratios count.
                [weight, all, busy, queued] = [weight, all, busy, queued].map(|it| it / all);
            }
        }
        let busy = busy / all;
        let throughput = busy / service_seconds;
        let prediction = ClosedPrediction {
            throughput_per_second: throughput,
            utilisation: busy / workers as f64,
            // Little's law.
            wait_mean_seconds: queued / all / throughput,
        };
        let finite = prediction.throughput_per_second.is_finite()
            && prediction.utilisation.is_finite()
            && prediction.wait_mean_seconds.is_finite();
        finite.then_some(prediction)
    }

    fn is_valid(&self) -> bool {
        (1..=MOST_WORKERS).contains(&self.clients)
            && self.think_seconds.is_finite()
            && self.think_seconds >= 0.0
            && self.service_seconds.is_finite()
            && self.service_seconds > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(clients: usize, think_seconds: f64) -> Closed {
        Closed { clients, think_seconds, service_seconds: 0.1 }
    }

    #[test]
    fn small_loops_are_the_textbooks() {
        // Nobody waits for as many workers as clients: X = N/(S+Z).
        let alone = closed(4, 0.3).predict(4).unwrap();
        assert!((alone.throughput_per_second - 10.0).abs() < 1e-9, "{alone:?}");
        assert!(alone.wait_mean_seconds.abs() < 1e-12 && (alone.utilisation - 0.25).abs() < 1e-9);
        // Two clients, one worker, Z = S: p = 1/5, 2/5, 2/5; busy 4/5, X = 8, Wq = 2/5 / 8.
        let two = closed(2, 0.1).predict(1).unwrap();
        assert!((two.throughput_per_second - 8.0).abs() < 1e-9, "{two:?}");
        assert!((two.wait_mean_seconds - 0.05).abs() < 1e-9);
        // Without thought the workers are never idle, and the others always wait.
        let full = closed(6, 0.0).predict(2).unwrap();
        assert!((full.throughput_per_second - 20.0).abs() < 1e-4, "{full:?}");
        assert!((full.wait_mean_seconds - 0.2).abs() < 1e-4, "{full:?}");
    }

    #[test]
    fn no_loop_exceeds_its_bound() {
        for (clients, think) in [(1, 0.0), (3, 0.2), (50, 0.5), (3000, 1.0)] {
            for workers in [1, 2, 7, 64] {
                let closed = closed(clients, think);
                let predicted = closed.predict(workers).unwrap();
                let bound = closed.bound_per_second(workers, 0.0, 1.0).unwrap();
                assert!(predicted.throughput_per_second <= bound * (1.0 + 1e-9), "{closed:?}");
                assert!(predicted.throughput_per_second >= bound * 0.5, "{closed:?} {predicted:?}");
            }
        }
        assert_eq!(closed(100, 0.0).bound_per_second(64, 0.05, 2.0), Some(40.0));
    }

    #[test]
    fn what_is_out_of_range_has_no_answer() {
        assert_eq!(closed(0, 1.0).predict(1), None);
        assert_eq!(closed(1, 1.0).predict(0), None);
        assert_eq!(closed(1, f64::NAN).predict(1), None);
        assert_eq!(closed(1, -1.0).bound_per_second(1, 0.0, 1.0), None);
        assert_eq!(closed(usize::MAX, 1.0).predict(usize::MAX), None);
        assert_eq!(closed(1, 1.0).bound_per_second(1, f64::NAN, 1.0), None);
    }
}
