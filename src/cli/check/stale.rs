//! Owns `check --stale`: flags that have given the same to everybody for too long; it asks no router.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::now_unix_s;
use crate::compile::compile_flags;
use crate::config::{self, Diagnostic, FileSet, Node, Place, Report};
use crate::control::{Evidence, FlagUse, Known, StaleReason, StaleRule, read_usage};
use crate::flag::Flag;

/// The findings that mean a stale flag; the compiler itself tells of the first two.
const CODES: [&str; 3] = [StaleReason::Expired.as_str(), StaleReason::NoOwner.as_str(), StaleReason::AtRest.as_str()];

/// Whether a finding means a stale flag.
pub(super) fn is_any(report: &Report) -> bool {
    report.diagnostics.iter().any(|found| CODES.contains(&found.code))
}

/// Adds the flags that rest for too long, at their places.
pub(super) fn find(files: &FileSet, state: &Path, days: u32, report: &mut Report) {
    let usage = read_usage(state).unwrap_or_else(|error| {
        let message =
            format!("what a router has kept in {} about the use of flags cannot be read: {error}", state.display());
        let found = Diagnostic::new(config::Severity::Note, "flag-usage", None, message);
        report.push(found.help("the times of the files count instead"));
        BTreeMap::new()
    });
    // Whatever is wrong with them stands in the report already.
    let mut known = Report::default();
    let documents: Vec<Node> = files.files.iter().filter_map(|file| config::parse(file, &mut known)).collect();
    let set = compile_flags(&documents, now_unix_s(), None, &mut known);
    let rule = StaleRule { days, now_unix_ms: unix_ms(SystemTime::now()).unwrap_or_default() };
    for (flag, place) in set.flags.iter().zip(&set.places) {
        let rests_since = watched(flag, &usage).or_else(|| changed(place));
        let found = rule.judge(flag, &Known { rests_since, asked: None });
        for (reason, stale) in found.into_iter().filter(|(reason, _)| *reason == StaleReason::AtRest) {
            let message = format!("the flag `{}` {}", flag.key, stale.text);
            let found = Diagnostic::warning(reason.as_str(), place, message);
            report.push(found.help("remove the flag and the road not taken"));
        }
    }
    report.sort();
}

/// Since when a router has seen it rest as it does in the file.
fn watched(flag: &Flag, usage: &BTreeMap<String, FlagUse>) -> Option<(u64, Evidence)> {
    let kept = usage.get(&*flag.key)?;
    let since = kept.rests_since_unix_ms.filter(|_| kept.rests_as(flag))?;
    Some((since, Evidence::Watched))
}

/// Since when its file has not changed.
fn changed(place: &Place) -> Option<(u64, Evidence)> {
    let modified = std::fs::metadata(&place.file.path).and_then(|about| about.modified()).ok()?;
    Some((unix_ms(modified)?, Evidence::File))
}

fn unix_ms(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}
