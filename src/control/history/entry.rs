//! Owns what an entry of the history says, and its form: one JSON object on a line.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::control::Source;
use crate::observe::timestamp;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The process began to serve.
    Start,
    /// Changed files came into force.
    Publish,
    /// New addresses of names came into force.
    Addresses,
    /// Changed files were refused; nothing changed.
    Reject,
    /// Changed files were found good, and wait for the end of a restore.
    Hold,
    /// A flag was killed.
    Kill,
    /// Every flag was killed.
    KillAll,
    /// A flag's kill was taken back.
    Revive,
    /// The kill of every flag was taken back.
    ReviveAll,
    /// Shares were laid over a flag.
    Set,
    /// Shares were taken back.
    Unset,
    /// A pin was laid over a flag.
    Pin,
    /// Pins were taken back.
    Unpin,
    /// An override ended by itself.
    Expire,
    /// An earlier generation's rules came into force.
    Restore,
    /// A restore ended.
    Release,
    /// Parked copies were sent once more.
    Replay,
    /// Parked copies were given up.
    Drop,
    /// A destination of copies was to be tried at once.
    Resume,
    /// The state of one side was sent to the other, entity by entity.
    Reconcile,
}

impl Action {
    /// Names the action as the history does.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Publish => "publish",
            Self::Addresses => "addresses",
            Self::Reject => "reject",
            Self::Hold => "hold",
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Revive => "revive",
            Self::ReviveAll => "revive-all",
            Self::Set => "set",
            Self::Unset => "unset",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::Expire => "expire",
            Self::Restore => "restore",
            Self::Release => "release",
            Self::Replay => "replay",
            Self::Drop => "drop",
            Self::Resume => "resume",
            Self::Reconcile => "reconcile",
        }
    }
}

/// One entry of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts entries of a state directory from 1.
    pub number: u64,
    /// When, in UTC with milliseconds.
    pub time: String,
    /// The generation that was in force since; of a rejection, the one that stayed.
    pub generation: u64,
    /// What happened.
    pub action: Action,
    /// Where it came from.
    pub source: Source,
    /// The flag, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// Who wanted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was before; bounded in size.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub before: Value,
    /// What is since; bounded in size.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub after: Value,
}

/// What is to become an entry; it has no number yet.
#[derive(Debug, Clone)]
pub(in crate::control) struct Event {
    pub(in crate::control) unix_ms: u64,
    pub(in crate::control) generation: u64,
    pub(in crate::control) action: Action,
    pub(in crate::control) source: Source,
    pub(in crate::control) flag: Option<String>,
    pub(in crate::control) who: Option<String>,
    pub(in crate::control) why: Option<String>,
    pub(in crate::control) before: Value,
    pub(in crate::control) after: Value,
}

impl Event {
    /// Says what has happened just now.
    pub(in crate::control) fn new(action: Action, source: Source, generation: u64) -> Self {
        Self {
            unix_ms: crate::control::overrides::unix_ms(),
            generation,
            action,
            source,
            flag: None,
            who: None,
            why: None,
            before: Value::Null,
            after: Value::Null,
        }
    }

    pub(super) fn numbered(&self, number: u64) -> Entry {
        let Self { unix_ms, generation, action, source, flag, who, why, before, after } = self.clone();
        Entry { number, time: timestamp(unix_ms), generation, action, source, flag, who, why, before, after }
    }
}
