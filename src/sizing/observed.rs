//! From a pool's counters to a [`Load`]: what was seen of it over a while.
//!
//! Filled by `endpoint` from snapshots and by `welcomed advise` from `/metrics` or Prometheus, so
//! that all three say the same of the same pool.

use super::{Advice, Load, MOST_UTILIZED, Target, Warning, advise, predict};

/// A closed loop is suspected when this part of the clients waits for a reply at any time.
const MOST_OF_CLIENTS: f64 = 0.25;
/// Unless they come and go: a connection for every few messages is an arrival itself.
const MESSAGES_PER_CONNECTION: f64 = 5.0;
/// And unless their next message is there before the last is answered: who waits for a reply
/// leaves the connection idle, to be handed back, after almost every message.
const PARKS_PER_MESSAGE: f64 = 0.5;
/// A prediction may be off by this part of the measured wait,
const FAR_OFF: f64 = 0.5;
/// or by this many seconds: while all workers are busy, readiness is noticed every 5 ms.
const FAR_OFF_SECONDS: f64 = 0.006;

/// What was seen of a pool over a window. Sums and counts are what its counters grew by.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Observed {
    /// The window's length.
    pub seconds: f64,
    /// Worker threads.
    pub workers: usize,
    /// Messages answered or failed.
    pub messages: u64,
    /// Time that all workers together spent in turns.
    pub busy_seconds: f64,
    /// Time in the handler.
    pub handler_seconds: f64,
    /// The squares of the messages' times in it.
    pub handler_seconds_squared: f64,
    /// CPU time of the process, if it is known.
    pub cpu_seconds: Option<f64>,
    /// Cores that it may use, if that is known.
    pub cores: Option<f64>,
    /// As [`arrival_cv2`](super::arrival_cv2) has it.
    pub arrival_cv2: Option<f64>,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open on average.
    pub open: f64,
    /// Times a connection was handed back to wait for input.
    pub parks: u64,
    /// Waits for a worker: how many.
    pub waits: u64,
    /// And how long all together.
    pub wait_seconds: f64,
}

impl Observed {
    /// Part of the workers' time that was spent.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        ratio(self.busy_seconds, self.seconds * self.workers as f64)
    }

    /// The mean time of a message in the handler.
    #[must_use]
    pub fn handler_mean_seconds(&self) -> f64 {
        ratio(self.handler_seconds, self.messages as f64)
    }

    /// The mean wait for a worker.
    #[must_use]
    pub fn wait_mean_seconds(&self) -> f64 {
        ratio(self.wait_seconds, self.waits as f64)
    }

    /// What it says about the load. What a message costs is all of its worker's time, reading and
    /// writing included; how that varies is how the handler's part of it does.
    #[must_use]
    pub fn load(&self) -> Load {
        let messages = self.messages as f64;
        let service = ratio(self.busy_seconds.max(self.handler_seconds), messages);
        let handler = self.handler_mean_seconds();
        let variance = ratio(self.handler_seconds_squared, messages) - handler * handler;
        // Without cores the CPU is no bound that could be named.
        let (cpu_seconds, cores) = match (self.cpu_seconds, self.cores) {
            (Some(cpu), Some(cores)) => (ratio(cpu, messages), cores),
            _ => (0.0, 1.0),
        };
        Load {
            messages: self.messages,
            arrivals_per_second: ratio(messages, self.seconds),
            // A full pool is as regular as its work, whatever arrives.
            arrival_cv2: self
                .arrival_cv2
                .filter(|_| self.utilisation() < MOST_UTILIZED)
                .unwrap_or(1.0),
            service_seconds: service,
            service_cv2: ratio(variance.max(0.0), service * service),
            cpu_seconds,
            cores,
            clients: self.closed_loop(),
        }
    }

    /// The clients, if they seem to wait for their replies: many of them do so at any time, they
    /// are always the same ones, and they send nothing meanwhile. By Little's law as many messages
    /// are with the server as its workers are busy and turns wait.
    fn closed_loop(&self) -> Option<usize> {
        let inside = ratio(self.busy_seconds + self.wait_seconds, self.seconds);
        let messages = self.messages as f64;
        let stay = (self.accepted as f64) * MESSAGES_PER_CONNECTION < messages;
        let patient = self.parks as f64 > PARKS_PER_MESSAGE * messages;
        let closed = stay && patient && self.open > 0.0 && inside > self.open * MOST_OF_CLIENTS;
        closed.then(|| (self.open.round() as usize).max(1))
    }

    /// The advice for it, with what the observation itself leaves open among the warnings.
    #[must_use]
    pub fn advise(&self, target: Target) -> Advice {
        let load = self.load();
        let mut advice = advise(&load, target, &[self.workers]);
        if advice.recommended.is_err() {
            return advice;
        }
        let warnings = &mut advice.warnings;
        if self.utilisation() >= MOST_UTILIZED {
            warnings.push(Warning::Full { utilisation: self.utilisation() });
        }
        if self.arrival_cv2.is_none() {
            warnings.push(Warning::ArrivalsAssumed);
        }
        if let Ok(Ok(wait)) = predict(&load, self.workers).map(|now| now.wait) {
            let (predicted, measured) = (wait.mean, self.wait_mean_seconds());
            if (predicted - measured).abs() > (FAR_OFF * measured).max(FAR_OFF_SECONDS) {
                warnings.push(Warning::Differs { measured, predicted });
            }
        }
        advice
    }
}

