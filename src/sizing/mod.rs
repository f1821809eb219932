//! How large the pool should be: queueing mathematics, and advice in words.
//!
//! Pure: numbers in, numbers and sentences out; no server, no clock, nothing of ours imported.
//! Called by `endpoint` for the live page and by `welcomed advise`. No number that it is given,
//! however odd, makes it panic or answer with something that is not finite: what it cannot say it
//! names, as a [`Limit`].
//!
//! The model is an open queue: messages arrive on their own account, wait in order of arrival, and
//! hold one of `c` workers for a while. [`Load`] describes them ([`Observed`] makes one from a
//! pool's counters), [`predict`] says what they meet at some size, [`advise`] which size keeps a
//! [`Target`]. [`Closed`] is for the other kind of load, whose clients wait for each reply before
//! they ask again.

mod advice;
mod arrivals;
mod closed;
mod human;
mod observed;
mod queue;
mod verdict;

pub use advice::{Advice, Target, Warning, advise};
pub use arrivals::arrival_cv2;
pub use closed::{Closed, ClosedPrediction};
pub(crate) use human::Human;
pub use observed::Observed;
pub(crate) use verdict::{Seen, verdict};

/// Sizes above this are not considered.
pub const MOST_WORKERS: usize = 4096;
/// From this utilisation on no wait is predicted: it grows without bounds towards 1, and an error
/// of a few hundredths in what was measured makes any number of it.
pub const MOST_UTILIZED: f64 = 0.95;
/// Before this many messages, chance speaks.
pub const FEWEST_MESSAGES: u64 = 1000;

/// What is asked for if nobody says what: few clients notice such a wait.
pub const DEFAULT_TARGET: Target = Target::MeanWait(0.01);

/// What arrives, and what it costs. Rates are per second, durations in seconds; cv2 is a squared
/// coefficient of variation: the variance by the squared mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Messages seen: what the other numbers rest on.
    pub messages: u64,
    /// Messages that arrive in a second.
    pub arrivals_per_second: f64,
    /// Of the times between arrivals: 1 for clients that know nothing of each other (Poisson).
    pub arrival_cv2: f64,
    /// How long a message holds a worker, on average.
    pub service_seconds: f64,
    /// Of that: 0 if all messages take the same time, 1 for exponential times, above for a long
    /// tail.
    pub service_cv2: f64,
    /// CPU time of the process per message; 0 if it is not known.
    pub cpu_seconds: f64,
    /// Cores that it may use.
    pub cores: f64,
    /// Clients, if they wait for each reply before they ask again.
    pub clients: Option<usize>,
}

impl Load {
    /// The offered load: how many workers are busy on average, if there are enough.
    #[must_use]
    pub fn offered(&self) -> f64 {
        self.arrivals_per_second * self.service_seconds
    }

    /// Part of all cores' time that the load needs.
    #[must_use]
    pub fn cpu_utilisation(&self) -> f64 {
        self.arrivals_per_second * self.cpu_seconds / self.cores
    }

    /// How many workers keep all cores busy: more cannot help. `cores * S / D`, with `D` the CPU
    /// time of a message and `S` all of its time.
    #[must_use]
    pub fn useful_workers(&self) -> usize {
        let useful = (self.cores * self.service_seconds / self.cpu_seconds).ceil();
        // Also for a load without CPU time, whose bound is infinite.
        if useful < MOST_WORKERS as f64 { (useful as usize).max(1) } else { MOST_WORKERS }
    }

    fn check(&self) -> Result<(), Limit> {
        let numbers = [
            ("the arrival rate", self.arrivals_per_second),
            ("the arrivals' variation", self.arrival_cv2),
            ("the service time", self.service_seconds),
            ("the service time's variation", self.service_cv2),
            ("the CPU time", self.cpu_seconds),
            ("the number of cores", self.cores),
        ];
        // Beyond 1e30 is no measurement, and products of what is below stay finite.
        let wrong = |(_, number): &&(_, f64)| !(0.0..=1e30).contains(number);
        if let Some((what, _)) = numbers.iter().find(wrong) {
            return Err(Limit::NotMeasured { what });
        }
        if self.arrivals_per_second <= 0.0 || self.messages == 0 {
            return Err(Limit::NoTraffic);
        }
        for (what, number) in [("the service time", self.service_seconds), numbers[5]] {
            if number < 1e-12 {
                return Err(Limit::NotMeasured { what });
            }
        }
        Ok(())
    }
}

