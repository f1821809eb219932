//! Which of the sizes to take, and why: what the line in the configuration says.

use super::wait::Waits;
use crate::sizing::{Human, Target};
use std::fmt::Write;

/// A throughput that is lower by less than this is no lower: that is how far two runs differ.
const AS_GOOD_AS: f64 = 0.95;

/// A size that was measured and answered all messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) workers: usize,
    pub(super) throughput: f64,
    pub(super) waits: Waits,
}

/// The size to take.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub(super) workers: usize,
    /// Whether it keeps the target.
    pub(super) keeps: bool,
    /// In one sentence.
    pub(super) reason: String,
}

impl Choice {
    /// The smallest that keeps the target as measured; if none does, the smallest that is as fast
    /// as the fastest. `candidates` are from the smallest on; of none there is no choice.
    pub(super) fn of(candidates: &[Candidate], target: Target) -> Option<Self> {
        let wait = |it: &Candidate| it.waits.known().and_then(|wait| wait.of(target));
        let keeps = |it: &Candidate| wait(it).is_some_and(|wait| wait <= target.seconds());
        if let Some(at) = candidates.iter().position(keeps) {
            let chosen = &candidates[at];
            let mut reason = format!(
                "{}: the smallest of the sizes measured with {target}: it was {}",
                count(chosen.workers),
                Human(wait(chosen)?)
            );
            if let Some(less) = at.checked_sub(1).map(|less| &candidates[less]) {
                let shown = match wait(less) {
                    Some(wait) => Human(wait).to_string(),
                    None => "more arrived than was done".to_owned(),
                };
                // Writing to a string cannot fail.
                let _ = write!(reason, ", and with {} {shown}", less.workers);
            }
            return Some(Self { workers: chosen.workers, keeps: true, reason: reason + "." });
        }
        let best = candidates.iter().map(|it| it.throughput).reduce(f64::max)?;
        let chosen = candidates.iter().find(|it| it.throughput >= best * AS_GOOD_AS)?;
        let reason = format!(
            "{}: no size measured has {target}; of them this is the smallest within 5 % of the \
             best throughput, {best:.0} messages/s.",
            count(chosen.workers)
        );
        Some(Self { workers: chosen.workers, keeps: false, reason })
    }

    /// What to write into the configuration.
    pub(super) fn lines(&self) -> String {
        format!("[pool]\nworkers = {}\n", self.workers)
    }
}

/// So many workers, in words.
pub(super) fn count(workers: usize) -> String {
    format!("{workers} {}", if workers == 1 { "worker" } else { "workers" })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::super::wait::Wait;
    use super::*;

    fn size(workers: usize, throughput: f64, mean: f64, p99: f64) -> Candidate {
        let waits = Waits::Known(Wait { mean, p50: None, p99: Some(p99) });
        Candidate { workers, throughput, waits }
    }

    fn chosen(candidates: &[Candidate], target: Target) -> (usize, bool) {
        let choice = Choice::of(candidates, target).unwrap();
        (choice.workers, choice.keeps)
    }

    #[test]
    fn it_is_the_smallest_that_keeps_the_target() {
        let sizes = [size(1, 200.0, 0.015, 0.02), size(2, 390.0, 0.005, 0.012)];
        let sizes = [&sizes[..], &[size(4, 780.0, 0.0001, 0.004)]].concat();
        assert_eq!(chosen(&sizes, Target::MeanWait(0.02)), (1, true));
        assert_eq!(chosen(&sizes, Target::MeanWait(0.01)), (2, true));
        assert_eq!(chosen(&sizes, Target::P99Wait(0.01)), (4, true));
        let choice = Choice::of(&sizes, Target::MeanWait(0.01)).unwrap();
        assert_eq!(
            choice.reason,
            "2 workers: the smallest of the sizes measured with a mean wait of at most 10 ms: it \
             was 5 ms, and with 1 15 ms."
        );
        assert_eq!(choice.lines(), "[pool]\nworkers = 2\n");
    }

    #[test]
    fn a_saturated_size_keeps_nothing() {
        let full = Candidate { waits: Waits::Saturated, ..size(1, 200.0, 0.0, 0.0) };
        let sizes = [full, size(2, 300.0, 0.001, 0.002)];
        let choice = Choice::of(&sizes, Target::MeanWait(0.01)).unwrap();
        assert_eq!((choice.workers, choice.keeps), (2, true));
        assert!(choice.reason.ends_with("and with 1 more arrived than was done."));
        assert_eq!(chosen(&[full], Target::MeanWait(1.0)), (1, false));
    }

    #[test]
    fn if_none_keeps_it_the_smallest_that_is_fast_is_taken() {
        let sizes = [size(1, 100.0, 9.0, 9.0), size(2, 196.0, 8.0, 9.0), size(8, 200.0, 7.0, 9.0)];
        assert_eq!(chosen(&sizes, Target::MeanWait(0.01)), (2, false));
        let reason = Choice::of(&sizes, Target::P99Wait(0.01)).unwrap().reason;
        assert!(
            reason.starts_with("2 workers: no size measured has a 99th percentile"),
            "{reason}"
        );
    }

    #[test]
    fn of_nothing_there_is_no_choice() {
        assert_eq!(Choice::of(&[], Target::MeanWait(1.0)), None);
        let unknown = Candidate { waits: Waits::Unknown, ..size(1, 200.0, 0.0, 0.0) };
        assert_eq!(chosen(&[unknown], Target::MeanWait(1.0)), (1, false));
    }
}