/// 0 of nothing.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizing::Limit;

    /// 200 messages a second of 10 ms, half of them exactly 8 and half 12.
    fn minute() -> Observed {
        Observed {
            seconds: 60.0,
            workers: 4,
            messages: 12_000,
            busy_seconds: 121.0,
            handler_seconds: 120.0,
            handler_seconds_squared: 6000.0 * (0.008_f64.powi(2) + 0.012_f64.powi(2)),
            cpu_seconds: Some(0.6),
            cores: Some(2.0),
            arrival_cv2: Some(1.1),
            accepted: 10,
            open: 60.0,
            parks: 11_900,
            waits: 12_000,
            wait_seconds: 12.0,
        }
    }

    #[test]
    fn counters_become_a_load() {
        let load = minute().load();
        assert_eq!((load.arrivals_per_second, load.arrival_cv2, load.cores), (200.0, 1.1, 2.0));
        assert!((load.service_seconds - 121.0 / 12_000.0).abs() < 1e-12);
        assert!((load.service_cv2 - 0.04 * (120.0_f64 / 121.0).powi(2)).abs() < 1e-9, "{load:?}");
        assert_eq!((load.cpu_seconds, load.clients), (0.6 / 12_000.0, None));
        assert!((load.offered() / 4.0 - minute().utilisation()).abs() < 1e-12);
        assert_eq!(minute().wait_mean_seconds(), 0.001);
        assert_eq!(Observed::default().load().arrivals_per_second, 0.0);
    }

    #[test]
    fn clients_that_wait_for_their_replies_are_recognised() {
        let few = Observed { open: 5.0, ..minute() };
        assert_eq!(few.load().clients, Some(5));
        let target = Target::MeanWait(0.01);
        assert_eq!(few.advise(target).recommended, Err(Limit::ClosedLoop { clients: 5 }));
        // They send on while they wait: more than the server can do, but not as fast as it does it.
        assert_eq!(Observed { parks: 600, ..few }.load().clients, None);
        // The same number at a time, but others every time.
        assert_eq!(Observed { accepted: 12_000, ..few }.load().clients, None);
    }

    #[test]
    fn what_the_observation_leaves_open_is_said() {
        let target = Target::MeanWait(0.01);
        assert_eq!(minute().advise(target).warnings, []);
        assert!(minute().advise(target).recommended.is_ok_and(|workers| workers == 3));
        let assumed = Observed { arrival_cv2: None, ..minute() };
        assert_eq!(assumed.advise(target).warnings, [Warning::ArrivalsAssumed]);
        let slow = Observed { wait_seconds: 1200.0, open: 900.0, ..minute() };
        let warnings = slow.advise(target).warnings;
        assert!(matches!(warnings[..], [Warning::Differs { .. }]), "{warnings:?}");
        let full = Observed { workers: 2, ..minute() };
        let warnings = full.advise(target).warnings;
        assert!(matches!(warnings[..], [Warning::Full { .. }]), "{warnings:?}");
        assert_eq!(Observed { arrival_cv2: Some(0.0), ..full }.load().arrival_cv2, 1.0);
    }
}
