//! What a human sees while sizes are measured.

use super::super::bar::Bar;
use super::choice::count;
use super::plan::Plan;
use crate::bench::Progress;
use std::io;
use std::time::Duration;

/// The bar over all sizes.
pub(super) struct Live {
    pub(super) bar: Bar,
    sizes: usize,
    each: Duration,
}

impl Live {
    pub(super) fn start(plan: &Plan) -> io::Result<Self> {
        let (bar, sizes) = (Bar::start(plan.takes())?, plan.sizes.len());
        Ok(Self { bar, sizes, each: plan.load.warm_up + plan.duration })
    }

    /// Shows how far the `nth` size has come; says whether to go on.
    pub(super) fn show(&self, nth: usize, workers: usize, progress: &Progress<'_>) -> bool {
        let elapsed = progress.elapsed.unwrap_or_default().min(self.each);
        let state = match (progress.elapsed, progress.report.seconds.last()) {
            (None, _) => "connecting".to_owned(),
            (Some(_), None) => "loading".to_owned(),
            (Some(_), Some(second)) => format!("{:.0} messages/s", second.throughput()),
        };
        let (nth_of, all) = (nth + 1, self.sizes);
        let message = format!("{} ({nth_of} of {all}): {state}", count(workers));
        self.bar.show(self.each * nth as u32 + elapsed, message)
    }
}
