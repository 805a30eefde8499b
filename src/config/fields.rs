//! Owns the strict reading of a map: known keys only, right types, numbers in their range.

use std::ops::RangeInclusive;

use super::{Diagnostic, Kind, Node, Place, Report, did_you_mean};

/// A string of a document, with its place.
#[derive(Debug, Clone)]
pub struct Text {
    /// The string.
    pub text: Box<str>,
    /// Where it stands.
    pub place: Place,
}

/// A map being read; every key that is not asked for until [`Fields::close`] is reported.
#[derive(Debug)]
pub struct Fields<'n> {
    what: &'static str,
    place: &'n Place,
    entries: &'n [(Node, Node)],
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Begins to read a map; `what` is what messages call it, such as `an upstream`.
    pub fn open(node: &'n Node, what: &'static str, report: &mut Report) -> Option<Self> {
        let entries = entries(node, what, report)?;
        Some(Self { what, place: &node.place, entries, known: Vec::new() })
    }

    /// Takes a key's value as it stands.
    pub fn node(&mut self, name: &'static str) -> Option<&'n Node> {
        self.known.push(name);
        self.entries.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
    }

    /// Takes a key's value and reports when there is none.
    pub fn required(&mut self, name: &'static str, help: &str, report: &mut Report) -> Option<&'n Node> {
        let found = self.node(name);
        if found.is_none() {
            let message = format!("`{name}` is missing in {}", self.what);
            // The whole map would be underlined otherwise, which shows nothing.
            let place = self.entries.first().map_or(self.place, |(key, _)| &key.place);
            report.push(Diagnostic::error("missing-key", place, message).help(help));
        }
        found
    }

    /// Takes a string.
    pub fn text(&mut self, name: &'static str, report: &mut Report) -> Option<Text> {
        text(self.node(name)?, name, report)
    }

    /// Takes a list of strings.
    pub fn texts(&mut self, name: &'static str, report: &mut Report) -> Option<Vec<Text>> {
        texts(self.node(name)?, name, report)
    }

    /// Takes a boolean.
    pub fn boolean(&mut self, name: &'static str, report: &mut Report) -> Option<bool> {
        let node = self.node(name)?;
        match node.kind {
            Kind::Bool(value) => Some(value),
            _ => wrong(node, name, "true or false", report),
        }
    }

    /// Takes a whole number in a range.
    pub fn number(&mut self, name: &'static str, range: RangeInclusive<u64>, report: &mut Report) -> Option<u64> {
        let node = self.node(name)?;
        let Kind::Number(number) = &node.kind else {
            return wrong(node, name, "a whole number", report);
        };
        let found = number.as_u64().filter(|found| range.contains(found));
        if found.is_none() {
            let message = format!("`{name}` is {number}, not a whole number from {} to {}", range.start(), range.end());
            report.push(Diagnostic::error("out-of-range", &node.place, message));
        }
        found
    }

    /// Takes a whole number in a range that fits 32 bits.
    pub fn number32(&mut self, name: &'static str, range: RangeInclusive<u32>, report: &mut Report) -> Option<u32> {
        let found = self.number(name, u64::from(*range.start())..=u64::from(*range.end()), report)?;
        u32::try_from(found).ok()
    }

    /// Ends the reading and reports every key that was not asked for.
    pub fn close(self, report: &mut Report) {
        for (key, _) in self.entries {
            let name = key.as_str().unwrap_or_default();
            if self.known.contains(&name) {
                continue;
            }
            let mut found =
                Diagnostic::error("unknown-key", &key.place, format!("unknown key `{name}` in {}", self.what));
            found.help = did_you_mean(name, self.known.iter().copied());
            report.push(found);
        }
    }
}

/// The entries of a map, or a report that it is none.
pub(super) fn entries<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n [(Node, Node)]> {
    let found = node.as_map();
    if found.is_none() {
        wrong::<()>(node, what, "a map", report);
    }
    found
}

/// A string, or a report that it is none.
pub(super) fn text(node: &Node, what: &str, report: &mut Report) -> Option<Text> {
    match &node.kind {
        Kind::Str { text, .. } if !text.is_empty() => Some(Text { text: text.clone(), place: node.place.clone() }),
        Kind::Str { .. } => {
            report.push(Diagnostic::error("wrong-type", &node.place, format!("`{what}` is empty")));
            None
        }
        Kind::Number(_) | Kind::Bool(_) => {
            let message = format!("`{what}` is {}, not a string", node.describe());
            report.push(Diagnostic::error("wrong-type", &node.place, message).help("put it in quotes"));
            None
        }
        _ => wrong(node, what, "a string", report),
    }
}

/// A list of strings, or a report of every item that is none.
pub(super) fn texts(node: &Node, what: &str, report: &mut Report) -> Option<Vec<Text>> {
    let Some(items) = node.as_list() else {
        return wrong(node, what, "a list", report);
    };
    let found: Vec<Text> = items.iter().filter_map(|item| text(item, what, report)).collect();
    (found.len() == items.len()).then_some(found)
}

/// Reports a value of the wrong type.
pub(super) fn wrong<T>(node: &Node, what: &str, expected: &str, report: &mut Report) -> Option<T> {
    let what = if what.contains(' ') { what.to_owned() } else { format!("`{what}`") };
    let message = format!("{what} is {}, not {expected}", node.describe());
    report.push(Diagnostic::error("wrong-type", &node.place, message));
    None
}
