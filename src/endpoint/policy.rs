//! What a reload changes at the endpoint: whom it answers, and the configuration that it shows.
//!
//! Written by whoever reloads, read at each request.

use crate::server::Network;
use crate::service::Peer;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// The current terms; shared by the endpoint's parts.
#[derive(Debug, Default)]
pub(super) struct Policy(RwLock<Terms>);

#[derive(Debug, Default)]
struct Terms {
    /// Whom it answers; empty is everyone.
    allow: Vec<Network>,
    /// The configuration, as it is shown.
    config: String,
    /// A hash of it, if it is known.
    fingerprint: Option<String>,
}

impl Policy {
    pub(super) fn permits(&self, client: Peer) -> bool {
        let terms = self.read();
        terms.allow.is_empty() || Network::any_contains(&terms.allow, client)
    }

    pub(super) fn config(&self) -> String {
        self.read().config.clone()
    }

    pub(super) fn fingerprint(&self) -> Option<String> {
        self.read().fingerprint.clone()
    }

    pub(super) fn set_allow(&self, networks: Vec<Network>) {
        self.change(|terms| terms.allow = networks);
    }

    pub(super) fn set_config(&self, config: String) {
        self.change(|terms| terms.config = config);
    }

    /// Sets the fingerprint to that of `text`.
    pub(super) fn set_fingerprint(&self, text: &str) {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        self.change(|terms| terms.fingerprint = Some(format!("{:016x}", hasher.finish())));
    }

    fn read(&self) -> RwLockReadGuard<'_, Terms> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Terms)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}
