//! Owns what a publication changed, flag by flag, in a bounded form for the history.

use serde_json::{Map, Value, json};

use crate::flag::Flag;
use crate::snapshot::Rules;

/// The most flags that an entry names; of the others it says how many there are.
const FLAGS_MAX: usize = 100;
/// The most pairs of a split that an entry shows.
const PAIRS_MAX: usize = 32;

/// What was and what is, for the flags that differ.
pub(in crate::control) fn changes(before: &Rules, after: &Rules) -> (Value, Value) {
    let (mut was, mut is) = (Map::new(), Map::new());
    let mut more = 0;
    let mut note = |key: &str, old: Option<&Flag>, new: Option<&Flag>| {
        if was.len() >= FLAGS_MAX {
            more += 1;
            return;
        }
        was.insert(key.to_owned(), old.map_or(Value::Null, summary));
        is.insert(key.to_owned(), new.map_or(Value::Null, summary));
    };
    for flag in &before.flags {
        let new = find(after, &flag.key);
        if new != Some(flag) {
            note(&flag.key, Some(flag), new);
        }
    }
    for flag in after.flags.iter().filter(|flag| find(before, &flag.key).is_none()) {
        note(&flag.key, None, Some(flag));
    }
    (side(before, was, more), side(after, is, more))
}

fn find<'r>(rules: &'r Rules, key: &str) -> Option<&'r Flag> {
    rules.flags.get(rules.flag_ids.get(key)?.0 as usize)
}

fn side(rules: &Rules, changed: Map<String, Value>, more: usize) -> Value {
    let mut side = Map::new();
    side.insert("flags".into(), rules.flags.len().into());
    side.insert("routes".into(), rules.routes.payloads().count().into());
    if !changed.is_empty() {
        side.insert("changed".into(), Value::Object(changed));
    }
    if more > 0 {
        side.insert("changed_more".into(), more.into());
    }
    side.into()
}

/// What people change in a flag: its state, its default, its shares.
fn summary(flag: &Flag) -> Value {
    let default = flag.default_variant.and_then(|id| flag.variants.get(usize::from(id.0)));
    let mut shown = json!({
        "state": if flag.enabled { "ENABLED" } else { "DISABLED" },
        "default": default.map(|variant| &*variant.name),
    });
    let pairs = flag.splits().into_iter().flat_map(|split| split.pairs.iter()).take(PAIRS_MAX);
    let pairs: Vec<Value> = pairs.map(|pair| json!([pair.text(), pair.fixed_weight()])).collect();
    if !pairs.is_empty() {
        shown["shares"] = pairs.into();
    }
    shown
}
