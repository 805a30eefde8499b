//! Owns the note about requests without a targeting key whose writes go elsewhere than everybody's.

use std::collections::HashSet;

use super::routes::Names;
use crate::attribute::Attribute;
use crate::config::{Diagnostic, Report};
use crate::flag::{Expr, Flag, FlagId, Weight};
use crate::route::RouteTable;
use crate::snapshot::{Choice, Identity, Leg, Route};
use crate::upstream::UpstreamId;

/// Notes each flag whose split sends all writes to a side that those of the default variant do not reach.
///
/// A split knows nobody without a targeting key. Where all with one are in a stage that copies, and the default variant is `off`, the
/// sides drift apart unseen. A flag that gives somebody the default variant by its split means it, and is not noted.
pub(super) fn check(routes: &RouteTable<Route>, identity: &Identity, names: &Names<'_>, report: &mut Report) {
    let always = |source: &Attribute| {
        matches!(source, Attribute::Method | Attribute::Path | Attribute::Host | Attribute::Route | Attribute::ClientIp)
    };
    // Without any source another finding says so.
    if identity.issue.is_some() || identity.sources.is_empty() || identity.sources.iter().any(always) {
        return;
    }
    let mut told: HashSet<FlagId> = HashSet::new();
    for route in routes.payloads().filter(|route| route.copies.is_some()) {
        let Choice::ByFlag { flag: id, legs, fallback, .. } = &route.choice else { continue };
        let flag = &names.flags.flags[id.0 as usize];
        let default = flag.default_variant.map_or(Some(fallback), |id| legs.get(usize::from(id.0))?.as_ref());
        let (Some(shared), Some(default)) = (shared_by_all(flag, legs), default) else { continue };
        let reached = sides(default);
        if shared.iter().all(|leg| leg.iter().any(|side| !reached.contains(side))) && told.insert(*id) {
            note(flag, route, default, names, report);
        }
    }
}

fn note(flag: &Flag, route: &Route, default: &Leg, names: &Names<'_>, report: &mut Report) {
    let Some(place) = names.flag_place(&flag.key) else { return };
    let variant = flag.default_variant.and_then(|id| flag.variants.get(usize::from(id.0)));
    let variant = variant.map_or("the fallback".to_owned(), |variant| format!("`{}`", variant.name));
    let reached: Vec<_> = sides(default).into_iter().map(|side| format!("`{}`", names.upstream_name(side))).collect();
    let message = format!(
        "without a targeting key a request gets {variant} from the flag `{}`: its writes on the route `{}` reach {} only, as nobody else's do",
        flag.key,
        route.name,
        reached.join(" and ")
    );
    let help = "let `identity` issue a key (`issue:banyan_id`), or let `defaultVariant` be a stage that copies";
    report.push(Diagnostic::note("keyless-writes", place, message).help(help));
}

/// The sides that get the writes of each variant which the flag's splits by targeting key give to somebody.
///
/// `None` where that cannot be said: no such split, computed weights or variants, or a variant that leads nowhere.
fn shared_by_all(flag: &Flag, legs: &[Option<Leg>]) -> Option<Vec<Vec<UpstreamId>>> {
    let mut splits = Vec::new();
    flag.root()?.collect_splits(&mut splits);
    let pairs = splits.iter().filter(|split| split.seed.is_none()).flat_map(|split| &split.pairs);
    let mut found = Vec::new();
    for pair in pairs {
        match (&pair.weight, &pair.variant) {
            (Weight::Fixed(0), _) => {}
            (Weight::Fixed(_), Expr::Text(name)) => {
                found.push(sides(legs.get(usize::from(flag.variant(name)?.0))?.as_ref()?));
            }
            _ => return None,
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Where a write goes, one way or the other.
fn sides(leg: &Leg) -> Vec<UpstreamId> {
    [Some(leg.upstream), leg.copy_to].into_iter().flatten().collect()
}
