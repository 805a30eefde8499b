//! Owns the proof of an edit: two documents are the same in every value, whatever their places.

use crate::config::{Kind, Node};

/// Finds the first value that differs and names it as in `flags.search.targeting.fractional[0][1]`.
///
/// The order of keys counts, and so do quotes: without them `"off"` is another value to some readers.
pub(super) fn first_difference(left: &Node, right: &Node) -> Option<String> {
    match (&left.kind, &right.kind) {
        (Kind::Map(left), Kind::Map(right)) if left.len() == right.len() => {
            left.iter().zip(right).find_map(|((key, value), (other_key, other))| {
                let name = key.as_str().unwrap_or_default();
                if first_difference(key, other_key).is_some() {
                    return Some(name.to_owned());
                }
                first_difference(value, other).map(|path| join(name, &path))
            })
        }
        (Kind::List(left), Kind::List(right)) if left.len() == right.len() => {
            left.iter().zip(right).enumerate().find_map(|(at, (left, right))| {
                first_difference(left, right).map(|path| join(&format!("[{at}]"), &path))
            })
        }
        (Kind::Null, Kind::Null) => None,
        (Kind::Bool(left), Kind::Bool(right)) if left == right => None,
        (Kind::Number(left), Kind::Number(right)) if left == right => None,
        (Kind::Str { text: left, quoted }, Kind::Str { text: right, quoted: other })
            if left == right && quoted == other =>
        {
            None
        }
        _ => Some(String::new()),
    }
}

fn join(name: &str, rest: &str) -> String {
    match rest.chars().next() {
        None | Some('[') => format!("{name}{rest}"),
        Some(_) => format!("{name}.{rest}"),
    }
}
