//! What a human sees while sizes are measured, and the signals that end it.

use super::super::interrupt::Interrupt;
use super::choice::count;
use super::plan::Plan;
use crate::bench::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io;
use std::time::Duration;

const TEMPLATE: &str = "{wide_bar} {msg}";

/// The bar over all sizes, on a terminal only, and whether a signal has come.
pub(super) struct Live {
    bar: ProgressBar,
    sizes: usize,
    each: Duration,
    interrupt: Interrupt,
}

impl Live {
    /// From here on a signal ends the sweep in order, and a second one the process.
    pub(super) fn start(plan: &Plan) -> io::Result<Self> {
        let interrupt = Interrupt::catch()?;
        // Hidden where standard error is no terminal.
        let target = ProgressDrawTarget::stderr();
        let all = plan.takes().as_millis() as u64;
        let bar = ProgressBar::with_draw_target(Some(all), target);
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let sizes = plan.sizes.len();
        Ok(Self { bar, sizes, each: plan.load.warm_up + plan.duration, interrupt })
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
        self.bar.set_message(format!("{} ({nth_of} of {all}): {state}", count(workers)));
        self.bar.set_position((self.each * nth as u32 + elapsed).as_millis() as u64);
        !self.interrupted()
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn interrupted(&self) -> bool {
        self.interrupt.came()
    }
}
