//! Owns the estimate of who moves when a flag changes: both forms are asked about the same made-up people.

use std::collections::BTreeMap;

use super::{Context, Flag, Hashing, Value, Var};

/// The people that are asked: numbered targeting keys that share some attributes and have no others.
#[derive(Debug, Clone)]
pub struct Sample<'s> {
    /// How many.
    pub keys: u32,
    /// What all of them have, by the name that rules use; a `targetingKey` here is the only key.
    pub attributes: &'s [(&'s str, &'s str)],
    /// How `fractional` hashes.
    pub hashing: Hashing,
    /// The wall clock in seconds since the epoch.
    pub now_unix_s: i64,
}

/// How many people move from one variant to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The variant before; `None` is the route's fallback.
    pub from: Option<Box<str>>,
    /// The variant after.
    pub to: Option<Box<str>>,
    /// How many of the sample.
    pub keys: u32,
}

impl Sample<'_> {
    /// Asks both forms of a flag; gives the moves, the largest first, without those who stay.
    pub fn moves(&self, before: &Flag, after: &Flag) -> Vec<Move> {
        let mut counts: BTreeMap<_, u32> = BTreeMap::new();
        for number in 0..self.keys {
            let person = Person { key: self.key(number), sample: self };
            let (from, to) = (person.variant(before), person.variant(after));
            if from != to {
                *counts.entry((from, to)).or_default() += 1;
            }
        }
        let mut moves: Vec<Move> = counts
            .into_iter()
            .map(|((from, to), keys)| Move { from: from.map(Into::into), to: to.map(Into::into), keys })
            .collect();
        moves.sort_by_key(|found| std::cmp::Reverse(found.keys));
        moves
    }

    /// Counts the people of whom something is so.
    pub fn count(&self, is_so: impl Fn(&Person<'_>) -> bool) -> u32 {
        let people = (0..self.keys).filter(|number| is_so(&Person { key: self.key(*number), sample: self }));
        people.map(|_| 1).sum()
    }

    fn key(&self, number: u32) -> String {
        let fixed = self.attributes.iter().find(|(name, _)| *name == "targetingKey");
        fixed.map_or_else(|| format!("user-{number}"), |(_, key)| (*key).to_owned())
    }
}

/// One of the people that are asked.
#[derive(Debug)]
pub struct Person<'s> {
    key: String,
    sample: &'s Sample<'s>,
}

impl Person<'_> {
    fn variant<'f>(&self, flag: &'f Flag) -> Option<&'f str> {
        let chosen = flag.evaluate(self, self.sample.hashing).variant?;
        flag.variants.get(usize::from(chosen.0)).map(|variant| &*variant.name)
    }
}

impl Context for Person<'_> {
    fn lookup<'a>(&'a self, var: &Var) -> Value<'a> {
        if &*var.name == "targetingKey" {
            return Value::Str(self.key.as_str().into());
        }
        let found = self.sample.attributes.iter().find(|(name, _)| *name == &*var.name);
        found.map_or(Value::Null, |(_, value)| Value::Str((*value).into()))
    }

    fn targeting_key(&self) -> Option<&str> {
        Some(&self.key)
    }

    fn now_unix_s(&self) -> i64 {
        self.sample.now_unix_s
    }
}
