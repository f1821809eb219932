//! What will happen, and when: a list of faults that a seed makes before anything runs. Pure.
//!
//! Made for `storm`, which applies it. The same seed and duration make the same list; what the
//! clients and the machine do meanwhile is as it comes.

use fastrand::Rng;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// About as long as a round takes, in which every kind of fault occurs once.
const ROUND_SECONDS: u64 = 20;

/// What a wait may take with nothing in its way: far more than it does, for a machine that is
/// busy with other things. A lost wake-up takes for ever, or as long as others need it not.
pub const NOISE: Duration = Duration::from_secs(10);

/// How long calls take that keep workers busy.
pub const LONG_CALL: Duration = Duration::from_millis(400);

/// The workers that the program starts with, and has when it is looked at at rest.
pub const WORKERS: usize = 4;

/// Something that is done to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9, and a restart after a pause.
    Kill { down: Duration },
    /// SIGTERM while calls keep workers busy, so that messages wait; a clean end, and a restart
    /// after a pause.
    Terminate { calls: usize, down: Duration },
    /// Calls that never return, in one worker or in all, and SIGTERM: it ends at `drain.timeout`.
    HangForEver { all: bool },
    /// SIGHUP with another number of workers.
    Reload { workers: usize },
    /// SIGHUP with a file that is wrong.
    ReloadWrong,
    /// SIGSTOP and SIGCONT.
    Stop { lasts: Duration },
    /// Clients that send and reset.
    Resets { clients: usize },
    /// The same while the process is stopped: they are gone before they are accepted.
    ResetsUnseen { clients: usize },
    /// No descriptors for those who come.
    NoFiles { lasts: Duration },
    /// Clients behind a network that delays and cuts into pieces.
    Weather { clients: usize, delay: Duration, piece: usize },
    /// Clients whose messages make the handler panic or fail.
    Panics { clients: usize },
    /// Calls that take long, possibly in every worker.
    Hang { calls: usize, lasts: Duration },
    /// Everyone leaves, and the books are compared.
    Rest,
}

fn millis(rng: &mut Rng, range: RangeInclusive<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

/// One of each kind, for a round.
const KINDS: [fn(&mut Rng) -> Fault; 12] = [
    |rng| Fault::Kill { down: millis(rng, 0..=400) },
    |rng| Fault::Terminate { calls: rng.usize(0..=8), down: millis(rng, 0..=400) },
    |rng| Fault::HangForEver { all: rng.bool() },
    |rng| Fault::Reload { workers: rng.usize(1..=8) },
    |_| Fault::ReloadWrong,
    |rng| Fault::Stop { lasts: millis(rng, 50..=1500) },
    |rng| Fault::Resets { clients: rng.usize(20..=80) },
    |rng| Fault::ResetsUnseen { clients: rng.usize(20..=80) },
    |rng| Fault::NoFiles { lasts: millis(rng, 100..=800) },
    |rng| Fault::Weather {
        clients: rng.usize(4..=12),
        delay: millis(rng, 0..=40),
        piece: rng.usize(1..=7),
    },
    |rng| Fault::Panics { clients: rng.usize(5..=30) },
    |rng| Fault::Hang { calls: rng.usize(1..=8), lasts: millis(rng, 50..=600) },
];

impl Fault {
    /// For how long at most it keeps the program from answering, if the machine is quick. One
    /// worker may have to do all calls.
    fn disturbs(self) -> Duration {
        const RESTART: Duration = Duration::from_secs(1);
        match self {
            Self::Kill { down } => down + RESTART,
            Self::Terminate { calls, down } => LONG_CALL * calls as u32 + down + RESTART,
            Self::HangForEver { .. } => Duration::from_secs(4) + RESTART,
            Self::Stop { lasts } => lasts,
            Self::ResetsUnseen { .. } => RESTART,
            Self::NoFiles { lasts } => lasts + RESTART,
            Self::Hang { calls, lasts } => lasts * calls as u32,
            _ => Duration::ZERO,
        }
    }
}

/// A fault, and when it comes, since the run's beginning. What came before it may take longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub at: Duration,
    pub fault: Fault,
}

/// All that a run does.
#[derive(Debug, PartialEq, Eq)]
pub struct Schedule {
    pub seed: u64,
    pub seconds: u64,
    pub steps: Vec<Step>,
}

impl Schedule {
    pub fn new(seed: u64, seconds: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rounds = (seconds / ROUND_SECONDS).max(1);
        let round = Duration::from_secs(seconds) / u32::try_from(rounds).unwrap();
        let slot = round / (KINDS.len() as u32 + 1);
        let mut steps = Vec::new();
        for begins in (0..rounds as u32).map(|number| round * number) {
            let mut faults = KINDS.map(|make| make(&mut rng));
            rng.shuffle(&mut faults);
            for (place, fault) in (0..).zip(faults.into_iter().chain([Fault::Rest])) {
                // The first of a round meets clients that have begun.
                let early = slot.mul_f64(0.1 + 0.8 * rng.f64());
                steps.push(Step { at: begins + slot * place + early, fault });
            }
        }
        Self { seed, seconds, steps }
    }

    /// How long a client waits for anything: longer than the program is disturbed in any round.
    pub fn patience(&self) -> Duration {
        let rounds = self.steps.split(|step| step.fault == Fault::Rest);
        let disturbed = |round: &[Step]| round.iter().map(|step| step.fault.disturbs()).sum();
        NOISE + rounds.map(disturbed).max().unwrap_or(Duration::ZERO)
    }

    /// A seed for what one client does, or the clients of one step.
    pub fn seed_of(&self, who: u64) -> u64 {
        Rng::with_seed(self.seed.wrapping_add(who)).u64(..)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:9.3} s  {:?}", self.at.as_secs_f64(), self.fault)
    }
}

#[test]
fn the_same_seed_makes_the_same_schedule_and_another_one_another() {
    assert_eq!(Schedule::new(7, 300), Schedule::new(7, 300));
    assert_ne!(Schedule::new(7, 300).steps, Schedule::new(8, 300).steps);
}

#[test]
fn every_kind_of_fault_is_in_every_round_and_in_order_of_time() {
    for (seed, seconds, rounds) in [(1, 1, 1), (2, 15, 1), (3, 300, 15), (4, 3600, 180)] {
        let schedule = Schedule::new(seed, seconds);
        assert!(schedule.steps.is_sorted_by_key(|step| step.at));
        assert!(schedule.steps.last().unwrap().at <= Duration::from_secs(seconds));
        let found: Vec<_> = schedule.steps.chunk_by(|step, _| step.fault != Fault::Rest).collect();
        assert_eq!(found.len(), rounds);
        for round in found {
            let mut kinds: Vec<_> =
                round.iter().map(|step| std::mem::discriminant(&step.fault)).collect();
            kinds.dedup();
            assert_eq!(kinds.len(), KINDS.len() + 1);
            for (place, kind) in kinds.iter().enumerate() {
                assert!(!kinds[..place].contains(kind), "{round:?}");
            }
        }
    }
}

#[test]
fn patience_is_longer_than_what_disturbs() {
    let schedule = Schedule::new(5, 300);
    for step in &schedule.steps {
        assert!(schedule.patience() >= NOISE + step.fault.disturbs());
    }
}