/// Why there is no number.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// Nothing arrives.
    #[error("no messages arrived")]
    NoTraffic,
    /// Chance would speak.
    #[error("only {messages} messages were seen, {FEWEST_MESSAGES} are needed")]
    TooFewMessages {
        /// How many there were.
        messages: u64,
    },
    /// The load depends on the answer.
    #[error(
        "the {clients} clients wait for their replies (a closed loop): they slow down with the \
         server, so that no wait can be predicted; more than {clients} workers are never busy"
    )]
    ClosedLoop {
        /// How many clients.
        clients: usize,
    },
    /// The work does not get done.
    #[error("more work arrives than the workers can do: utilisation {utilisation:.2}")]
    Overloaded {
        /// Offered load by workers, 1 or more.
        utilisation: f64,
    },
    /// The wait depends on the last digit of the measurement.
    #[error("at utilisation {utilisation:.2} a wait cannot be predicted, only that it is long")]
    NearlyFull {
        /// Offered load by workers.
        utilisation: f64,
    },
    /// The machine is too small.
    #[error(
        "the CPU is the limit: the load needs {utilisation:.2} of it; more workers cannot help, \
         more cores or a cheaper handler can"
    )]
    CpuFull {
        /// Part of the cores' time.
        utilisation: f64,
    },
    /// A pool of no size, or of a size out of proportion.
    #[error("no size from 1 to {MOST_WORKERS} workers is enough")]
    Workers,
    /// A number is missing, negative, infinite or none at all.
    #[error("{what} is not known")]
    NotMeasured {
        /// Which.
        what: &'static str,
    },
}

/// What a load meets at some number of workers.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Prediction {
    /// How many workers.
    pub workers: usize,
    /// Part of their time that is spent; 1 and above is too much.
    pub utilisation: f64,
    /// How long messages wait for a worker, or why that is not said.
    pub wait: Result<Wait, Limit>,
}

/// How long messages wait for a worker, in seconds. Those that do not wait count as 0.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Wait {
    /// Part of the messages that wait at all.
    pub waiting: f64,
    /// On average.
    pub mean: f64,
    /// Half wait no longer.
    pub p50: f64,
    /// 95 in 100 wait no longer.
    pub p95: f64,
    /// 99 in 100 wait no longer.
    pub p99: f64,
}

/// What `load` meets at `workers`.
///
/// # Errors
///
/// The load is nothing to predict from, or `workers` is out of range. Where only the wait is
/// beyond prediction, the prediction's `wait` says so.
pub fn predict(load: &Load, workers: usize) -> Result<Prediction, Limit> {
    load.check()?;
    if !(1..=MOST_WORKERS).contains(&workers) {
        return Err(Limit::Workers);
    }
    let rho = load.offered() / workers as f64;
    let waiting =
        (rho < 1.0).then(|| queue::erlang_c(queue::erlang_b(workers, load.offered()), rho));
    Ok(predict_from(load, workers, waiting))
}

/// The same, with Erlang C at hand.
fn predict_from(load: &Load, workers: usize, waiting: Option<f64>) -> Prediction {
    let utilisation = load.offered() / workers as f64;
    let wait = match (waiting, load.clients) {
        (_, Some(clients)) => Err(Limit::ClosedLoop { clients }),
        (None, _) => Err(Limit::Overloaded { utilisation }),
        _ if utilisation >= MOST_UTILIZED => Err(Limit::NearlyFull { utilisation }),
        (Some(waiting), None) => Ok(wait(load, (workers, utilisation), waiting)),
    };
    Prediction { workers, utilisation, wait }
}

fn wait(load: &Load, pool: (usize, f64), waiting: f64) -> Wait {
    let variation = (load.arrival_cv2, load.service_cv2);
    let mean = queue::mean_wait(pool, waiting, load.service_seconds, variation);
    let quantile = |p| queue::wait_quantile(p, waiting, mean);
    Wait { waiting, mean, p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) }
}
