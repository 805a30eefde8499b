//! Owns the overrides of a snapshot and the one place where a flag is evaluated under them (decision 0015).

use super::Snapshot;
use crate::flag::{Context, ErrorCode, Evaluation, Flag, FlagId, FlagOverride, OverrideKind, Reason, Trace};

/// What operators have laid over the flags of a snapshot.
///
/// Made anew at each command, in time that grows with the overrides and not with the flags.
#[derive(Debug, Default)]
pub struct Overrides {
    kill_all: bool,
    /// By id, sorted.
    flags: Box<[(FlagId, FlagOverride)]>,
}

/// What a flag gives, and whether an override decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling {
    /// The result.
    pub evaluation: Evaluation,
    /// The kind of override that decided; `None` when the files did.
    pub overridden: Option<OverrideKind>,
}

impl Overrides {
    /// Lays overrides over flags; each flag at most once.
    pub fn new(kill_all: bool, mut flags: Vec<(FlagId, FlagOverride)>) -> Self {
        flags.sort_unstable_by_key(|(id, _)| *id);
        Self { kill_all, flags: flags.into() }
    }

    /// Whether nothing lies over the files.
    pub const fn is_empty(&self) -> bool {
        !self.kill_all && self.flags.is_empty()
    }

    /// Whether a flag gives its fallback to everybody because it, or every flag, is killed.
    pub fn kills(&self, id: FlagId) -> bool {
        self.kill_all || self.of(id).is_some_and(|over| over.killed)
    }

    /// What lies over a flag by itself.
    pub fn of(&self, id: FlagId) -> Option<&FlagOverride> {
        let at = self.flags.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.flags[at].1)
    }
}

impl Snapshot {
    /// Evaluates a flag as it is in force: kill-all, then its override, then its file.
    ///
    /// Total: an unknown flag is an error's result. Without overrides it costs one branch more than
    /// [`Flag::evaluate`].
    pub fn evaluate<C: Context>(&self, id: FlagId, context: &C) -> Ruling {
        let hashing = self.rules.hashing;
        let Some(flag) = self.rules.flags.get(id.0 as usize) else {
            return Ruling { evaluation: missing(), overridden: None };
        };
        if self.overrides.is_empty() {
            return Ruling { evaluation: flag.evaluate(context, hashing), overridden: None };
        }
        if self.overrides.kill_all {
            return Ruling { evaluation: Flag::killed(), overridden: Some(OverrideKind::KillAll) };
        }
        match self.overrides.of(id) {
            None => Ruling { evaluation: flag.evaluate(context, hashing), overridden: None },
            Some(over) => {
                let (evaluation, overridden) = flag.evaluate_under(context, hashing, over);
                Ruling { evaluation, overridden }
            }
        }
    }

    /// Evaluates as [`Snapshot::evaluate`] and records every rule's outcome; `None` where there is no such flag.
    pub fn explain<C: Context>(&self, id: FlagId, context: &C) -> Option<(Trace, Option<OverrideKind>)> {
        let (flag, hashing) = (self.rules.flags.get(id.0 as usize)?, self.rules.hashing);
        if self.overrides.kill_all {
            let trace = Trace { evaluation: Flag::killed(), steps: Vec::new() };
            return Some((trace, Some(OverrideKind::KillAll)));
        }
        Some(match self.overrides.of(id) {
            None => (flag.explain(context, hashing), None),
            Some(over) => flag.explain_under(context, hashing, over),
        })
    }

    /// Whether a flag gives its code default whatever is asked: killed, by whom ever, or disabled in its file.
    pub fn is_killed(&self, id: FlagId) -> bool {
        let disabled = self.rules.flags.get(id.0 as usize).is_none_or(|flag| !flag.enabled);
        disabled || self.overrides.kill_all || self.overrides.of(id).is_some_and(|over| over.killed)
    }
}

fn missing() -> Evaluation {
    Evaluation { variant: None, reason: Reason::Error, error: Some(ErrorCode::FlagNotFound), bucket: None }
}
