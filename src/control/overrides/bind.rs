//! Owns laying the book over compiled rules: total, whatever the files have become since.

use super::apply::split;
use super::book::{Book, FlagEntry};
use crate::flag::{Flag, FlagOverride, OverrideKind, Pin, Share};
use crate::snapshot::{Overrides, Rules};

/// The book laid over rules.
#[derive(Debug, Default)]
pub(in crate::control) struct Bound {
    /// What is in force.
    pub(in crate::control) overrides: Overrides,
    /// What does not apply to these rules, and why; kept, as the files may change back.
    pub(in crate::control) misfits: Vec<Misfit>,
    /// How many are in force, by kind.
    pub(in crate::control) in_force: [i64; OverrideKind::ALL.len()],
}

/// An override that does not apply to the rules in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) struct Misfit {
    pub(in crate::control) flag: String,
    pub(in crate::control) kind: OverrideKind,
    pub(in crate::control) why: String,
}

/// Lays the book over rules; `kill_all` is for kills of every flag that the book does not hold.
pub(in crate::control) fn bind(book: &Book, kill_all: bool, rules: &Rules) -> Bound {
    let kill_all = kill_all || book.kill_all.is_some();
    let mut bound = Bound::default();
    bound.in_force[OverrideKind::KillAll as usize] = i64::from(kill_all);
    let mut flags = Vec::with_capacity(book.flags.len());
    for (key, entry) in &book.flags {
        let id = rules.flag_ids.get(key.as_str());
        match id.and_then(|id| Some((*id, rules.flags.get(id.0 as usize)?))) {
            Some((id, flag)) => flags.push((id, bind_flag(flag, entry, &mut bound))),
            None => {
                let why = "the files have no such flag";
                let kinds = [
                    entry.kill.is_some().then_some(OverrideKind::Kill),
                    (!entry.pins.is_empty()).then_some(OverrideKind::Pin),
                    entry.split.is_some().then_some(OverrideKind::Split),
                ];
                bound.misfits.extend(kinds.into_iter().flatten().map(|kind| misfit(key, kind, why)));
            }
        }
    }
    bound.overrides = Overrides::new(kill_all, flags);
    bound
}

fn bind_flag(flag: &Flag, entry: &FlagEntry, bound: &mut Bound) -> FlagOverride {
    let mut over = FlagOverride { killed: entry.kill.is_some(), ..FlagOverride::default() };
    bound.in_force[OverrideKind::Kill as usize] += i64::from(over.killed);
    for pin in &entry.pins {
        match flag.variant(&pin.variant) {
            Some(variant) => over.pins.push(Pin::new(&pin.attribute, &pin.value, variant)),
            None => {
                let why = format!("the flag has no variant `{}` any more", pin.variant);
                bound.misfits.push(misfit(&flag.key, OverrideKind::Pin, &why));
            }
        }
    }
    bound.in_force[OverrideKind::Pin as usize] += i64::try_from(over.pins.len()).unwrap_or(i64::MAX);
    if let Some(given) = &entry.split {
        let shares: Result<Vec<(String, Share)>, String> = (given.shares.iter())
            .map(|(variant, share)| Ok((variant.clone(), share.parse().map_err(|error| format!("{error}"))?)))
            .collect();
        match shares.and_then(|shares| split(flag, &shares).map_err(|refusal| refusal.to_string())) {
            Ok(split) => {
                over.split = Some(split);
                bound.in_force[OverrideKind::Split as usize] += 1;
            }
            Err(why) => bound.misfits.push(misfit(&flag.key, OverrideKind::Split, &why)),
        }
    }
    over
}

fn misfit(flag: &str, kind: OverrideKind, why: &str) -> Misfit {
    Misfit { flag: flag.to_owned(), kind, why: why.to_owned() }
}
