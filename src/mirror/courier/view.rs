//! Owns the courier's view of a snapshot: its own pools, and the rules of copies by the route's name.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::forward::Pool;
use crate::health::HealthRegistry;
use crate::observe::WorkerMetrics;
use crate::snapshot::{CopyRules, Snapshot};
use crate::upstream::Upstream;

/// What copies are delivered with.
#[derive(Debug)]
pub(super) struct View {
    /// The generation.
    pub snapshot: Arc<Snapshot>,
    pools: HashMap<Box<str>, Rc<Pool>>,
    rules: HashMap<Box<str>, Arc<CopyRules>>,
}

impl View {
    /// Makes the view of a snapshot; pools of upstreams that stay are taken over.
    pub(super) fn new(
        snapshot: &Arc<Snapshot>,
        earlier: Option<&Self>,
        registry: &HealthRegistry,
        metrics: &Arc<WorkerMetrics>,
    ) -> Self {
        registry.follow(&snapshot.upstreams);
        let pool = |upstream: &Arc<Upstream>| match earlier.and_then(|view| view.pools.get(&upstream.name)) {
            Some(same) if same.upstream() == upstream => Rc::clone(same),
            changed => Rc::new(Pool::new(upstream, changed.map(|pool| &**pool), registry, metrics)),
        };
        let pools: HashMap<_, _> =
            snapshot.upstreams.iter().map(|upstream| (upstream.name.clone(), pool(upstream))).collect();
        for (name, pool) in earlier.iter().flat_map(|view| &view.pools) {
            let next = pools.get(name);
            if !next.is_some_and(|next| Rc::ptr_eq(next, pool)) {
                pool.retire(next.map(|next| &**next));
            }
        }
        let routes = snapshot.rules.routes.payloads();
        let rules = routes.filter_map(|route| Some((route.name.clone(), Arc::clone(route.copies.as_ref()?)))).collect();
        Self { snapshot: Arc::clone(snapshot), pools, rules }
    }

    /// The pool of an upstream; `None` where the files no longer name it.
    pub(super) fn pool(&self, upstream: &str) -> Option<&Rc<Pool>> {
        self.pools.get(upstream)
    }

    /// All pools.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Rc<Pool>> {
        self.pools.values()
    }

    /// The rules of a route; `None` where the files no longer copy it.
    pub(super) fn rules(&self, route: &str) -> Option<&Arc<CopyRules>> {
        self.rules.get(route)
    }
}
