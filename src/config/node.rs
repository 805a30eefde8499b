//! Owns the tree that a YAML or JSON file becomes, with the place of every node.

use std::sync::Arc;

use super::ConfigFile;

/// A place in a file.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file.
    pub file: Arc<ConfigFile>,
    /// Byte offset where it begins.
    pub start: usize,
    /// Byte offset behind its end.
    pub end: usize,
}

/// A value in a document, with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub place: Place,
}

/// What a node is; scalars are resolved by YAML 1.2's core schema.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; whole numbers up to 2^53 are exact.
    Number(serde_json::Number),
    /// A string; `quoted` tells `"off"` from `off`.
    Str {
        /// The text, escapes resolved.
        text: Box<str>,
        /// Whether it stood in quotes or in a block scalar.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map in file order; keys are unique.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Str { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The entries of a map.
    pub fn as_map(&self) -> Option<&[(Node, Node)]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a map's key.
    pub fn key(&self, name: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
    }

    /// What it is, for messages: `a string`, `a map`.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::Str { .. } => "a string",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// The same value without places.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::Str { text, .. } => Value::String(text.to_string()),
            Kind::List(items) => items.iter().map(Node::to_json).collect(),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.as_str().unwrap_or_default().to_owned(), value.to_json()))
                    .collect(),
            ),
        }
    }
}
