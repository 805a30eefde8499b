//! Owns what the report says about flags: shares, what decides, and why one may be stale.

use std::collections::HashMap;

use super::shape::{FlagReport, InForce, VariantReport};
use super::stale::{Evidence, Known, Stale, StaleReason, StaleRule};
use super::traffic::Traffic;
use super::usage::FlagUse;
use super::{Moment, Sources};
use crate::compile::is_stage;
use crate::control::overrides::Note;
use crate::flag::{Flag, FlagId, FlagOverride};
use crate::observe::STALE_REASONS;
use crate::snapshot::Snapshot;

/// The flags in file order.
pub(super) fn flags(moment: &Moment, traffic: &Traffic<'_>, sources: &Sources) -> Vec<FlagReport> {
    let (routes, requests) = (routes_of(&moment.snapshot), traffic.variants());
    let report = |(at, flag): (usize, &Flag)| {
        let usage = sources.usage.of(&flag.key);
        let over = moment.snapshot.overrides.of(FlagId(at as u32));
        let in_force = in_force(moment, flag, over);
        let is_by_file = matches!(in_force.source.as_str(), "file" | "disabled");
        let count = |variant: &str| requests.get(&(&*flag.key, variant)).copied().unwrap_or_default();
        FlagReport {
            key: flag.key.to_string(),
            state: if flag.enabled { "ENABLED" } else { "DISABLED" }.to_owned(),
            owner: flag.owner().map(str::to_owned),
            expires: flag.expires().map(str::to_owned),
            expired: flag.has_expired(i64::try_from(moment.now_unix_ms / 1_000).unwrap_or(i64::MAX)),
            stale: judge(moment, flag, &usage, sources.stale_days).into_iter().map(|(_, stale)| stale).collect(),
            default_variant: flag.default_variant.map(|id| flag.variants[usize::from(id.0)].name.to_string()),
            variants: variants(flag, over, &in_force, count),
            migration: flag.variants.iter().all(|variant| is_stage(&variant.name)),
            at_rest: is_by_file && flag.rest().is_some(),
            at_rest_since_unix_ms: usage.rests_since_unix_ms.filter(|_| is_by_file),
            pins: over.map_or(0, |over| over.pins.len()),
            routes: routes.get(&*flag.key).cloned().unwrap_or_default(),
            last_evaluated_unix_ms: usage.asked_unix_ms,
            watched_since_unix_ms: usage.watched_since_unix_ms,
            in_force,
        }
    };
    moment.snapshot.rules.flags.iter().enumerate().map(report).collect()
}

/// Counts stale flags for the metrics.
pub(super) fn count_stale(moment: &Moment, sources: &Sources) {
    let mut counts = [0; STALE_REASONS.len()];
    for flag in &moment.snapshot.rules.flags {
        for (reason, _) in judge(moment, flag, &sources.usage.of(&flag.key), sources.stale_days) {
            counts[reason as usize] += 1;
        }
    }
    for (gauge, count) in sources.publications.metrics().control.stale_flags.iter().zip(counts) {
        gauge.set(count);
    }
}

fn judge(moment: &Moment, flag: &Flag, usage: &FlagUse, days: u32) -> Vec<(StaleReason, Stale)> {
    let watched = Some((usage.watched_since_unix_ms, false)).filter(|(since, _)| *since > 0);
    let known = Known {
        rests_since: usage.rests_since_unix_ms.map(|since| (since, Evidence::Watched)),
        asked: usage.asked_unix_ms.map(|asked| (asked, true)).or(watched),
    };
    StaleRule { days, now_unix_ms: moment.now_unix_ms }.judge(flag, &known)
}

fn routes_of(snapshot: &Snapshot) -> HashMap<&str, Vec<String>> {
    let mut routes: HashMap<&str, Vec<String>> = HashMap::new();
    for labels in &snapshot.rules.legs {
        let Some(flag) = labels.flag.as_deref() else { continue };
        let names = routes.entry(flag).or_default();
        // The legs of a route stand together.
        if names.last().is_none_or(|last| **last != *labels.route) {
            names.push(labels.route.to_string());
        }
    }
    routes
}

fn variants(
    flag: &Flag,
    over: Option<&FlagOverride>,
    in_force: &InForce,
    count: impl Fn(&str) -> u64,
) -> Vec<VariantReport> {
    let by_file = flag.file_shares();
    let is_split = matches!(in_force.source.as_str(), "file" | "split" | "pin");
    let split = over.and_then(|over| over.split.as_ref());
    let shares = split.map_or_else(|| by_file.clone(), |split| flag.shares_under(split)).filter(|_| is_split);
    let of = |shares: &Option<Vec<Option<f64>>>, at: usize| shares.as_ref().and_then(|shares| shares[at]);
    let variant = |(at, variant): (usize, &crate::flag::Variant)| VariantReport {
        name: variant.name.to_string(),
        share: of(&shares, at),
        file_share: of(&by_file, at),
        requests: count(&variant.name),
    };
    flag.variants.iter().enumerate().map(variant).collect()
}

/// What decides first; a pin decides for some, so the shares beside it are named before it.
fn in_force(moment: &Moment, flag: &Flag, over: Option<&FlagOverride>) -> InForce {
    let entry = moment.book.flags.get(&*flag.key);
    let by = |source: &str, note: &Note| InForce {
        source: source.to_owned(),
        who: Some(note.who.clone()),
        why: Some(note.why.clone()),
        since_unix_ms: Some(note.since_unix_ms),
        until_unix_ms: note.until_unix_ms,
    };
    let plain = |source: &str| InForce { source: source.to_owned(), ..InForce::default() };
    if let Some(note) = &moment.glass {
        return by("break_glass", note);
    }
    if let Some(note) = &moment.book.kill_all {
        return by("kill_all", note);
    }
    if let Some(note) = entry.and_then(|entry| entry.kill.as_ref()) {
        return by("kill", note);
    }
    if !flag.enabled {
        return plain("disabled");
    }
    let has_split = over.is_some_and(|over| over.split.is_some());
    let has_pins = over.is_some_and(|over| !over.pins.is_empty());
    let split = entry.and_then(|entry| entry.split.as_ref()).filter(|_| has_split);
    let pin = entry.and_then(|entry| entry.pins.first()).filter(|_| has_pins);
    match (split, pin) {
        (Some(split), _) => by("split", &split.note),
        (None, Some(pin)) => by("pin", &pin.note),
        (None, None) => plain("file"),
    }
}
