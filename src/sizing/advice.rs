//! From a load and a target to a number of workers, with the reason in words.
//!
//! Called by `endpoint` and `welcomed advise`. Decides; the numbers are `queue`'s.

use super::{FEWEST_MESSAGES, Human, Limit, Load, MOST_UTILIZED, MOST_WORKERS, Prediction, Wait};
use super::{predict_from, queue};
use std::fmt;

/// What messages should wait at most, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// On average.
    MeanWait(f64),
    /// 99 of 100.
    P99Wait(f64),
}

impl Target {
    /// The number of a [`Wait`] that it is about.
    #[must_use]
    pub fn of(self, wait: &Wait) -> f64 {
        match self {
            Self::MeanWait(_) => wait.mean,
            Self::P99Wait(_) => wait.p99,
        }
    }

    /// At most so many seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        match self {
            Self::MeanWait(seconds) | Self::P99Wait(seconds) => seconds,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::MeanWait(_) => "a mean wait",
            Self::P99Wait(_) => "a 99th percentile of the wait",
        };
        write!(f, "{what} of at most {}", Human(self.seconds()))
    }
}

/// What limits the advice without making it void.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// The target would take more workers than the cores can keep running.
    #[error(
        "the handler is bound by the CPU: {useful} workers keep all cores busy, and more cannot \
         help; the target is not met"
    )]
    CpuBound {
        /// How many workers do.
        useful: usize,
    },
    /// Little CPU is left.
    #[error("the load needs {utilisation:.2} of all CPU; times will stretch before workers help")]
    CpuNearlyFull {
        /// Part of the cores' time.
        utilisation: f64,
    },
    /// A longer tail than was tried.
    #[error(
        "service times vary much (cv2 {cv2:.1}): some messages take very long; the p95 and p99 \
         of the wait are too low here"
    )]
    LongTail {
        /// Of the service times.
        cv2: f64,
    },
    /// More irregular arrivals than was tried.
    #[error(
        "messages arrive in bursts (cv2 {cv2:.1}): waits are rough estimates, and probably too \
         low inside a burst"
    )]
    Bursts {
        /// Of the times between arrivals.
        cv2: f64,
    },
    /// The pool was full: what arrived is not known, only what it managed.
    #[error(
        "the workers were {utilisation:.2} busy, so more may have arrived than they could do: \
         the size is a lower bound; look again once it has changed"
    )]
    Full {
        /// Of the pool as it was.
        utilisation: f64,
    },
    /// Nobody measured how irregular arrivals are.
    #[error("arrivals were taken to be independent of each other (Poisson): bursts are not seen")]
    ArrivalsAssumed,
    /// What was predicted for the present size is not what was measured.
    #[error(
        "messages waited {} and not {} as predicted for this size: something that the model does \
         not know is at work",
        Human(*measured),
        Human(*predicted)
    )]
    Differs {
        /// The mean wait, in seconds.
        measured: f64,
        /// What it should be, in seconds.
        predicted: f64,
    },
}

/// A number of workers, and why.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Advice {
    /// How many, or why that is not said.
    pub recommended: Result<usize, Limit>,
    /// The reason, in one sentence.
    pub reason: String,
    /// What limits it.
    pub warnings: Vec<Warning>,
    /// The sizes around it; those that were asked for are among them.
    pub table: Vec<Prediction>,
}

/// The smallest number of workers that keeps `target`, and `shown`, the present number for
/// example, beside it in the table.
#[must_use]
pub fn advise(load: &Load, target: Target, shown: &[usize]) -> Advice {
    let recommended = recommend(load, target);
    let warnings = warnings(load, target, recommended);
    let table = table(load, recommended, shown);
    let reason = match recommended {
        Err(limit) => sentence(&limit.to_string()),
        Ok(workers) => reason(target, &table, workers, &warnings),
    };
    Advice { recommended, reason, warnings, table }
}

