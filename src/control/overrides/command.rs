//! Owns what operators may ask for, and what they are answered.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::book::Source;
use crate::flag::{Share, SplitError};
use crate::observe::timestamp;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The flag gives its fallback.
    Kill {
        /// The flag's key.
        flag: String,
    },
    /// Every flag gives its fallback.
    KillAll,
    /// Takes a flag's kill back.
    Revive {
        /// The flag's key.
        flag: String,
    },
    /// Takes the kill of every flag back, however it was given; kills of single flags stay.
    ReviveAll,
    /// Lays shares over the flag's split.
    Set {
        /// The flag's key.
        flag: String,
        /// Variants with their shares; what is left goes to the others.
        shares: Vec<(String, Share)>,
    },
    /// Takes shares back.
    Unset {
        /// The flag's key.
        flag: String,
    },
    /// Gives a variant to whoever has a value of an attribute.
    Pin {
        /// The flag's key.
        flag: String,
        /// The attribute, named as in rules.
        attribute: String,
        /// Its value.
        value: String,
        /// The variant.
        variant: String,
    },
    /// Takes pins back.
    Unpin {
        /// The flag's key.
        flag: String,
        /// The attribute and value of one pin; `None` takes all pins of the flag back.
        pin: Option<(String, String)>,
    },
    /// Puts the rules of an earlier generation in force and holds them.
    Restore {
        /// The generation.
        generation: u64,
    },
    /// Ends a restore: what the files say is in force again.
    Release,
}

/// A command with who gives it and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What to do.
    pub command: Command,
    /// Who wants it, at most 256 bytes.
    pub who: String,
    /// Why, at most 1024 bytes; not empty.
    pub why: String,
    /// After how long it ends by itself, at most 30 days; for kills, shares and pins only.
    pub lasts: Option<Duration>,
    /// By which way it came.
    pub source: Source,
}

/// What has come of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// The generation that is in force since.
    pub generation: u64,
    /// Whether anything changed.
    pub changed: bool,
    /// What lay over the flag before; for people.
    pub before: Value,
    /// What lies over it now.
    pub after: Value,
    /// What the operator should know: why it shows no effect, say.
    pub remark: Option<String>,
    /// Writes that the side lacks that serves again.
    pub uncopied: Vec<Uncopied>,
    /// Whether it is on disk.
    pub durable: Durable,
    /// The number of its entry in the history, if that is on disk.
    pub entry: Option<u64>,
}

/// Writes that one side has and the other one, which serves again, has not. Nobody has counted them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Uncopied {
    /// The route.
    pub route: String,
    /// Who served its writes.
    pub from: String,
    /// Who serves again, and lacks them.
    pub to: String,
    /// Since when, in milliseconds since the epoch; `None` where nobody has noted it.
    pub since_unix_ms: Option<u64>,
    /// What mends it.
    pub command: String,
}

impl Uncopied {
    /// The same for people.
    pub(in crate::control) fn text(&self) -> String {
        let Self { route, from, to, since_unix_ms, command } = self;
        let since = since_unix_ms.map_or_else(|| "the kill".to_owned(), timestamp);
        format!(
            "writes to the route `{route}` since {since} went to `{from}` alone (nobody has counted them), and `{to}` serves again \
             without them: `{command}` sends them there"
        )
    }
}

/// Whether something would still be there after a crash of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durable {
    /// It would.
    Yes,
    /// It is in force but not on disk; the router goes on trying.
    No(String),
}

/// Says why an order was not carried out; nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such flag in force.
    #[error("there is no flag `{flag}`{}", after(.help.as_deref()))]
    UnknownFlag {
        /// What was asked for.
        flag: String,
        /// The likely one.
        help: Option<String>,
    },
    /// The flag has no such variant.
    #[error("the flag `{flag}` has no variant `{variant}`{}", after(.help.as_deref()))]
    UnknownVariant {
        /// The flag.
        flag: String,
        /// What was asked for.
        variant: String,
        /// The likely one.
        help: Option<String>,
    },
    /// No request has the attribute.
    #[error("no request has the attribute `{attribute}`{}", after(.help.as_deref()))]
    UnknownAttribute {
        /// What was asked for.
        attribute: String,
        /// The likely one.
        help: Option<String>,
    },
    /// The shares do not fit the flag.
    #[error("the shares cannot lie over the flag `{flag}`: {error}")]
    Shares {
        /// The flag.
        flag: String,
        /// Why not.
        error: SplitError,
    },
    /// Nobody says who, or nobody says why, or either is too long.
    #[error("{0}")]
    Reason(&'static str),
    /// It cannot last so long, or not for a time at all.
    #[error("{0}")]
    Lasting(&'static str),
    /// There are too many overrides.
    #[error("{0}")]
    TooMany(&'static str),
    /// The break-glass file kills every flag.
    #[error("every flag is killed by the file KILL in the state directory; remove that file")]
    BreakGlass,
    /// Something was published since the generation that the order was given for.
    #[error("generation {generation} is in force, not {expected}; look again, then repeat the order")]
    Moved {
        /// What the order was given for.
        expected: u64,
        /// What is in force.
        generation: u64,
    },
    /// The generation's rules are not kept.
    #[error("generation {generation} is not kept; kept are the rules of {}", kept.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))]
    NotKept {
        /// What was asked for.
        generation: u64,
        /// The first generation of each set of rules that is kept.
        kept: Vec<u64>,
    },
}

fn after(help: Option<&str>) -> String {
    help.map_or_else(String::new, |help| format!("; {help}"))
}
