//! Owns what the reload thread does before and after it publishes: addresses of names, what is left of earlier generations.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;

use super::mailbox::Resolved;
use super::publications::{Publications, Published};
use super::resolver::Resolver;
use crate::compile::{Draft, is_own_listener};
use crate::network::is_private;
use crate::observe::{LegKey, Metrics};
use crate::snapshot::{Authority, Snapshot};

/// How long a publication waits for names that nobody has resolved yet: requests would fail without them.
const NEW_NAMES_PATIENCE: Duration = Duration::from_secs(1);

/// Addresses that names have and may not have.
pub(super) type Refused = HashSet<(Authority, SocketAddr)>;

/// Publishes what the reload thread makes, with the addresses of names.
#[derive(Debug)]
pub(super) struct Publisher {
    publications: Arc<Publications>,
    runtime: runtime::Handle,
    resolver: Resolver,
    listeners: Vec<SocketAddr>,
    /// Addresses that were refused at the last look, so that each is logged once.
    refused: Refused,
}

impl Publisher {
    pub(super) fn new(
        publications: Arc<Publications>,
        listeners: Vec<SocketAddr>,
        runtime: runtime::Handle,
        resolver: Resolver,
    ) -> Self {
        Self { publications, runtime, resolver, listeners, refused: Refused::new() }
    }

    /// The snapshot in force.
    pub(super) fn current(&self) -> Arc<Snapshot> {
        self.publications.current()
    }

    pub(super) fn publications(&self) -> &Publications {
        &self.publications
    }

    pub(super) fn metrics(&self) -> &Metrics {
        self.publications.metrics()
    }

    /// Publishes a compiled set; names that nobody knows yet are resolved first, for a bounded time.
    pub(super) fn publish(&mut self, draft: Draft) -> Published {
        // Its generation is given when its turn has come.
        let draft = draft.into_snapshot(0);
        let unknown: Vec<Authority> = draft
            .named_endpoints()
            .filter(|(_, endpoint)| endpoint.addresses.is_empty())
            .map(|(_, endpoint)| (endpoint.host.clone(), endpoint.port))
            .collect();
        let resolved = self.resolver.resolve_within(&self.runtime, unknown, NEW_NAMES_PATIENCE);
        let permitted = self.permitted(&draft, resolved);
        let published = self.publications.publish(&draft.with_addresses(0, &permitted).unwrap_or(draft));
        self.resolver.look_again();
        published
    }

    /// Publishes new addresses, if any of them changes anything; gives the generation.
    pub(super) fn publish_addresses(&mut self, resolved: Resolved) -> Option<u64> {
        let permitted = self.permitted(&self.current(), resolved);
        let generation = self.publications.amend(|current| current.with_addresses(0, &permitted))?;
        self.metrics().control.address_updates.increment();
        tracing::info!(generation, cause = "addresses", "published");
        Some(generation)
    }

    /// Whether earlier generations may have left something.
    pub(super) fn is_untidy(&self) -> bool {
        self.publications.is_untidy()
    }

    /// Frees what earlier generations have left, as far as no worker holds it.
    pub(super) fn tidy(&mut self) {
        self.publications.reap();
        let snapshot = self.current();
        let legs = snapshot.rules.legs.iter().map(|leg| LegKey {
            route: &leg.route,
            flag: leg.flag.as_deref(),
            variant: leg.variant.as_deref(),
            upstream: &leg.upstream,
        });
        self.metrics().prune(legs, snapshot.upstreams.iter().map(|upstream| &*upstream.name));
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
