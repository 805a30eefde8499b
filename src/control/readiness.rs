//! Owns whether the router takes traffic, and why not; it never changes it.

use super::resolver::Resolver;
use crate::lifecycle::{Lifecycle, Phase};

/// What readiness depends on.
#[derive(Debug, Clone)]
pub(super) struct Readiness {
    pub(super) lifecycle: Lifecycle,
    pub(super) resolver: Resolver,
}

impl Readiness {
    pub(super) fn phase(&self) -> Phase {
        self.lifecycle.phase()
    }

    /// Why it takes no traffic; `None` when it does.
    pub(super) fn why_not(&self) -> Option<&'static str> {
        match self.phase() {
            Phase::Draining => Some("draining: no new connections are taken"),
            Phase::Aborting => Some("aborting what is left"),
            Phase::Running if !self.resolver.has_looked() => Some("names of upstreams are being resolved"),
            Phase::Running => None,
        }
    }
}
