//! Owns the health of all upstreams, from one generation to the next, and shows it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::endpoint::{EndpointHealth, FULL_SHARE};
use super::upstream::{Member, UpstreamHealth};
use crate::observe::{EndpointStatus, HealthSource, UpstreamStatus};
use crate::upstream::Upstream;

/// The health of all upstreams; a worker asks it only when it makes its pools.
#[derive(Debug, Default)]
pub struct HealthRegistry(Mutex<HashMap<Box<str>, Arc<UpstreamHealth>>>);

impl HealthRegistry {
    /// The health of an upstream, kept over generations.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamHealth> {
        Arc::clone(self.lock().entry(name.into()).or_default())
    }

    /// Takes over what a generation says; the control plane calls it before workers can see that generation.
    pub fn follow(&self, upstreams: &[Arc<Upstream>]) {
        let names: HashSet<&str> = upstreams.iter().map(|upstream| &*upstream.name).collect();
        let mut all = self.lock();
        for upstream in upstreams {
            all.entry(upstream.name.clone()).or_default().follow(upstream);
        }
        // What exchanges of earlier generations still hold is forgotten at a later publication.
        all.retain(|name, health| {
            let stays = names.contains(&**name);
            if !stays {
                health.retire();
            }
            stays || Arc::strong_count(health) > 1
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<UpstreamHealth>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HealthSource for HealthRegistry {
    fn upstreams(&self) -> Vec<UpstreamStatus> {
        let mut all: Vec<_> = self.lock().iter().map(|(name, health)| (name.clone(), Arc::clone(health))).collect();
        all.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        all.into_iter().map(|(name, health)| status(name, &health)).collect()
    }
}

fn status(name: Box<str>, health: &UpstreamHealth) -> UpstreamStatus {
    let members = health.members();
    let current = || members.list.iter().filter(|member| member.is_current);
    let mut endpoints: Vec<_> = current().map(|member| endpoint(&member.health, members.slow_start_ms)).collect();
    endpoints.sort_unstable_by_key(|endpoint| endpoint.address);
    UpstreamStatus {
        name,
        endpoints,
        draining: members.list.iter().filter(|member| Member::is_draining(member)).count(),
        all_out: members.is_all_out(),
        ejected: current().filter(|member| member.health.is_ejected()).count(),
        requests: members.is_limited.then(|| health.requests()),
    }
}

fn endpoint(health: &EndpointHealth, slow_start_ms: u32) -> EndpointStatus {
    EndpointStatus {
        address: health.address(),
        share: f64::from(health.share(slow_start_ms)) / f64::from(FULL_SHARE),
        checks_passed: health.checks_passed.value(),
        checks_failed: health.checks_failed.value(),
    }
}
