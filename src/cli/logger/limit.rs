//! The limit of equal warnings and errors: so many a second from one place in the code, then a
//! count of the rest.
//!
//! Asked by the backend for each warning and error; its thread collects the counts. Pure: it is
//! told the time, and neither writes nor waits.

use log::{Level, Record};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Records that one place may write in a window.
const BURST: u32 = 10;
/// The window.
const WINDOW: Duration = Duration::from_secs(1);
/// Places that are remembered. More cannot be busy at once: a program has few such lines.
const MOST_PLACES: usize = 256;

/// What is known of each place, by a hash of where it is.
#[derive(Debug, Default)]
pub(super) struct Limit {
    places: HashMap<u64, Place>,
}

#[derive(Debug)]
struct Place {
    since: Instant,
    passed: u32,
    suppressed: Suppressed,
}

/// Records that were held back.
#[derive(Debug, Clone)]
pub(super) struct Suppressed {
    pub(super) level: Level,
    pub(super) target: String,
    /// What the first of them said.
    pub(super) example: String,
    pub(super) count: u64,
}

/// What is to become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// Held back, the first of its place: the example is wanted under this key.
    First(u64),
    Suppress,
}

impl Limit {
    /// Judges a record.
    pub(super) fn judge(&mut self, record: &Record<'_>, now: Instant) -> Verdict {
        let key = key(record);
        if self.places.len() >= MOST_PLACES && !self.places.contains_key(&key) {
            self.places.retain(|_, place| place.suppressed.count > 0 || !place.is_over(now));
            if self.places.len() >= MOST_PLACES {
                return Verdict::Pass;
            }
        }
        let place = self.places.entry(key).or_insert_with(|| Place {
            since: now,
            passed: 0,
            suppressed: Suppressed {
                level: record.level(),
                target: record.target().to_owned(),
                example: String::new(),
                count: 0,
            },
        });
        let suppressed = &mut place.suppressed;
        // With a count that is still to be told the window stays shut: `collect` opens it.
        if suppressed.count == 0 && now.duration_since(place.since) >= WINDOW {
            (place.since, place.passed) = (now, 0);
        }
        if place.passed < BURST {
            place.passed += 1;
            return Verdict::Pass;
        }
        suppressed.count += 1;
        if suppressed.count == 1 { Verdict::First(key) } else { Verdict::Suppress }
    }

    /// Notes what the first suppressed record said.
    pub(super) fn set_example(&mut self, key: u64, example: String) {
        if let Some(place) = self.places.get_mut(&key) {
            place.suppressed.example = example;
        }
    }

    /// When there is something to collect.
    pub(super) fn due(&self) -> Option<Instant> {
        let held = self.places.values().filter(|place| place.suppressed.count > 0);
        held.map(|place| place.since + WINDOW).min()
    }

    /// The counts of the windows that are over, or of all, and opens those windows anew.
    pub(super) fn collect(&mut self, now: Instant, all: bool) -> Vec<Suppressed> {
        let held = self.places.values_mut();
        let held = held.filter(|it| it.suppressed.count > 0 && (all || it.is_over(now)));
        let collect = |place: &mut Place| {
            let collected = place.suppressed.clone();
            place.suppressed.count = 0;
            (place.since, place.passed) = (now, 0);
            collected
        };
        held.map(collect).collect()
    }
}

impl Place {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= WINDOW
    }
}

/// Where a record comes from: its line in the source, and what else tells records apart that
/// have none.
fn key(record: &Record<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (record.level(), record.target(), record.file(), record.line()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(limit: &mut Limit, line: u32, now: Instant) -> Verdict {
        let mut record = Record::builder();
        record.level(Level::Warn).target("t").file(Some("f.rs")).line(Some(line));
        limit.judge(&record.build(), now)
    }

    /// How many of a thousand pass.
    fn flood(limit: &mut Limit, line: u32, now: Instant) -> usize {
        (0..1000).filter(|_| judge(limit, line, now) == Verdict::Pass).count()
    }

    #[test]
    fn a_place_has_its_burst_in_each_window_and_no_other_place_pays_for_it() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        assert_eq!(flood(&mut limit, 1, start), 10);
        assert_eq!(flood(&mut limit, 2, start), 10);
        assert_eq!(limit.due(), Some(start + WINDOW));
        assert!(limit.collect(start, false).is_empty(), "the window is not over");

        let later = start + WINDOW;
        assert_eq!(flood(&mut limit, 1, later), 0, "what was held back is told first");
        let mut counts: Vec<u64> = limit.collect(later, false).iter().map(|it| it.count).collect();
        counts.sort_unstable();
        assert_eq!(counts, [990, 1990]);
        assert_eq!(flood(&mut limit, 1, later), 10);
        assert_eq!(limit.due(), Some(later + WINDOW));
    }

    #[test]
    fn a_slow_stream_passes_for_ever() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        for number in 0..100 {
            let now = start + WINDOW / BURST * number;
            assert_eq!(judge(&mut limit, 1, now), Verdict::Pass, "{number}");
        }
        assert_eq!(limit.due(), None);
    }

    #[test]
    fn what_is_held_back_is_told_with_an_example() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        for _ in 0..BURST {
            judge(&mut limit, 1, start);
        }
        let Verdict::First(key) = judge(&mut limit, 1, start) else { panic!("not held back") };
        limit.set_example(key, "it burns".to_owned());
        assert_eq!(judge(&mut limit, 1, start), Verdict::Suppress);
        let told = limit.collect(start, true);
        assert_eq!((told.len(), told[0].count, told[0].level), (1, 2, Level::Warn));
        assert_eq!((told[0].target.as_str(), told[0].example.as_str()), ("t", "it burns"));
        assert!(limit.collect(start + WINDOW, true).is_empty(), "told once");
    }

    #[test]
    fn the_table_is_bounded_and_a_full_one_limits_nobody() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        for line in 0..1000 {
            assert_eq!(judge(&mut limit, line, start), Verdict::Pass);
        }
        assert_eq!(limit.places.len(), MOST_PLACES);
        assert_eq!(flood(&mut limit, 999, start), 1000);
        // Places that have been quiet for a window make room.
        assert_eq!(flood(&mut limit, 999, start + WINDOW), 10);
        assert_eq!(limit.places.len(), 1);
    }
}
