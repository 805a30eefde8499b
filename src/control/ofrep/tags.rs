//! Owns the tags by which callers see that nothing changed: of an answer, and of what is in force.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::digest::{SHA256, digest};

use crate::snapshot::{Overrides, Rules, Snapshot};

/// Names what is in force, so far as flags can tell: a change of addresses alone keeps the tag.
#[derive(Debug)]
pub(super) struct ForceTags {
    /// Tells processes apart, as each counts from 1.
    process: u64,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    rules: Weak<Rules>,
    overrides: Weak<Overrides>,
    count: u64,
}

impl ForceTags {
    pub(super) fn new() -> Self {
        Self { process: fastrand::u64(..), last: Mutex::default() }
    }

    /// The tag of a snapshot, which is the one in force.
    pub(super) fn tag(&self, snapshot: &Snapshot) -> String {
        let (rules, overrides) = (Arc::downgrade(&snapshot.rules), Arc::downgrade(&snapshot.overrides));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // The weak pointers keep the addresses from being given out again.
        if !(last.rules.ptr_eq(&rules) && last.overrides.ptr_eq(&overrides)) {
            *last = Last { rules, overrides, count: last.count + 1 };
        }
        format!("{:016x}-{}", self.process, last.count)
    }
}

/// Makes the entity tag of what all flags gave.
///
/// Weak, as the generation that stands beside the flags is not part of it; the same flags have the same tag on every
/// router, also after a restart.
pub(in crate::control) fn entity_tag(flags: &[u8]) -> String {
    let digest = digest(&SHA256, flags);
    let half = &digest.as_ref()[..16];
    half.iter().fold(String::from("W/\""), |tag, byte| format!("{tag}{byte:02x}")) + "\""
}

/// Whether one of the values of `If-None-Match` has a tag, compared weakly (RFC 9110 section 13.1.2).
pub(in crate::control) fn matches(tag: &str, values: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    // Our tags have no comma in them, so that a foreign one that has cannot become equal by being split.
    values.trim() == "*" || values.split(',').any(|value| opaque(value) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::SocketAddr;

    use super::*;
    use crate::compile::{Options, compile};
    use crate::config::FileSet;

    fn snapshot() -> Snapshot {
        let flags = FileSet::from_texts(
            "flags",
            [("f.yaml", "flags: {f: {state: ENABLED, variants: {a: a}, defaultVariant: a}}")],
        );
        let routes = "upstreams: {one: {endpoints: [\"http://one.example:80\"]}}\nroutes: [{name: a, match: {path: /}, upstream: one}]";
        let routes = FileSet::from_texts("routes", [("r.yaml", routes)]);
        compile(&flags, &routes, &Options::default(), None).draft.unwrap().into_snapshot(1)
    }

    #[test]
    fn what_flags_cannot_see_keeps_the_tag_and_all_else_does_not() {
        let (tags, first) = (ForceTags::new(), snapshot());
        let tag = tags.tag(&first);
        let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let addresses = HashMap::from([((Box::from("one.example"), 80), vec![address])]);
        let moved = first.with_addresses(2, &addresses).unwrap();
        assert_eq!(tags.tag(&moved), tag);
        let overridden = Snapshot { overrides: Arc::new(Overrides::new(true, Vec::new())), ..moved.clone() };
        let second = tags.tag(&overridden);
        assert_ne!(second, tag);
        let third = tags.tag(&snapshot());
        assert!(third != tag && third != second);
        assert_ne!(ForceTags::new().tag(&first), tag, "another process counts anew");
    }

    #[test]
    fn tags_are_compared_weakly() {
        let tag = entity_tag(b"flags");
        let strong = tag.trim_start_matches("W/");
        assert_eq!(tag.len(), 2 + 2 + 32);
        for values in
            [tag.clone(), strong.to_owned(), "*".to_owned(), format!("\"x\", {tag}"), format!("{strong},\"y\"")]
        {
            assert!(matches(&tag, &values), "{values}");
        }
        for values in ["", "\"x\"", "W/\"x\"", strong.trim_matches('"'), &entity_tag(b"other")] {
            assert!(!matches(&tag, values), "{values}");
        }
    }
}
