//! Owns the values that rules compute with; it never allocates unless a rule makes a new string or list.

use std::borrow::Cow;

/// A value as rules see it: JSON, borrowed wherever it can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Absent or null.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number; JSONLogic knows only floats.
    Number(f64),
    /// A string.
    Str(Cow<'a, str>),
    /// A list or map that stands in a rule or an evaluation context.
    Json(&'a serde_json::Value),
    /// A list that a rule computed.
    List(Vec<Value<'a>>),
}
