//! The primitives under the hand-shakes (`schedule`, `due`, `vacancy`): the standard library's
//! here, a model checker's in `tests/model`, which compiles the same files beside a `sync` of its
//! own.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
