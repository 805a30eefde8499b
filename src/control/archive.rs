//! Owns the compiled rules of earlier generations, kept for a restore; bounded in number and size.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use crate::snapshot::{Authority, Rules, Snapshot};
use crate::upstream::Upstream;

/// How many distinct sets of rules are kept, the one in force included.
const KEPT_MAX: usize = 16;
/// Flags and routes in all kept sets together: what bounds their memory.
const ENTRIES_MAX: usize = 400_000;
/// So many are kept however large they are: the one in force and the one before it.
const KEPT_MIN: usize = 2;
/// Publications whose rules can be named by their generation.
const SPANS_MAX: usize = 4_096;

/// A compiled set, without the overrides over it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) rules: Arc<Rules>,
    pub(super) upstreams: Arc<[Arc<Upstream>]>,
}

/// What was in force, the latest last.
#[derive(Debug, Default)]
pub(super) struct Archive {
    kept: VecDeque<Kept>,
    /// From which generation on which rules were in force.
    spans: VecDeque<(u64, Weak<Rules>)>,
    latest: u64,
}

impl Kept {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self { rules: Arc::clone(&snapshot.rules), upstreams: Arc::clone(&snapshot.upstreams) }
    }

    /// The same with the addresses that names have in a snapshot: they may be younger.
    pub(super) fn with_addresses_of(&self, snapshot: &Snapshot) -> Self {
        let known: HashMap<Authority, Vec<SocketAddr>> = snapshot
            .named_endpoints()
            .map(|(_, endpoint)| ((endpoint.host.clone(), endpoint.port), endpoint.addresses.to_vec()))
            .collect();
        let own = Snapshot {
            generation: 0,
            rules: Arc::clone(&self.rules),
            upstreams: Arc::clone(&self.upstreams),
            overrides: Arc::default(),
        };
        own.with_addresses(0, &known).as_ref().map_or_else(|| self.clone(), Self::of)
    }

    fn entries(&self) -> usize {
        self.rules.flags.len() + self.rules.routes.payloads().count()
    }
}

impl Archive {
    /// Notes what a generation is made of; gives what is no longer kept, to be freed where nobody waits.
    pub(super) fn keep(&mut self, generation: u64, next: Kept) -> Vec<Kept> {
        self.latest = generation;
        let rules = Arc::downgrade(&next.rules);
        if self.spans.back().is_none_or(|(_, known)| !known.ptr_eq(&rules)) {
            self.spans.push_back((generation, rules));
            let excess = self.spans.len().saturating_sub(SPANS_MAX);
            self.spans.drain(..excess);
        }
        if let Some(known) = self.kept.iter().position(|kept| Arc::ptr_eq(&kept.rules, &next.rules)) {
            self.kept.remove(known);
            self.kept.push_back(next);
            return Vec::new();
        }
        self.kept.push_back(next);
        let mut entries: usize = self.kept.iter().map(Kept::entries).sum();
        let mut evicted = Vec::new();
        while self.kept.len() > KEPT_MAX || (entries > ENTRIES_MAX && self.kept.len() > KEPT_MIN) {
            let Some(oldest) = self.kept.pop_front() else { break };
            entries -= oldest.entries();
            evicted.push(oldest);
        }
        evicted
    }

    /// What a generation was made of, where that is kept.
    pub(super) fn find(&self, generation: u64) -> Option<Kept> {
        let spans = self.spans.iter().rev().filter(|_| generation <= self.latest);
        let (_, rules) = spans.into_iter().find(|(first, _)| *first <= generation)?;
        let rules = rules.upgrade()?;
        self.kept.iter().find(|kept| Arc::ptr_eq(&kept.rules, &rules)).cloned()
    }

    /// The first generation of each set of rules that is kept, the oldest first.
    pub(super) fn generations(&self) -> Vec<u64> {
        let mut found: Vec<u64> = Vec::new();
        for kept in &self.kept {
            let rules = Arc::downgrade(&kept.rules);
            found.extend(self.spans.iter().find(|(_, known)| known.ptr_eq(&rules)).map(|(first, _)| *first));
        }
        found.sort_unstable();
        found
    }
}
