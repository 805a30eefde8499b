//! Owns what comes back into force without the writes that were made meanwhile: while a flag is killed its fallback serves, and where
//! that is copied nowhere, the side that serves again lacks them.

use super::overrides::{Book, Uncopied};
use crate::snapshot::{Choice, Snapshot};
use crate::upstream::UpstreamId;

/// What of the routes of killed flags comes back so, if `then` follows `now`; `book` is what lies over the flags now.
pub(super) fn uncopied(now: &Snapshot, then: &Snapshot, book: &Book) -> Vec<Uncopied> {
    let name = |id: UpstreamId| then.upstreams[id.0 as usize].name.to_string();
    let mut found = Vec::new();
    for route in then.rules.routes.payloads().filter(|route| route.copies.is_some()) {
        let Choice::ByFlag { flag, fallback, .. } = &route.choice else { continue };
        if !now.overrides.kills(*flag) || then.overrides.kills(*flag) || fallback.copy_to.is_some() {
            continue;
        }
        let legs = then.legs_in_force(route);
        let Some(leg) = legs.iter().find(|leg| leg.upstream != fallback.upstream) else { continue };
        let killed = book.flags.get(&*then.rules.flags[flag.0 as usize].key).and_then(|entry| entry.kill.as_ref());
        let since = [killed, book.kill_all.as_ref()].into_iter().flatten().map(|note| note.since_unix_ms).min();
        let (route, from) = (route.name.to_string(), name(fallback.upstream));
        let command = format!("banyan reconcile {route} --from {from} --listing PATH --yes");
        found.push(Uncopied { route, from, to: name(leg.upstream), since_unix_ms: since, command });
    }
    found
}
