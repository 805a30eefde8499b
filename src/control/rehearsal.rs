//! Owns what an order would change, and whom, without changing it.

use std::sync::Arc;

use serde_json::Value;

use super::operator::{Operator, not_kept};
use super::overrides::{Command, Order, Refusal, Uncopied, apply, bind};
use super::uncopied::uncopied;
use crate::flag::{FlagId, Person, Sample};
use crate::snapshot::Snapshot;

/// Targeting keys that are asked at most.
const KEYS_MAX: u32 = 10_000;
/// Evaluations at most, when an order reaches every flag; then fewer are asked, at least [`KEYS_MIN`].
const EVALUATIONS_MAX: u32 = 2_000_000;
const KEYS_MIN: u32 = 20;

/// What would come of an order.
#[derive(Debug)]
pub struct Rehearsal {
    /// The generation in force.
    pub generation: u64,
    /// Whether anything would change.
    pub changed: bool,
    /// What lies over the flag; for people.
    pub before: Value,
    /// What would lie over it.
    pub after: Value,
    /// Writes that the side lacks that would serve again.
    pub uncopied: Vec<Uncopied>,
    now: Arc<Snapshot>,
    then: Snapshot,
}

/// How many of a sample would get something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// How many were asked.
    pub sampled: u32,
    /// How many would get another variant, of one flag at least.
    pub moved: u32,
}

impl Operator {
    /// Says what an order would change, without changing it.
    ///
    /// # Errors
    /// As [`Operator::execute_at`].
    pub fn rehearse(&self, order: &Order, expected: Option<u64>) -> Result<Rehearsal, Refusal> {
        let publications = &self.0.publications;
        let state = publications.lock();
        self.check_generation(expected)?;
        let now = publications.current();
        let mut book = state.book.clone();
        apply(order, &mut book, &now.rules)?;
        if order.command == Command::ReviveAll && state.glass.is_some() && state.book.kill_all.is_none() {
            return Err(Refusal::BreakGlass);
        }
        let mut changed = state.book != book;
        let mut then = Snapshot::clone(&now);
        if let Command::Restore { generation } = order.command {
            let kept = state.archive.find(generation).ok_or_else(|| not_kept(&state, generation))?;
            (then.rules, then.upstreams, changed) = (kept.rules, kept.upstreams, true);
        } else if let (Command::Release, Some(held)) = (&order.command, &state.held) {
            (then.rules, changed) = (held.waiting_rules(), true);
        }
        then.overrides = Arc::new(bind(&book, state.glass.is_some(), &then.rules).overrides);
        let flag = order.command.flag();
        let (before, after) = (state.book.shown(flag), book.shown(flag));
        let uncopied = uncopied(&now, &then, &state.book);
        Ok(Rehearsal { generation: now.generation, changed, before, after, uncopied, now, then })
    }
}

impl Rehearsal {
    /// Asks made-up people about one flag, or about all, now and then.
    pub fn moved(&self, command: &Command, now_unix_s: i64) -> Moved {
        let ids: Vec<(FlagId, FlagId)> = match command.flag() {
            Some(key) => self.ids(key).into_iter().collect(),
            None => self.now.rules.flag_ids.keys().filter_map(|key| self.ids(key)).collect(),
        };
        let attributes: Vec<(&str, &str)> = match command {
            Command::Pin { attribute, value, .. } | Command::Unpin { pin: Some((attribute, value)), .. } => {
                vec![(attribute, value)]
            }
            _ => Vec::new(),
        };
        let each = EVALUATIONS_MAX / u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1);
        let is_one = attributes.iter().any(|(name, _)| *name == "targetingKey");
        let keys = if is_one { 1 } else { each.clamp(KEYS_MIN, KEYS_MAX) };
        let sample = Sample { keys, attributes: &attributes, hashing: self.now.rules.hashing, now_unix_s };
        let differs = |person: &Person<'_>| {
            ids.iter().any(|(now, then)| variant(&self.now, *now, person) != variant(&self.then, *then, person))
        };
        Moved { sampled: keys, moved: sample.count(differs) }
    }

    /// A flag's ids; `None` where it is missing before or after, so that it has nobody to move.
    fn ids(&self, key: &str) -> Option<(FlagId, FlagId)> {
        Some((*self.now.rules.flag_ids.get(key)?, *self.then.rules.flag_ids.get(key)?))
    }
}

fn variant<'s>(snapshot: &'s Snapshot, id: FlagId, person: &Person<'_>) -> Option<&'s str> {
    let chosen = snapshot.evaluate(id, person).evaluation.variant?;
    let flag = snapshot.rules.flags.get(id.0 as usize)?;
    flag.variants.get(usize::from(chosen.0)).map(|variant| &*variant.name)
}
