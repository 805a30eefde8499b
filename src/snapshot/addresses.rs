//! Owns the change of addresses alone: a new snapshot of the same rules.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Snapshot;
use crate::upstream::{Endpoint, Upstream};

/// A host and a port, as in [`Endpoint`].
pub type Authority = (Box<str>, u16);

impl Snapshot {
    /// The endpoints whose hosts are names, with the upstream each belongs to.
    pub fn named_endpoints(&self) -> impl Iterator<Item = (&Upstream, &Endpoint)> {
        let all = self.upstreams.iter().flat_map(|upstream| {
            let upstream: &Upstream = upstream;
            upstream.endpoints.iter().map(move |endpoint| (upstream, &**endpoint))
        });
        all.filter(|(_, endpoint)| endpoint.host.parse::<IpAddr>().is_err())
    }

    /// Makes the next snapshot, in which names have new addresses; `None` when none of them changes anything.
    ///
    /// Upstreams and endpoints whose addresses stay the same keep their `Arc`. An empty list of addresses is passed
    /// over: a name that does not resolve any more keeps the last good ones (rule U11). The order of addresses does
    /// not matter.
    pub fn with_addresses(&self, generation: u64, addresses: &HashMap<Authority, Vec<SocketAddr>>) -> Option<Self> {
        let mut changed = false;
        let upstreams = self.upstreams.iter().map(|upstream| match resolved(upstream, addresses) {
            Some(next) => {
                changed = true;
                Arc::new(next)
            }
            None => Arc::clone(upstream),
        });
        let upstreams = upstreams.collect();
        changed.then(|| Self {
            generation,
            rules: Arc::clone(&self.rules),
            upstreams,
            overrides: Arc::clone(&self.overrides),
        })
    }
}

fn resolved(upstream: &Upstream, addresses: &HashMap<Authority, Vec<SocketAddr>>) -> Option<Upstream> {
    let mut changed = false;
    let endpoints = upstream.endpoints.iter().map(|endpoint| {
        let mut found = addresses.get(&(endpoint.host.clone(), endpoint.port)).cloned().unwrap_or_default();
        // Name servers rotate their answers; that is no change.
        found.sort_unstable();
        found.dedup();
        if found.is_empty() || *found == *endpoint.addresses {
            return Arc::clone(endpoint);
        }
        changed = true;
        Arc::new(Endpoint { addresses: found.into(), ..Endpoint::clone(endpoint) })
    });
    let endpoints = endpoints.collect();
    changed.then(|| Upstream { endpoints, ..upstream.clone() })
}
