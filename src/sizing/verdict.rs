//! What the pool needs, in one plain sentence, from what was seen of it.
//!
//! Called by `endpoint` for the live page, beside the number that `advise` recommends. What was
//! measured decides whether anything is wrong, the model how many workers would mend it; neither
//! is ever done by itself.

use super::{Advice, DEFAULT_TARGET, Human, Limit, MOST_UTILIZED, Warning};
use std::time::Duration;

/// What was seen. Times are in seconds, ratios 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    /// The window's length; all rates and quantiles are over it.
    pub seconds: f64,
    /// Worker threads.
    pub workers: usize,
    /// Part of the workers' time spent in turns.
    pub utilisation: f64,
    /// Part of the time in which all were busy and someone waited.
    pub saturated: f64,
    /// Messages answered or failed.
    pub messages: u64,
    /// The mean wait for a worker.
    pub wait_mean: Option<f64>,
    /// The 95th percentile of them.
    pub wait_p95: Option<f64>,
    /// The median of the handler's times.
    pub handler_p50: Option<f64>,
    /// How long the oldest turn under way has run.
    pub longest_turn: Option<Duration>,
    /// How many workers have been in their turn for longer than the server allows.
    pub overdue: usize,
    /// The history's length.
    pub history_seconds: f64,
    /// How many workers its busiest moment kept busy.
    pub peak_busy_workers: f64,
}

/// What to do about the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub(crate) enum Verdict {
    /// Too little was seen.
    Unknown,
    /// Nothing.
    Fine,
    /// More workers would help.
    Grow,
    /// Fewer would do.
    Shrink,
    /// Something else than the number of workers is slow.
    Elsewhere,
}

