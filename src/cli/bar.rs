//! What stands in the terminal while something is measured that takes a known time.
//!
//! Called by `bench` and `tune`.

use super::interrupt::Interrupt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io;
use std::time::Duration;

const TEMPLATE: &str = "{wide_bar} {msg}";

/// The bar, on a terminal only, and whether a signal has come.
pub(super) struct Bar {
    bar: ProgressBar,
    interrupt: Interrupt,
}

impl Bar {
    /// From here on a signal ends in order what takes this time, and a second one the process.
    pub(super) fn start(all: Duration) -> io::Result<Self> {
        let interrupt = Interrupt::catch()?;
        // Hidden where standard error is no terminal.
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(Some(all.as_millis() as u64), target);
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Ok(Self { bar, interrupt })
    }

    /// Shows how far it has come; says whether to go on.
    pub(super) fn show(&self, done: Duration, message: String) -> bool {
        self.bar.set_message(message);
        self.bar.set_position(done.as_millis() as u64);
        !self.interrupted()
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn interrupted(&self) -> bool {
        self.interrupt.came()
    }
}
