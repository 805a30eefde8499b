//! What a checker looks at: what clients saw, what both sides wrote down, what was set aside. Nothing in it comes from the router's code.

use serde_json::Value;

/// What a client saw of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// An answer of 2xx or 3xx.
    Acknowledged,
    /// An answer of 4xx.
    Rejected,
    /// A 5xx, or no whole answer.
    Unknown,
}

impl Seen {
    pub(crate) fn of(status: u16) -> Self {
        match status {
            200..400 => Self::Acknowledged,
            400..500 => Self::Rejected,
            _ => Self::Unknown,
        }
    }
}

/// A write as its client knows it.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    /// Its number, no other write has it; it travels in a header and in the body.
    pub(crate) id: u64,
    /// What it is about; empty for a create, until an upstream has named it.
    pub(crate) entity: String,
    /// The key, where the client gave one.
    pub(crate) key: Option<String>,
    pub(crate) seen: Seen,
}

/// A line of an upstream's log: a write that it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The number in the header: whose write it is.
    pub(crate) owner: Option<u64>,
    /// The number in the body: whose value it carries; none for a delete.
    pub(crate) value: Option<u64>,
    pub(crate) entity: String,
    pub(crate) key: Option<String>,
    /// Whether it was done, whatever the answer said.
    pub(crate) applied: bool,
    /// The status of the answer; 0 where none was given.
    pub(crate) status: u16,
    /// Whether it came with the mark of a copy.
    pub(crate) is_copy: bool,
}

impl Entry {
    /// Reads a line that [`Entry::to_line`] wrote; `None` for one that was cut by the writer's death.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        Some(Self {
            owner: line["owner"].as_u64(),
            value: line["value"].as_u64(),
            entity: text("entity")?,
            key: text("key"),
            applied: line["applied"].as_bool()?,
            status: u16::try_from(line["status"].as_u64()?).ok()?,
            is_copy: line["is_copy"].as_bool()?,
        })
    }

    pub(crate) fn to_line(&self) -> String {
        let line = serde_json::json!({
            "owner": self.owner, "value": self.value, "entity": self.entity, "key": self.key,
            "applied": self.applied, "status": self.status, "is_copy": self.is_copy,
        });
        format!("{line}\n")
    }
}

/// A copy that waits for a person.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    pub(crate) key: String,
}

/// A write that the router says it did not copy.
#[derive(Debug, Clone)]
pub(crate) struct Gap {
    pub(crate) entity: String,
}

/// Everything that is known when the traffic is over and what was on its way has arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// In the order in which clients began them; one about an entity begins when the one before has ended.
    pub(crate) writes: Vec<Write>,
    /// What each side wrote down, in its order.
    pub(crate) sides: [Vec<Entry>; 2],
    pub(crate) parked: Vec<Parked>,
    pub(crate) gaps: Vec<Gap>,
    /// Whether the route sheds: only then is a gap an answer to where a write is.
    pub(crate) may_shed: bool,
    /// Whether a write is durable before an upstream sees it (mode `strict`): then even a write that nobody saw acknowledged
    /// leaves both sides equal.
    pub(crate) is_strict: bool,
}
