//! Owns generation numbers and what is done at every publication; only the reload thread has one.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::watch;

use super::checker::Bell;
use super::mailbox::Resolved;
use super::resolver::Resolver;
use super::{ControlPlan, Status};
use crate::compile::{Draft, is_own_listener};
use crate::flag::Hashing;
use crate::health::HealthRegistry;
use crate::network::is_private;
use crate::observe::{LegKey, Metrics, Reload};
use crate::snapshot::{Authority, Snapshot, Store};

/// How long a publication waits for names that nobody has resolved yet: requests would fail without them.
const NEW_NAMES_PATIENCE: Duration = Duration::from_secs(1);

/// Addresses that names have and may not have.
pub(super) type Refused = HashSet<(Authority, SocketAddr)>;

/// Publishes snapshots and keeps the metrics in step.
#[derive(Debug)]
pub(super) struct Publisher {
    store: Arc<Store>,
    health: Arc<HealthRegistry>,
    checks: Bell,
    metrics: Arc<Metrics>,
    status: watch::Sender<Status>,
    runtime: runtime::Handle,
    resolver: Resolver,
    listeners: Vec<SocketAddr>,
    /// Addresses that were refused at the last look, so that each is logged once.
    refused: Refused,
    /// Series and snapshots of earlier generations may be left.
    is_untidy: bool,
}

impl Publisher {
    pub(super) fn new(plan: &ControlPlan, runtime: runtime::Handle, resolver: Resolver, checks: Bell) -> Self {
        let generation = plan.store.snapshot().generation;
        let publisher = Self {
            store: Arc::clone(&plan.store),
            health: Arc::clone(&plan.health),
            checks,
            metrics: Arc::clone(&plan.metrics),
            status: watch::Sender::new(Status { generation, attempts: 0, last: None }),
            runtime,
            resolver,
            listeners: plan.options.listeners.clone(),
            refused: Refused::new(),
            is_untidy: false,
        };
        publisher.describe();
        publisher
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// The snapshot in force.
    pub(super) fn current(&self) -> Arc<Snapshot> {
        self.store.snapshot()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Publishes a compiled set; names that nobody knows yet are resolved first, for a bounded time.
    pub(super) fn publish(&mut self, draft: Draft) -> u64 {
        let generation = self.next_generation();
        let draft = draft.into_snapshot(generation);
        let unknown: Vec<Authority> = draft
            .named_endpoints()
            .filter(|(_, endpoint)| endpoint.addresses.is_empty())
            .map(|(_, endpoint)| (endpoint.host.clone(), endpoint.port))
            .collect();
        let resolved = self.resolver.resolve_within(&self.runtime, unknown, NEW_NAMES_PATIENCE);
        let permitted = self.permitted(&draft, resolved);
        self.swap(draft.with_addresses(generation, &permitted).unwrap_or(draft));
        self.resolver.look_again();
        generation
    }

    /// Publishes new addresses, if any of them changes anything.
    pub(super) fn publish_addresses(&mut self, resolved: Resolved) {
        let current = self.current();
        let permitted = self.permitted(&current, resolved);
        let Some(next) = current.with_addresses(self.next_generation(), &permitted) else {
            return;
        };
        drop(current);
        let generation = next.generation;
        self.swap(next);
        self.metrics.control.address_updates.increment();
        self.status.send_modify(|status| status.generation = generation);
        tracing::info!(generation, cause = "addresses", "published");
    }

    /// Counts the end of an attempt to reload, and tells whoever watches.
    pub(super) fn finish(&self, result: Reload) {
        self.status.send_modify(|status| {
            status.attempts += 1;
            status.last = Some(result);
            status.generation = self.store.snapshot().generation;
        });
    }

    /// Whether earlier generations may have left something.
    pub(super) fn is_untidy(&self) -> bool {
        self.is_untidy
    }

    /// Frees what earlier generations have left, as far as no worker holds it.
    pub(super) fn tidy(&mut self) {
        let held = self.store.reap();
        let snapshot = self.store.snapshot();
        let legs = snapshot.rules.legs.iter().map(|leg| LegKey {
            route: &leg.route,
            flag: leg.flag.as_deref(),
            variant: leg.variant.as_deref(),
            upstream: &leg.upstream,
        });
        self.metrics.prune(legs, snapshot.upstreams.iter().map(|upstream| &*upstream.name));
        self.metrics.control.snapshots_held.set(held.try_into().unwrap_or(i64::MAX));
        self.is_untidy = held > 0;
    }

    /// The one place where generations get their numbers.
    fn next_generation(&self) -> u64 {
        self.store.snapshot().generation + 1
    }

    fn swap(&mut self, next: Snapshot) {
        // First, so that workers find who waits for a check and who is in service at once.
        self.health.follow(&next.upstreams);
        self.store.publish(next);
        self.checks.ring();
        self.is_untidy = true;
        self.describe();
    }

    fn describe(&self) {
        let snapshot = self.store.snapshot();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let control = &self.metrics.control;
        control.generation.set(i64::try_from(snapshot.generation).unwrap_or(i64::MAX));
        control.flags.set(count(snapshot.rules.flags.len()));
        control.routes.set(count(snapshot.rules.routes.payloads().count()));
        control.upstreams.set(count(snapshot.upstreams.len()));
        let hashing = match snapshot.rules.hashing {
            Hashing::V3 => "v3",
            Hashing::V2 => "v2",
        };
        let objectives = snapshot
            .upstreams
            .iter()
            .map(|upstream| (upstream.name.clone(), Duration::from_millis(upstream.slo_p99_ms.into())));
        control.describe(hashing, objectives.collect());
    }

    /// Leaves out the addresses that may not be used, and logs each when it is first refused.
    fn permitted(&mut self, snapshot: &Snapshot, resolved: Resolved) -> Resolved {
        let (permitted, refused) = permit(snapshot, resolved, &self.listeners);
        for ((host, port), address) in refused.difference(&self.refused) {
            tracing::warn!(name = %host, port, %address, "an address is not used: it is public, or this router's own");
        }
        self.refused = refused;
        permitted
    }
}

/// Leaves out the addresses that an upstream may not have: public ones, and this router's own (rule P4).
///
/// Where two upstreams share a name, the stricter one decides.
pub(super) fn permit(snapshot: &Snapshot, mut resolved: Resolved, listeners: &[SocketAddr]) -> (Resolved, Refused) {
    let private_only: HashSet<Authority> = snapshot
        .named_endpoints()
        .filter(|(upstream, _)| !upstream.allow_public)
        .map(|(_, endpoint)| (endpoint.host.clone(), endpoint.port))
        .collect();
    let mut refused = Refused::new();
    for (authority, addresses) in &mut resolved {
        addresses.retain(|address| {
            let public = private_only.contains(authority) && !is_private(address.ip());
            let permitted = !public && !is_own_listener(*address, listeners);
            if !permitted {
                refused.insert((authority.clone(), *address));
            }
            permitted
        });
    }
    (resolved, refused)
}
