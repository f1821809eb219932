//! What a human sees while the load runs.

use super::super::bar::Bar;
use crate::bench::{Load, Progress, Stop};
use std::io;
use std::time::Duration;

/// The bar over warm-up and measurement.
pub(super) struct Live {
    pub(super) bar: Bar,
    all: Duration,
    warm_up: Duration,
}

impl Live {
    pub(super) fn start(load: &Load) -> io::Result<Self> {
        let measured = match load.measured {
            Stop::After(time) => time,
            Stop::Messages(_) => Duration::ZERO,
        };
        let all = load.warm_up + measured;
        Ok(Self { bar: Bar::start(all)?, all, warm_up: load.warm_up })
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
        self.bar.show(progress.elapsed.unwrap_or_default().min(self.all), message)
    }
}
