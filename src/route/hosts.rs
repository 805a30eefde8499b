//! Owns the choice of the trees that a host may use, the most specific first.

use super::HostPattern;
use super::index::{Index, hash, narrow};

/// The roots of all host patterns.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    patterns: Vec<(Box<str>, u32)>,
    exact: Index,
    below: Index,
    /// The longest name of `below`: longer suffixes of a host need no lookup.
    below_bytes_max: usize,
    any: Option<u32>,
}

impl Hosts {
    /// Indexes host patterns, each with the root of its tree.
    pub(super) fn build(roots: impl IntoIterator<Item = (HostPattern, u32)>) -> Self {
        let mut hosts = Self::default();
        let (mut exact, mut below) = (Vec::new(), Vec::new());
        for (pattern, root) in roots {
            let (name, into) = match pattern {
                HostPattern::Any => {
                    hosts.any = Some(root);
                    continue;
                }
                HostPattern::Exact(name) => (name, &mut exact),
                HostPattern::Below(name) => {
                    hosts.below_bytes_max = hosts.below_bytes_max.max(name.len());
                    (name, &mut below)
                }
            };
            into.push((hash(0, name.as_bytes()), narrow(hosts.patterns.len())));
            hosts.patterns.push((name, root));
        }
        hosts.exact = Index::build(&exact);
        hosts.below = Index::build(&below);
        hosts
    }

    /// Visits the roots that a host may use until `visit` answers: its own, those above it, the one of any host.
    pub(super) fn walk<R>(&self, host: &str, mut visit: impl FnMut(u32) -> Option<R>) -> Option<R> {
        if let Some(found) = self.root(&self.exact, host).and_then(&mut visit) {
            return Some(found);
        }
        if !self.below.is_empty()
            && let Some(found) = self.above(host).find_map(&mut visit)
        {
            return Some(found);
        }
        self.any.and_then(visit)
    }

    /// The roots of `*.` patterns over a host, the longest first.
    fn above<'a>(&'a self, host: &'a str) -> impl Iterator<Item = u32> + 'a {
        let dots = host.bytes().enumerate().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
        dots.map(|dot| &host[dot + 1..])
            .filter(|name| name.len() <= self.below_bytes_max)
            .filter_map(|name| self.root(&self.below, name))
    }

    fn root(&self, index: &Index, name: &str) -> Option<u32> {
        if index.is_empty() {
            return None;
        }
        let is = |id: u32| *self.patterns[id as usize].0 == *name;
        index.find(hash(0, name.as_bytes()), is).map(|id| self.patterns[id as usize].1)
    }
}
