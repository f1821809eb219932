//! What a human sees while the load runs, and the signals that end it.

use crate::bench::{Load, Progress, Stop};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_default};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TEMPLATE: &str = "{wide_bar} {msg}";

/// The bar, on a terminal only, and whether a signal has come.
pub(super) struct Live {
    bar: ProgressBar,
    all: Duration,
    warm_up: Duration,
    interrupted: Arc<AtomicBool>,
}

impl Live {
    /// From here on a signal ends the load in order, and a second one the process.
    pub(super) fn start(load: &Load) -> io::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            register_conditional_default(signal, Arc::clone(&interrupted))?;
            register(signal, Arc::clone(&interrupted))?;
        }
        let measured = match load.measured {
            Stop::After(time) => time,
            Stop::Messages(_) => Duration::ZERO,
        };
        let all = load.warm_up + measured;
        // Hidden where standard error is no terminal.
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(Some(all.as_millis() as u64), target);
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Ok(Self { bar, all, warm_up: load.warm_up, interrupted })
    }

    /// Shows how far it has come; says whether to go on.
    pub(super) fn show(&self, progress: &Progress<'_>) -> bool {
        let message = match (progress.elapsed, progress.report.seconds.last()) {
            (None, _) => "connecting".to_owned(),
            (Some(elapsed), None) if elapsed < self.warm_up => "warming up".to_owned(),
            (Some(elapsed), _) if elapsed > self.all => "waiting for replies".to_owned(),
            (Some(_), None) => "measuring".to_owned(),
            (Some(_), Some(second)) => {
                let errors = match progress.report.seconds.iter().map(|it| it.errors).sum() {
                    0_u64 => String::new(),
                    errors => format!(", {errors} errors"),
                };
                let (rate, p99) = (second.throughput(), second.p99);
                format!("{rate:.0} messages/s, p99 {p99:.2?}{errors}")
            }
        };
        self.bar.set_message(message);
        let elapsed = progress.elapsed.unwrap_or_default();
        self.bar.set_position(elapsed.min(self.all).as_millis() as u64);
        !self.interrupted()
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
