//! A discrete-event simulation of the pool: arrivals, one queue in order of arrival, `workers`.
//!
//! Included by the tests of the sizing advice, which hold its formulas against it, and by the
//! benchmark that compares both with a real server. It knows neither: durations are nanoseconds,
//! chance comes from a seed, so that a run is the same run everywhere.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Numbers that look random: SplitMix64 (Steele, Lea, Flood 2014). Small, seeded, the same on
/// every machine.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly in (0, 1].
    pub fn part(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Of the exponential distribution with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -self.part().ln()
    }
}

/// The shape of a distribution of times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// Always the mean: cv2 0.
    Constant,
    /// Without memory: cv2 1.
    Exponential,
    /// A long tail: one of two exponentials which contribute equally to the mean ("balanced
    /// means"), with this squared coefficient of variation, above 1.
    Hyperexponential(f64),
}

impl Shape {
    /// The squared coefficient of variation: variance by squared mean.
    pub fn cv2(self) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Exponential => 1.0,
            Self::Hyperexponential(cv2) => cv2,
        }
    }

    /// One time, if `mean` is the mean.
    pub fn sample(self, mean: f64, chance: &mut Chance) -> f64 {
        match self {
            Self::Constant => mean,
            Self::Exponential => mean * chance.exponential(),
            Self::Hyperexponential(cv2) => {
                let often = (1.0 + ((cv2 - 1.0) / (cv2 + 1.0)).sqrt()) / 2.0;
                let share = if chance.part() <= often { often } else { 1.0 - often };
                mean / (2.0 * share) * chance.exponential()
            }
        }
    }
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    pub workers: usize,
    pub arrivals_per_second: f64,
    /// Of the times between arrivals; exponential is a Poisson process.
    pub arrivals: Shape,
    pub service: Shape,
    pub service_seconds: f64,
}

impl Pool {
    /// How long each of `count` messages waited for a worker, in nanoseconds, sorted; the first
    /// tenth, during which the pool fills, is left out.
    ///
    /// A message goes to the worker that is free first: with one queue in order of arrival that
    /// is what Kiefer and Wolfowitz' vector of workloads (1955) says.
    pub fn waits(&self, count: usize, seed: u64) -> Waits {
        let mut chance = Chance::new(seed);
        let nanos = |seconds: f64| (seconds * 1e9).round() as u64;
        let mut free_at: BinaryHeap<Reverse<u64>> = (0..self.workers).map(|_| Reverse(0)).collect();
        let mut waits = Vec::with_capacity(count);
        let mut now = 0;
        for _ in 0..count {
            now += nanos(self.arrivals.sample(1.0 / self.arrivals_per_second, &mut chance));
            let service = nanos(self.service.sample(self.service_seconds, &mut chance));
            let Some(mut first) = free_at.peek_mut() else { break };
            let begin = first.0.max(now);
            waits.push(begin - now);
            // The heap is put in order once, when this goes out of scope.
            *first = Reverse(begin + service);
        }
        let mut waits = waits.split_off(count / 10);
        waits.sort_unstable();
        Waits(waits)
    }
}

/// Waits in nanoseconds, the shortest first.
#[derive(Debug)]
pub struct Waits(Vec<u64>);

impl Waits {
    pub fn mean_seconds(&self) -> f64 {
        self.0.iter().map(|wait| *wait as f64).sum::<f64>() / self.0.len() as f64 / 1e9
    }

    /// The wait that the part `p` (0 to 1) does not exceed.
    pub fn quantile_seconds(&self, p: f64) -> f64 {
        let rank = (p * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1] as f64 / 1e9
    }

    /// Which part waited at all.
    pub fn waited(&self) -> f64 {
        self.0.iter().filter(|wait| **wait > 0).count() as f64 / self.0.len() as f64
    }
}
