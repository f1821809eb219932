//! A value that is replaced while threads use it: the options, at a reload.
//!
//! A reader keeps what it has seen and compares one number to know whether that is still current,
//! so reading costs a worker a load of something that nobody writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The current value.
#[derive(Debug)]
pub(super) struct Live<T> {
    /// Changes with the value, under its lock.
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

/// The value as one thread has last seen it.
#[derive(Debug)]
pub(super) struct Seen<T> {
    version: u64,
    value: Arc<T>,
}

impl<T> Live<T> {
    pub(super) fn new(value: T) -> Self {
        Self { version: AtomicU64::new(0), value: Mutex::new(Arc::new(value)) }
    }

    /// The current value, for a look that is rare.
    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.lock())
    }

    /// The current value, to be kept and [refreshed](Seen::refresh).
    pub(super) fn seen(&self) -> Seen<T> {
        let value = self.lock();
        Seen { version: self.version.load(Ordering::Relaxed), value: Arc::clone(&value) }
    }

    /// Replaces the value by what `step` makes of it, or leaves it. No other change comes between.
    pub(super) fn update<E>(&self, step: impl FnOnce(&T) -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut value = self.lock();
        *value = Arc::new(step(&value)?);
        self.version.fetch_add(1, Ordering::Release);
        Ok(Arc::clone(&value))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<T>> {
        // A step that panics has replaced nothing.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Seen<T> {
    /// Looks whether the value has changed, and takes the new one; returns the old one then.
    pub(super) fn refresh(&mut self, live: &Live<T>) -> Option<Arc<T>> {
        if live.version.load(Ordering::Acquire) == self.version {
            return None;
        }
        Some(std::mem::replace(self, live.seen()).value)
    }
}

impl<T> std::ops::Deref for Seen<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::Live;

    #[test]
    fn a_reader_sees_a_change_once_and_a_refused_one_never() {
        let live = Live::new(1);
        let mut seen = live.seen();
        assert_eq!((*seen, seen.refresh(&live)), (1, None));
        live.update(|old| Ok::<_, ()>(old + 1)).unwrap();
        assert_eq!(live.update(|_| Err("no")), Err("no"));
        assert_eq!((*live.get(), *seen), (2, 1));
        assert_eq!(seen.refresh(&live).as_deref(), Some(&1));
        assert_eq!((*seen, seen.refresh(&live)), (2, None));
    }
}
