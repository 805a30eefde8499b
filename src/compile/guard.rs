//! Owns the refusal of a set that is suddenly much smaller than the one in force (promise 2, rule C7).

use super::Options;
use crate::config::{Diagnostic, Report, Severity};
use crate::snapshot::Snapshot;

/// Sets smaller than this may shrink freely: taking one of three away is everyday work.
const GUARDED_MIN: usize = 4;

/// Reports a set with no routes, and one that lost more than half of its flags or routes.
pub(super) fn shrink(flags: usize, routes: usize, options: &Options, previous: Option<&Snapshot>, report: &mut Report) {
    if routes == 0 {
        let found = Diagnostic::new(Severity::Error, "no-routes", None, "the route files hold no route");
        report.push(found.help("add a route, such as {name: rest, match: {path: \"/{*rest}\"}, upstream: monolith}"));
        return;
    }
    let Some(previous) = previous.filter(|_| !options.accept_shrink) else {
        return;
    };
    let before = [previous.rules.flags.len(), previous.rules.routes.payloads().count()];
    for ((what, now), before) in [("flags", flags), ("routes", routes)].into_iter().zip(before) {
        let vanished = now == 0 && before > 0;
        if !vanished && (before < GUARDED_MIN || now * 2 >= before) {
            continue;
        }
        let message = format!("there were {before} {what}, now there are {now}");
        let found = Diagnostic::new(Severity::Error, "shrunk", None, message);
        report.push(found.help("if this is meant, `banyan reload --accept-shrink`, or SIGHUP to the router, publishes the set all the same"));
    }
}
