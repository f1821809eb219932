//! Chaos: a schedule of faults, made from a seed, against the real program under load, and a
//! checker over the notes of its clients. `docs/reliability.md` says what comes and what must hold.
//!
//! `schedule` and `plan` say what is going to happen, `client`, `crew`, `program` and `storm` make
//! it happen, `transcript` is what was seen, and `checker`, `totals` and `reckoning` judge that.
//! The same seed makes the same schedule and the same clients; how they meet is the machine's.
//!
//! The program is `examples/faulty.rs`, which is `welcomed` with a handler that fails as it is
//! told, in the profile of the tests: `scripts/chaos` runs both in release mode.

mod checker;
mod client;
mod crew;
mod plan;
mod program;
mod reckoning;
mod samples;
mod schedule;
mod storm;
mod totals;
mod transcript;

use schedule::Schedule;
use std::env;
use std::time::Instant;
use storm::Storm;

const SECONDS: &str = "WELCOMED_CHAOS_SECONDS";
const SEED: &str = "WELCOMED_CHAOS_SEED";

/// Always the same storm, so that a change that breaks this test is the change that broke it. New
/// ones are for the long run, which says what it was.
#[test]
fn a_short_storm_leaves_every_reply_right() {
    run(&Schedule::new(20, 15));
}

#[test]
#[ignore = "takes as long as it is told: see scripts/chaos"]
fn a_storm_of_any_length_leaves_every_reply_right() {
    let number = |name| env::var(name).ok().map(|value| value.parse().expect(name));
    let seed = number(SEED).unwrap_or_else(|| fastrand::u64(..));
    run(&Schedule::new(seed, number(SECONDS).unwrap_or(300)));
}

/// How to have the same schedule again.
fn replay(schedule: &Schedule) -> String {
    let Schedule { seed, seconds, .. } = schedule;
    format!("seed {seed}; again: scripts/chaos {seconds} {seed}")
}

fn run(schedule: &Schedule) {
    let (seconds, count) = (schedule.seconds, schedule.steps.len());
    eprintln!("chaos: {count} steps in {seconds} s, {}", replay(schedule));
    let began = Instant::now();
    let figures = Storm::new(schedule).run();
    eprintln!("{figures}");
    eprintln!("{:.0} s, {}", began.elapsed().as_secs_f64(), replay(schedule));
    // A storm that nobody felt proves nothing.
    let felt = [figures.reset, figures.failed, figures.interrupted, figures.exact];
    assert!(felt.iter().all(|count| *count > 0) && figures.pauses > 0, "{figures:?}");
}
