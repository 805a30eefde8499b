//! Owns the values that rules compute with; it never allocates unless a rule makes a new string or list.

use std::borrow::Cow;
use std::fmt::{self, Write};

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

impl<'a> Value<'a> {
    /// Borrows a JSON value, with scalars in their own variants.
    pub fn from_json(json: &'a serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(value) => Self::Number(value.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::Str(Cow::Borrowed(text)),
            Json::Array(_) | Json::Object(_) => Self::Json(json),
        }
    }

    /// Goes down a path of map keys and list positions; null where there is nothing.
    pub fn descend(&self, path: &[Box<str>]) -> Value<'a> {
        let mut here = self.clone();
        for step in path {
            here = match &here {
                Self::Json(serde_json::Value::Object(map)) => map.get(&**step).map_or(Self::Null, Self::from_json),
                Self::Json(serde_json::Value::Array(items)) => {
                    step.parse().ok().and_then(|at: usize| items.get(at)).map_or(Self::Null, Self::from_json)
                }
                Self::List(items) => {
                    step.parse().ok().and_then(|at: usize| items.get(at)).cloned().unwrap_or(Self::Null)
                }
                _ => Self::Null,
            };
        }
        here
    }

    /// Whether JSONLogic takes the value for true: an empty list is false, an empty map is true.
    pub(super) fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(value) => *value != 0.0 && !value.is_nan(),
            Self::Str(text) => !text.is_empty(),
            Self::Json(serde_json::Value::Array(items)) => !items.is_empty(),
            Self::Json(_) => true,
            Self::List(items) => !items.is_empty(),
        }
    }

    /// Converts as JavaScript's `Number()` does; what is no number is NaN.
    pub(super) fn to_number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Bool(value) => f64::from(u8::from(*value)),
            Self::Number(value) => *value,
            Self::Str(text) => number_from_text(text),
            Self::Json(_) | Self::List(_) => number_from_text(&self.to_text()),
        }
    }

    /// Converts as JavaScript's `String()` does, except that null is empty, as in `cat`.
    pub(super) fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Str(text) => Cow::Borrowed(text),
            other => {
                let mut text = String::new();
                other.write_text(&mut text);
                Cow::Owned(text)
            }
        }
    }

    /// Writes [`Value::to_text`] without making a string of it.
    pub(super) fn write_text(&self, out: &mut impl Write) {
        // Writing to memory does not fail; both writers that call this are in memory.
        let _ = match self {
            Self::Null => Ok(()),
            Self::Bool(value) => out.write_str(if *value { "true" } else { "false" }),
            Self::Number(value) => write_number(*value, out),
            Self::Str(text) => out.write_str(text),
            Self::Json(serde_json::Value::Object(_)) => out.write_str("[object Object]"),
            Self::Json(_) | Self::List(_) => {
                for (at, item) in self.items().enumerate() {
                    if at > 0 {
                        let _ = out.write_char(',');
                    }
                    item.write_text(out);
                }
                Ok(())
            }
        };
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::List(_) | Self::Json(serde_json::Value::Array(_)))
    }

    /// The items of a list; nothing for all else.
    pub(super) fn items(&self) -> Items<'_, 'a> {
        match self {
            Self::List(items) => Items::Computed(items.iter()),
            Self::Json(serde_json::Value::Array(items)) => Items::Borrowed(items.iter()),
            _ => Items::Borrowed([].iter()),
        }
    }

    /// The bytes of a string or the items of a list; 0 for all else.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Str(text) => text.len(),
            Self::Json(serde_json::Value::Array(items)) => items.len(),
            Self::List(items) => items.len(),
            _ => 0,
        }
    }

    /// How deep it nests and about how much of it there is, in items and 16-byte pieces of text.
    pub(super) fn extent(&self) -> (usize, usize) {
        match self {
            Self::Str(text) => (1, 1 + text.len() / 16),
            Self::List(items) => items
                .iter()
                .map(Self::extent)
                .fold((1, 1), |(depth, size), (below, more)| (depth.max(below + 1), size + more)),
            _ => (1, 1),
        }
    }

    /// Renders it as JSON, for people.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(value) => json_number(*value),
            Self::Str(text) => text.as_ref().into(),
            Self::Json(json) => (*json).clone(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
        }
    }
}

/// Iterates over a list's items.
pub(super) enum Items<'s, 'a> {
    /// Of a list that a rule computed.
    Computed(std::slice::Iter<'s, Value<'a>>),
    /// Of a list that stands somewhere.
    Borrowed(std::slice::Iter<'a, serde_json::Value>),
}

impl<'a> Iterator for Items<'_, 'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        match self {
            Self::Computed(items) => items.next().cloned(),
            Self::Borrowed(items) => items.next().map(Value::from_json),
        }
    }
}

/// Whole numbers without a point, as people and JSON write them.
pub(super) fn json_number(value: f64) -> serde_json::Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        // Within 2^53, so the cast is exact.
        return (value as i64).into();
    }
    serde_json::Number::from_f64(value).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

fn number_from_text(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    // Rust would also read `inf` and `nan`, which JSONLogic does not.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if numeric { text.parse().unwrap_or(f64::NAN) } else { f64::NAN }
}

fn write_number(value: f64, out: &mut impl Write) -> fmt::Result {
    if value.is_nan() {
        return out.write_str("NaN");
    }
    if value.is_infinite() {
        return out.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let size = value.abs();
    if size == 0.0 {
        return out.write_char('0');
    }
    if (1e-6..1e21).contains(&size) {
        return write!(out, "{value}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, power)) if !power.starts_with('-') => write!(out, "{digits}e+{power}"),
        _ => out.write_str(&text),
    }
}
