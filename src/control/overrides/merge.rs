//! Owns bringing two books together that two processes have changed, as they may during a hand-over.

use std::collections::BTreeSet;

use super::book::{Book, FlagEntry, PinEntry};

/// Takes what `ours` or `theirs` has changed since `base`; where both have, ours.
///
/// What neither has taken back stays, so that no acknowledged kill is lost between two processes.
pub(in crate::control) fn merge(base: &Book, ours: &Book, theirs: &Book) -> Book {
    let mut merged = Book { kill_all: pick(&base.kill_all, &ours.kill_all, &theirs.kill_all), ..Book::default() };
    let none = FlagEntry::default();
    let keys: BTreeSet<&String> = ours.flags.keys().chain(theirs.flags.keys()).collect();
    for key in keys {
        let of = |book: &'_ Book| book.flags.get(key).unwrap_or(&none).clone();
        let (base, ours, theirs) = (of(base), of(ours), of(theirs));
        let entry = FlagEntry {
            kill: pick(&base.kill, &ours.kill, &theirs.kill),
            pins: merge_pins(&base, &ours, &theirs),
            split: pick(&base.split, &ours.split, &theirs.split),
        };
        merged.flags.insert(key.clone(), entry);
    }
    merged.tidy();
    merged
}

fn merge_pins(base: &FlagEntry, ours: &FlagEntry, theirs: &FlagEntry) -> Vec<PinEntry> {
    let find = |entry: &FlagEntry, like: &PinEntry| {
        entry.pins.iter().find(|pin| (&pin.attribute, &pin.value) == (&like.attribute, &like.value)).cloned()
    };
    // Our order, then what only they have.
    let more = theirs.pins.iter().filter(|pin| find(ours, pin).is_none());
    let all = ours.pins.iter().chain(more);
    all.filter_map(|pin| pick(&find(base, pin), &find(ours, pin), &find(theirs, pin))).collect()
}

fn pick<T: Clone + PartialEq>(base: &Option<T>, ours: &Option<T>, theirs: &Option<T>) -> Option<T> {
    if ours == base { theirs.clone() } else { ours.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Source;
    use crate::control::overrides::Note;

    fn note(why: &str) -> Note {
        Note { since_unix_ms: 0, ..Note::now("ada", why, Source::Command, None) }
    }

    fn book(kills: &[&str], pins: &[&str]) -> Book {
        let mut book = Book::default();
        for key in kills {
            book.flags.entry((*key).to_owned()).or_default().kill = Some(note("kill"));
        }
        for value in pins {
            let (attribute, value, variant) = ("path".to_owned(), (*value).to_owned(), "on".to_owned());
            let pin = PinEntry { attribute, value, variant, note: note("pin") };
            book.flags.entry("pinned".to_owned()).or_default().pins.push(pin);
        }
        book
    }

    #[test]
    fn what_either_side_did_is_kept() {
        let base = book(&["a", "b"], &["1", "2"]);
        // We revived `a` and pinned 3; they killed `c` and took the pin 1 back.
        let (ours, theirs) = (book(&["b"], &["1", "2", "3"]), book(&["a", "b", "c"], &["2"]));
        assert_eq!(merge(&base, &ours, &theirs), book(&["b", "c"], &["2", "3"]));
        assert_eq!(merge(&base, &base, &theirs), theirs);
        assert_eq!(merge(&base, &ours, &base), ours);
    }

    #[test]
    fn where_both_changed_the_same_ours_counts() {
        let (base, ours) = (Book::default(), Book { kill_all: Some(note("ours")), ..Book::default() });
        let theirs = Book { kill_all: Some(note("theirs")), ..book(&["a"], &[]) };
        let merged = merge(&base, &ours, &theirs);
        assert_eq!(merged.kill_all, ours.kill_all);
        assert!(merged.flags.contains_key("a"));
    }
}