impl Verdict {
    /// Its name in `/status`.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Fine => "fine",
            Self::Grow => "grow",
            Self::Shrink => "shrink",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// Before this much was seen, chance speaks.
const ENOUGH_SECONDS: f64 = 3.0;
/// A wait that a client could notice, if the handler is not much slower anyway.
const NOTICEABLE_WAIT: f64 = 0.005;
/// Beyond it, waits grow steeply with each more message.
const BUSY: f64 = 0.75;
/// A pool is called too large only when it was so for minutes, at its busiest moment too.
const ENOUGH_HISTORY_SECONDS: f64 = 300.0;
/// A handler that takes this long is what its clients wait for.
const SLOW_HANDLER: f64 = 1.0;
/// A turn that looks stuck.
const LONG_TURN: Duration = Duration::from_secs(60);

/// The verdict, and the sentence that says why. `advice` is for the same window.
#[must_use]
pub(crate) fn verdict(seen: &Seen, advice: &Advice) -> (Verdict, String) {
    if seen.workers == 0 {
        return (Verdict::Unknown, "No worker is running.".to_owned());
    }
    if seen.seconds < ENOUGH_SECONDS {
        return (Verdict::Unknown, "Watching; a few more seconds will tell.".to_owned());
    }
    let (verdict, what) = judge(seen, advice);
    let percent = (seen.utilisation * 100.0).round();
    let noun = if seen.workers == 1 { "worker" } else { "workers" };
    (verdict, format!("{} {noun}, {percent} % busy, {what}.", seen.workers))
}

fn judge(seen: &Seen, advice: &Advice) -> (Verdict, String) {
    let wait = seen.wait_p95.unwrap_or(0.0);
    let handler = seen.handler_p50.unwrap_or(0.0);
    let waits = match seen.wait_p95 {
        Some(wait) => format!("messages wait {}", Human(wait)),
        None => "none waited".to_owned(),
    };
    if let Some(turn) = seen.longest_turn.filter(|turn| seen.overdue > 0 || *turn >= LONG_TURN) {
        let what = format!("one of them for {} with one turn", Human(turn.as_secs_f64()));
        return (Verdict::Elsewhere, format!("{what}: look whether the handler is stuck"));
    }
    let full = seen.utilisation >= BUSY;
    if wait >= NOTICEABLE_WAIT.max(handler / 10.0) {
        return if full && is_bound_by_cpu(seen, advice) {
            let why = "the CPU is the limit, and more workers cannot help";
            (Verdict::Elsewhere, format!("{waits}: {why}"))
        } else if full && is_enough(seen, advice) {
            let mean = Human(seen.wait_mean.unwrap_or(0.0));
            let some = format!("some messages wait {}, the mean is {mean}", Human(wait));
            (Verdict::Fine, format!("{some}: fine, with little in reserve"))
        } else if full {
            (Verdict::Grow, format!("{waits}: {}", more(seen, advice)))
        } else if seen.saturated >= 0.05 {
            (Verdict::Grow, format!("{waits} in bursts: more workers would shorten them"))
        } else {
            let why = "workers were free, so look at the machine's CPU";
            (Verdict::Elsewhere, format!("yet {waits}: {why}"))
        };
    }
    if handler >= SLOW_HANDLER {
        let slow = format!("the handler takes {}", Human(handler));
        return (Verdict::Elsewhere, format!("{waits}, {slow}: that is slow, not the pool"));
    }
    // The model for the present load, the history for what came before it.
    let needed = needed_workers(seen.peak_busy_workers).max(advice.recommended.unwrap_or(0));
    if seen.history_seconds >= ENOUGH_HISTORY_SECONDS && needed * 2 <= seen.workers {
        let minutes = (seen.history_seconds / 60.0).round();
        let what = format!("and no busier for {minutes} minutes");
        return (Verdict::Shrink, format!("{what}: {needed} would do"));
    }
    if full {
        return (Verdict::Fine, format!("{waits}: fine, with little in reserve"));
    }
    if seen.messages == 0 && seen.utilisation < 0.01 {
        return (Verdict::Fine, "nothing to do: fine".to_owned());
    }
    (Verdict::Fine, format!("{waits}: fine"))
}

fn more(seen: &Seen, advice: &Advice) -> String {
    match advice.recommended {
        // A full pool hides what it cannot do.
        Ok(workers) if workers > seen.workers && seen.utilisation >= MOST_UTILIZED => {
            format!("at least {workers} are needed")
        }
        Ok(workers) if workers > seen.workers => format!("{workers} would do"),
        _ => "more workers would help".to_owned(),
    }
}

/// What was measured and what the model says agree that messages wait no longer than they may.
fn is_enough(seen: &Seen, advice: &Advice) -> bool {
    advice.recommended.is_ok_and(|workers| workers <= seen.workers)
        && seen.utilisation < MOST_UTILIZED
        && seen.wait_mean.is_some_and(|wait| wait <= DEFAULT_TARGET.seconds())
}

fn is_bound_by_cpu(seen: &Seen, advice: &Advice) -> bool {
    let useful =
        |it: &Warning| matches!(it, Warning::CpuBound { useful } if *useful <= seen.workers);
    matches!(advice.recommended, Err(Limit::CpuFull { .. })) || advice.warnings.iter().any(useful)
}

/// Enough to keep a peak below [`BUSY`].
fn needed_workers(peak_busy: f64) -> usize {
    // Saturates for what is no number of workers.
    ((peak_busy / BUSY).ceil() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight workers, half busy, nobody waits.
    fn well() -> Seen {
        Seen {
            seconds: 30.0,
            workers: 8,
            utilisation: 0.5,
            saturated: 0.0,
            messages: 1000,
            wait_mean: Some(0.0001),
            wait_p95: Some(0.0002),
            handler_p50: Some(0.02),
            longest_turn: None,
            overdue: 0,
            history_seconds: 900.0,
            peak_busy_workers: 5.0,
        }
    }

    #[track_caller]
    fn says(seen: Seen, expected: Verdict, sentence: &str) {
        assert_eq!(verdict(&seen, &none()), (expected, sentence.to_owned()), "{seen:?}");
    }

    /// Too little was seen for a number.
    fn none() -> Advice {
        recommending(Err(Limit::TooFewMessages { messages: 3 }))
    }

    fn recommending(recommended: Result<usize, Limit>) -> Advice {
        Advice { recommended, reason: String::new(), warnings: Vec::new(), table: Vec::new() }
    }

    #[test]
    fn the_model_says_how_many() {
        let wait_mean = Some(0.0123);
        let full = Seen { utilisation: 0.9, wait_mean, wait_p95: Some(0.04), ..well() };
        let says = |seen: &Seen, recommended, end: &str| {
            let (_, sentence) = verdict(seen, &recommending(recommended));
            assert!(sentence.ends_with(end), "{sentence}");
        };
        says(&full, Ok(11), "messages wait 40 ms: 11 would do.");
        says(&full, Ok(8), "messages wait 40 ms: more workers would help.");
        let short = Seen { wait_mean: Some(0.009), ..full.clone() };
        let end = "some messages wait 40 ms, the mean is 9 ms: fine, with little in reserve.";
        says(&short, Ok(8), end);
        let over = Seen { utilisation: 0.99, ..full.clone() };
        says(&over, Ok(9), "messages wait 40 ms: at least 9 are needed.");
        // A load whose peak is small, and yet needs more for what it may wait.
        let large = Seen { workers: 16, utilisation: 0.04, peak_busy_workers: 1.4, ..well() };
        says(&large, Ok(5), "and no busier for 15 minutes: 5 would do.");

        let cpu = "messages wait 40 ms: the CPU is the limit, and more workers cannot help.";
        says(&full, Err(Limit::CpuFull { utilisation: 0.97 }), cpu);
        let warnings = vec![Warning::CpuBound { useful: 2 }];
        let bound = Advice { warnings, ..recommending(Ok(2)) };
        assert_eq!(verdict(&full, &bound).0, Verdict::Elsewhere);
    }

    #[test]
    fn a_pool_in_order_is_fine() {
        says(well(), Verdict::Fine, "8 workers, 50 % busy, messages wait 200 µs: fine.");
        let full = Seen { utilisation: 0.9, peak_busy_workers: 7.5, ..well() };
        let sentence = "8 workers, 90 % busy, messages wait 200 µs: fine, with little in reserve.";
        says(full, Verdict::Fine, sentence);
        let idle = Seen {
            utilisation: 0.0,
            messages: 0,
            wait_p95: None,
            handler_p50: None,
            history_seconds: 60.0,
            ..well()
        };
        says(idle, Verdict::Fine, "8 workers, 0 % busy, nothing to do: fine.");
    }

    #[test]
    fn waits_at_a_full_pool_ask_for_workers() {
        let full = Seen { utilisation: 0.96, wait_p95: Some(0.04), ..well() };
        let sentence = "8 workers, 96 % busy, messages wait 40 ms: more workers would help.";
        says(full.clone(), Verdict::Grow, sentence);
        let one = Seen { workers: 1, wait_p95: Some(1.26), peak_busy_workers: 1.0, ..full };
        let sentence = "1 worker, 96 % busy, messages wait 1.3 s: more workers would help.";
        says(one, Verdict::Grow, sentence);
        let bursts = Seen { saturated: 0.2, wait_p95: Some(0.04), ..well() };
        let sentence =
            "8 workers, 50 % busy, messages wait 40 ms in bursts: more workers would shorten them.";
        says(bursts, Verdict::Grow, sentence);
    }

    #[test]
    fn a_wait_that_the_handler_dwarfs_is_none() {
        let dwarfed = Seen { wait_p95: Some(0.04), handler_p50: Some(0.5), ..well() };
        assert_eq!(verdict(&dwarfed, &none()).0, Verdict::Fine);
    }

    #[test]
    fn what_more_workers_would_not_help_is_said_so() {
        let cpu = Seen { wait_p95: Some(0.04), ..well() };
        let sentence = "8 workers, 50 % busy, yet messages wait 40 ms: \
                        workers were free, so look at the machine's CPU.";
        says(cpu, Verdict::Elsewhere, sentence);
        let slow = Seen { handler_p50: Some(2.0), ..well() };
        let sentence = "8 workers, 50 % busy, messages wait 200 µs, \
                        the handler takes 2 s: that is slow, not the pool.";
        says(slow, Verdict::Elsewhere, sentence);
        let stuck = Seen { longest_turn: Some(Duration::from_secs(200)), ..well() };
        let sentence = "8 workers, 50 % busy, one of them for 3 min with one turn: \
                        look whether the handler is stuck.";
        says(stuck, Verdict::Elsewhere, sentence);
        let second = Some(Duration::from_secs(1));
        let impatient = Seen { longest_turn: second, overdue: 1, ..well() };
        let sentence = "8 workers, 50 % busy, one of them for 1 s with one turn: \
                        look whether the handler is stuck.";
        says(impatient, Verdict::Elsewhere, sentence);
    }

    #[test]
    fn only_minutes_call_a_pool_too_large_and_its_busiest_moment_counts() {
        let large = Seen { utilisation: 0.04, peak_busy_workers: 1.4, ..well() };
        let sentence = "8 workers, 4 % busy, and no busier for 15 minutes: 2 would do.";
        says(large.clone(), Verdict::Shrink, sentence);
        let short = Seen { history_seconds: 200.0, ..large.clone() };
        assert_eq!(verdict(&short, &none()).0, Verdict::Fine);
        let peak = Seen { peak_busy_workers: 6.0, ..large.clone() };
        assert_eq!(verdict(&peak, &none()).0, Verdict::Fine);
        let smallest = Seen { workers: 1, peak_busy_workers: 0.0, ..large };
        assert_eq!(verdict(&smallest, &none()).0, Verdict::Fine);
    }

    #[test]
    fn without_enough_seen_nothing_is_claimed() {
        let early = Seen { seconds: 2.0, ..well() };
        says(early, Verdict::Unknown, "Watching; a few more seconds will tell.");
        says(Seen { workers: 0, ..well() }, Verdict::Unknown, "No worker is running.");
    }
}
