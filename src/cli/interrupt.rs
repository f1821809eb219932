//! The signals that end a measurement or a fetch: the first in order, the second at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_default};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether SIGINT or SIGTERM has come.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From here on a signal only sets the flag, and a second one ends the process.
    pub(super) fn catch() -> io::Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            register_conditional_default(signal, Arc::clone(&came))?;
            register(signal, Arc::clone(&came))?;
        }
        Ok(Self(came))
    }

    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
