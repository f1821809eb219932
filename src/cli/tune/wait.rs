//! How long messages waited for a worker, measured or predicted.

use crate::sizing::Target;

/// How long messages waited for a worker, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wait {
    pub(super) mean: f64,
    /// A prediction may have none.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

impl Wait {
    /// The number that the target is about, if it is known.
    pub(super) fn of(&self, target: Target) -> Option<f64> {
        match target {
            Target::MeanWait(_) => Some(self.mean),
            Target::P99Wait(_) => self.p99,
        }
    }
}

/// What is said about waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Waits {
    Known(Wait),
    /// More arrives than can be done: they grow.
    Saturated,
    /// Nothing.
    Unknown,
}

impl Waits {
    pub(super) fn known(self) -> Option<Wait> {
        match self {
            Self::Known(wait) => Some(wait),
            Self::Saturated | Self::Unknown => None,
        }
    }
}
