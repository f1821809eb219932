//! What the pool needs, in one plain sentence, from what was seen of it.
//!
//! Called by `status`. A pure function of numbers: it knows no server, no clock and no history,
//! and what it advises is never done by itself.

use std::time::Duration;

/// What was seen. Times are in seconds, ratios 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// The window's length; all rates and quantiles are over it.
    pub(super) seconds: f64,
    pub(super) workers: usize,
    /// Part of the workers' time spent in turns.
    pub(super) utilisation: f64,
    /// Part of the time in which all were busy and someone waited.
    pub(super) saturated: f64,
    pub(super) messages: u64,
    pub(super) wait_p95: Option<f64>,
    pub(super) handler_p50: Option<f64>,
    /// How long the oldest turn under way has run.
    pub(super) longest_turn: Option<Duration>,
    /// How many workers have been in their turn for longer than the server allows.
    pub(super) overdue: usize,
    /// The history's length, and how many workers its busiest moment kept busy.
    pub(super) history_seconds: f64,
    pub(super) peak_busy_workers: f64,
}

/// What to do about the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
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

impl Advice {
    /// Its name in `/status`.
    pub(super) fn name(self) -> &'static str {
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

/// The advice, and the sentence that says why.
pub(super) fn verdict(seen: &Seen) -> (Advice, String) {
    if seen.workers == 0 {
        return (Advice::Unknown, "No worker is running.".to_owned());
    }
    if seen.seconds < ENOUGH_SECONDS {
        return (Advice::Unknown, "Watching; a few more seconds will tell.".to_owned());
    }
    let (advice, what) = judge(seen);
    let percent = (seen.utilisation * 100.0).round();
    let noun = if seen.workers == 1 { "worker" } else { "workers" };
    (advice, format!("{} {noun}, {percent} % busy, {what}.", seen.workers))
}

fn judge(seen: &Seen) -> (Advice, String) {
    let wait = seen.wait_p95.unwrap_or(0.0);
    let handler = seen.handler_p50.unwrap_or(0.0);
    let waits = match seen.wait_p95 {
        Some(wait) => format!("messages wait {}", human(wait)),
        None => "none waited".to_owned(),
    };
    if let Some(turn) = seen.longest_turn.filter(|turn| seen.overdue > 0 || *turn >= LONG_TURN) {
        let what = format!("one of them for {} with one turn", human(turn.as_secs_f64()));
        return (Advice::Elsewhere, format!("{what}: look whether the handler is stuck"));
    }
    let full = seen.utilisation >= BUSY;
    if wait >= NOTICEABLE_WAIT.max(handler / 10.0) {
        return if full {
            (Advice::Grow, format!("{waits}: more workers would help"))
        } else if seen.saturated >= 0.05 {
            (Advice::Grow, format!("{waits} in bursts: more workers would shorten them"))
        } else {
            let why = "workers were free, so look at the machine's CPU";
            (Advice::Elsewhere, format!("yet {waits}: {why}"))
        };
    }
    if handler >= SLOW_HANDLER {
        let slow = format!("the handler takes {}", human(handler));
        return (Advice::Elsewhere, format!("{waits}, {slow}: that is slow, not the pool"));
    }
    let needed = needed_workers(seen.peak_busy_workers);
    if seen.history_seconds >= ENOUGH_HISTORY_SECONDS && needed * 2 <= seen.workers {
        let minutes = (seen.history_seconds / 60.0).round();
        let what = format!("and no busier for {minutes} minutes");
        return (Advice::Shrink, format!("{what}: {needed} would do"));
    }
    if full {
        return (Advice::Fine, format!("{waits}: fine, with little in reserve"));
    }
    if seen.messages == 0 && seen.utilisation < 0.01 {
        return (Advice::Fine, "nothing to do: fine".to_owned());
    }
    (Advice::Fine, format!("{waits}: fine"))
}

/// Enough to keep a peak below [`BUSY`].
fn needed_workers(peak_busy: f64) -> usize {
    // Saturates for what is no number of workers.
    ((peak_busy / BUSY).ceil() as usize).max(1)
}

/// A duration in the unit that suits it: `40 ms`.
fn human(seconds: f64) -> String {
    let in_unit = |value: f64, unit| {
        let digits = if value < 9.95 && value.fract() >= 0.05 { 1 } else { 0 };
        format!("{value:.digits$} {unit}")
    };
    match seconds {
        s if s < 0.000_000_5 => "0 ms".to_owned(),
        s if s < 0.001 => in_unit((s * 1e6).round(), "µs"),
        s if s < 1.0 => in_unit(s * 1e3, "ms"),
        s if s < 120.0 => in_unit(s, "s"),
        s => in_unit((s / 60.0).floor(), "min"),
    }
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
            wait_p95: Some(0.0002),
            handler_p50: Some(0.02),
            longest_turn: None,
            overdue: 0,
            history_seconds: 900.0,
            peak_busy_workers: 5.0,
        }
    }

    #[track_caller]
    fn says(seen: Seen, advice: Advice, sentence: &str) {
        assert_eq!(verdict(&seen), (advice, sentence.to_owned()), "{seen:?}");
    }

    #[test]
    fn a_pool_in_order_is_fine() {
        says(well(), Advice::Fine, "8 workers, 50 % busy, messages wait 200 µs: fine.");
        let full = Seen { utilisation: 0.9, peak_busy_workers: 7.5, ..well() };
        let sentence = "8 workers, 90 % busy, messages wait 200 µs: fine, with little in reserve.";
        says(full, Advice::Fine, sentence);
        let idle = Seen {
            utilisation: 0.0,
            messages: 0,
            wait_p95: None,
            handler_p50: None,
            history_seconds: 60.0,
            ..well()
        };
        says(idle, Advice::Fine, "8 workers, 0 % busy, nothing to do: fine.");
    }

    #[test]
    fn waits_at_a_full_pool_ask_for_workers() {
        let full = Seen { utilisation: 0.96, wait_p95: Some(0.04), ..well() };
        let sentence = "8 workers, 96 % busy, messages wait 40 ms: more workers would help.";
        says(full.clone(), Advice::Grow, sentence);
        let one = Seen { workers: 1, wait_p95: Some(1.26), peak_busy_workers: 1.0, ..full };
        let sentence = "1 worker, 96 % busy, messages wait 1.3 s: more workers would help.";
        says(one, Advice::Grow, sentence);
        let bursts = Seen { saturated: 0.2, wait_p95: Some(0.04), ..well() };
        let sentence =
            "8 workers, 50 % busy, messages wait 40 ms in bursts: more workers would shorten them.";
        says(bursts, Advice::Grow, sentence);
    }

    #[test]
    fn a_wait_that_the_handler_dwarfs_is_none() {
        let dwarfed = Seen { wait_p95: Some(0.04), handler_p50: Some(0.5), ..well() };
        assert_eq!(verdict(&dwarfed).0, Advice::Fine);
    }

    #[test]
    fn what_more_workers_would_not_help_is_said_so() {
        let cpu = Seen { wait_p95: Some(0.04), ..well() };
        let sentence = "8 workers, 50 % busy, yet messages wait 40 ms: \
                        workers were free, so look at the machine's CPU.";
        says(cpu, Advice::Elsewhere, sentence);
        let slow = Seen { handler_p50: Some(2.0), ..well() };
        let sentence = "8 workers, 50 % busy, messages wait 200 µs, \
                        the handler takes 2 s: that is slow, not the pool.";
        says(slow, Advice::Elsewhere, sentence);
        let stuck = Seen { longest_turn: Some(Duration::from_secs(200)), ..well() };
        let sentence = "8 workers, 50 % busy, one of them for 3 min with one turn: \
                        look whether the handler is stuck.";
        says(stuck, Advice::Elsewhere, sentence);
        let second = Some(Duration::from_secs(1));
        let impatient = Seen { longest_turn: second, overdue: 1, ..well() };
        let sentence = "8 workers, 50 % busy, one of them for 1 s with one turn: \
                        look whether the handler is stuck.";
        says(impatient, Advice::Elsewhere, sentence);
    }

    #[test]
    fn only_minutes_call_a_pool_too_large_and_its_busiest_moment_counts() {
        let large = Seen { utilisation: 0.04, peak_busy_workers: 1.4, ..well() };
        let sentence = "8 workers, 4 % busy, and no busier for 15 minutes: 2 would do.";
        says(large.clone(), Advice::Shrink, sentence);
        let short = Seen { history_seconds: 200.0, ..large.clone() };
        assert_eq!(verdict(&short).0, Advice::Fine);
        let peak = Seen { peak_busy_workers: 6.0, ..large.clone() };
        assert_eq!(verdict(&peak).0, Advice::Fine);
        let smallest = Seen { workers: 1, peak_busy_workers: 0.0, ..large };
        assert_eq!(verdict(&smallest).0, Advice::Fine);
    }

    #[test]
    fn without_enough_seen_nothing_is_claimed() {
        let early = Seen { seconds: 2.0, ..well() };
        says(early, Advice::Unknown, "Watching; a few more seconds will tell.");
        says(Seen { workers: 0, ..well() }, Advice::Unknown, "No worker is running.");
    }

    #[test]
    fn durations_have_a_unit_that_suits_them() {
        for (seconds, text) in [
            (0.0, "0 ms"),
            (0.000_25, "250 µs"),
            (0.0042, "4.2 ms"),
            (0.04, "40 ms"),
            (0.5, "500 ms"),
            (1.26, "1.3 s"),
            (10.0, "10 s"),
            (150.0, "2 min"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }
}
