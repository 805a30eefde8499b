//! Owns what a snapshot tells of its routes without a request: which ways may be in force, and where writes may be copied.

use std::collections::BTreeSet;

use super::{Choice, Leg, Route, Snapshot};
use crate::flag::Rest;

impl Snapshot {
    /// The legs of a route that requests may take now: one where its flag gives the same to everybody, else all.
    pub fn legs_in_force<'r>(&self, route: &'r Route) -> Vec<&'r Leg> {
        let (flag, legs, fallback) = match &route.choice {
            Choice::Always(leg) => return vec![leg],
            Choice::ByFlag { flag, legs, fallback, .. } => (*flag, legs, fallback),
        };
        let over = self.overrides.of(flag);
        if self.overrides.kills(flag) {
            return vec![fallback];
        }
        let is_split = over.is_some_and(|over| over.split.is_some() || !over.pins.is_empty());
        match self.rules.flags.get(flag.0 as usize).and_then(crate::flag::Flag::rest).filter(|_| !is_split) {
            Some(Rest::Fallback) => vec![fallback],
            Some(Rest::Variant(variant)) => {
                vec![legs.get(usize::from(variant.0)).and_then(Option::as_ref).unwrap_or(fallback)]
            }
            None => legs.iter().flatten().chain([fallback]).collect(),
        }
    }

    /// The upstreams that get copies in any stage of any route.
    pub fn copy_destinations(&self) -> BTreeSet<&str> {
        let legs = self.rules.routes.payloads().flat_map(|route| match &route.choice {
            Choice::Always(leg) => vec![leg],
            Choice::ByFlag { legs, fallback, .. } => legs.iter().flatten().chain([fallback]).collect(),
        });
        let to = legs.filter_map(|leg| leg.copy_to);
        to.filter_map(|id| self.upstreams.get(id.0 as usize)).map(|upstream| &*upstream.name).collect()
    }
}