fn recommend(load: &Load, target: Target) -> Result<usize, Limit> {
    load.check()?;
    if load.messages < FEWEST_MESSAGES {
        return Err(Limit::TooFewMessages { messages: load.messages });
    }
    if let Some(clients) = load.clients {
        return Err(Limit::ClosedLoop { clients });
    }
    if !(0.0..=1e30).contains(&target.seconds()) {
        return Err(Limit::NotMeasured { what: "the target" });
    }
    let utilisation = load.cpu_utilisation();
    if utilisation >= MOST_UTILIZED {
        return Err(Limit::CpuFull { utilisation });
    }
    // A size that the CPU cannot feed is no answer, but one that carries the load must be.
    let stable = sizes(load).find(|size| size.wait.is_ok()).ok_or(Limit::Workers)?.workers;
    let most = load.useful_workers().max(stable);
    let keeps =
        |size: &Prediction| size.wait.is_ok_and(|wait| target.of(&wait) <= target.seconds());
    let fitting = sizes(load).take(most).find(keeps);
    match fitting {
        Some(size) => Ok(size.workers),
        None if most < MOST_WORKERS => Ok(most),
        None => Err(Limit::Workers),
    }
}

/// Predictions for 1, 2, ... workers, by one recursion.
fn sizes(load: &Load) -> impl Iterator<Item = Prediction> {
    let erlang_c = queue::erlang_c_by_size(load.offered()).take(MOST_WORKERS);
    erlang_c.map(|(workers, waiting)| predict_from(load, workers, waiting))
}

fn warnings(load: &Load, target: Target, recommended: Result<usize, Limit>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let Ok(workers) = recommended else { return warnings };
    let kept = sizes(load).nth(workers - 1).and_then(|size| size.wait.ok());
    if kept.is_none_or(|wait| target.of(&wait) > target.seconds()) {
        warnings.push(Warning::CpuBound { useful: workers });
    }
    let utilisation = load.cpu_utilisation();
    if utilisation >= 0.8 {
        warnings.push(Warning::CpuNearlyFull { utilisation });
    }
    // The simulation in the tests goes so far.
    if load.service_cv2 > 4.5 {
        warnings.push(Warning::LongTail { cv2: load.service_cv2 });
    }
    if load.arrival_cv2 > 4.5 {
        warnings.push(Warning::Bursts { cv2: load.arrival_cv2 });
    }
    warnings
}

/// Around the recommended size, or from the least that carries the load.
fn table(load: &Load, recommended: Result<usize, Limit>, shown: &[usize]) -> Vec<Prediction> {
    if load.check().is_err() {
        return Vec::new();
    }
    let least = (load.offered().min(MOST_WORKERS as f64) as usize).saturating_add(1);
    let middle = recommended.unwrap_or(least);
    let around = (middle.saturating_sub(2).max(least.min(middle))..).take(5);
    let beyond = [middle + middle.div_ceil(2), 2 * middle];
    let wanted = around.chain(beyond).chain(shown.iter().copied());
    let mut wanted: Vec<usize> = wanted.filter(|size| (1..=MOST_WORKERS).contains(size)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let last = wanted.last().copied().unwrap_or(0);
    sizes(load).take(last).filter(|size| wanted.binary_search(&size.workers).is_ok()).collect()
}

fn reason(target: Target, table: &[Prediction], workers: usize, warnings: &[Warning]) -> String {
    let noun = if workers == 1 { "worker" } else { "workers" };
    if warnings.iter().any(|warning| matches!(warning, Warning::CpuBound { .. })) {
        return format!(
            "{workers} {noun}: as many as the cores can keep running; for {target} the machine is \
             too small, or the handler too slow."
        );
    }
    let at = |size: usize| table.iter().find(|it| it.workers == size).map(|it| it.wait);
    let now = at(workers).and_then(Result::ok).map_or(0.0, |wait| target.of(&wait));
    let fewer = match workers.checked_sub(1).and_then(at) {
        Some(Ok(wait)) => format!("with one less it would be {}", Human(target.of(&wait))),
        Some(Err(Limit::NearlyFull { .. })) => {
            let most = MOST_UTILIZED * 100.0;
            format!("with one less they would be more than {most:.0} % busy")
        }
        _ => "fewer cannot carry the load".to_owned(),
    };
    let fewer = if workers == 1 { String::new() } else { format!(", {fewer}") };
    format!(
        "{workers} {noun}: the smallest size with {target}: {} is predicted{fewer}.",
        Human(now)
    )
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}
