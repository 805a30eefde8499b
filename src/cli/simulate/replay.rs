//! Owns deciding each recorded request with both sets, and what becomes of requests that cannot be decided.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::edit::Files;
use super::asked::{Asked, NoRequest};
use super::distinct::fingerprint;
use super::lines::Place;
use super::report::Shown;
use super::tally::{Ending, Tally};
use crate::config::FileSet;
use crate::decision::{Partial, Undecided, Unknown, decide_partly};
use crate::flag::{Flag, Reason};
use crate::snapshot::{Choice, Rules, Snapshot};

/// What is missing is listed for so many routes and attributes; the rest is counted only.
const MISSING_MAX: usize = 1024;

/// Both sets, and what was found so far.
pub(super) struct Replay<'f> {
    from: &'f Snapshot,
    to: &'f Snapshot,
    routes_are_same: bool,
    now_unix_s: i64,
    tally: Tally,
    counts: Counts,
}

/// What became of the lines.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Requests that were decided with both sets.
    pub(super) decided: u64,
    /// Those of them that no targeting key tells apart from others.
    pub(super) without_key: u64,
    /// Requests that the router refuses before it matches a route.
    pub(super) refused: u64,
    /// Requests that cannot move, whatever is not known of them.
    pub(super) unchanged: u64,
    /// Requests that the log says too little about, by route, flag and what is missing.
    pub(super) missing: BTreeMap<Missing, u64>,
    /// Those for which there was no room in the list.
    pub(super) missing_beyond: u64,
    /// Lines that are no requests.
    pub(super) malformed: u64,
    /// The first of them: where, and why.
    pub(super) first_malformed: Option<(String, String)>,
}

/// What a decision asked for in vain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Missing {
    /// The route, if that is known.
    pub(super) route: Option<String>,
    /// Its flag.
    pub(super) flag: Option<String>,
    /// What is missing, in the form of route files.
    pub(super) attribute: String,
}

thread_local! {
    /// The line under replay: what a visitor without a key gets depends on it alone, so both sets give the same.
    static LINE: Cell<u64> = const { Cell::new(0) };
}

impl<'f> Replay<'f> {
    pub(super) fn new(from: &'f Files, to: &'f Files, now_unix_s: i64) -> Self {
        Self {
            from: &from.snapshot,
            to: &to.snapshot,
            routes_are_same: same_files(&from.routes, &to.routes),
            now_unix_s,
            tally: Tally::default(),
            counts: Counts::default(),
        }
    }

    /// Replays a line.
    pub(super) fn line(&mut self, line: &[u8], place: Place<'_>) {
        match Asked::read(line) {
            Ok(asked) => self.request(&asked),
            Err(NoRequest::Refused) => self.counts.refused += 1,
            Err(NoRequest::Malformed(why)) => {
                self.counts.malformed += 1;
                let at = || (format!("{}:{}", place.path.display(), place.line), why);
                self.counts.first_malformed.get_or_insert_with(at);
            }
        }
    }

    pub(super) fn finish(self) -> Shown {
        Shown::new(self.from, self.to, self.tally, self.counts)
    }

    fn request(&mut self, asked: &Asked) {
        LINE.set(LINE.get() + 1);
        let head = asked.head(self.now_unix_s, visitor);
        let decide = |snapshot| decide_partly(snapshot, &head, &|attribute| asked.knows(attribute));
        let (from, to) = (decide(self.from), decide(self.to));
        if let Some((unknown, side)) =
            from.unknown.as_ref().zip(Some(&from)).or_else(|| to.unknown.as_ref().zip(Some(&to)))
        {
            return if self.cannot_move(&from, &to) { self.counts.unchanged += 1 } else { self.missing(unknown, side) };
        }
        self.counts.decided += 1;
        let key = to.key.as_ref().or(from.key.as_ref()).map(|key| fingerprint(key));
        self.counts.without_key += u64::from(key.is_none());
        self.tally.count(Ending::of(&from.decision), Ending::of(&to.decision), key);
    }

    /// Whether a request of which something is unknown is decided in the same way all the same: by equal rules.
    fn cannot_move(&self, from: &Partial<'_>, to: &Partial<'_>) -> bool {
        let by_route = |side: &Partial<'_>| side.unknown.as_ref().is_some_and(|unknown| unknown.by_route);
        let (Ok(before), Ok(after)) = (&from.decision, &to.decision) else { return false };
        self.routes_are_same
            && !by_route(from)
            && !by_route(to)
            && flag_of(&self.from.rules, &before.route.choice) == flag_of(&self.to.rules, &after.route.choice)
    }

    fn missing(&mut self, unknown: &Unknown, side: &Partial<'_>) {
        let decision = side.decision.as_ref().ok().filter(|_| !unknown.by_route);
        let missing = Missing {
            route: decision.map(|decision| decision.route.name.to_string()),
            flag: decision.and_then(|decision| decision.flag).map(|flag| flag.key.to_owned()),
            attribute: unknown.attribute.to_string(),
        };
        let counts = &mut self.counts;
        let has_room = counts.missing.len() < MISSING_MAX;
        match counts.missing.get_mut(&missing) {
            Some(count) => *count += 1,
            None if has_room => drop(counts.missing.insert(missing, 1)),
            None => counts.missing_beyond += 1,
        }
    }
}

impl Ending {
    fn of(decision: &Result<crate::decision::Decision<'_>, Undecided>) -> Self {
        match decision {
            Ok(decision) => Self::Leg {
                leg: decision.leg.id,
                failed: decision.flag.is_some_and(|flag| flag.reason == Reason::Error),
            },
            Err(Undecided::NoRoute) => Self::NoRoute,
            Err(Undecided::PathAmbiguous) => Self::PathAmbiguous,
        }
    }
}

/// A key for a visitor without one.
fn visitor() -> String {
    format!("{:032x}", fingerprint(&LINE.get().to_string()))
}

fn flag_of<'r>(rules: &'r Rules, choice: &Choice) -> Option<&'r Flag> {
    match choice {
        Choice::Always(_) => None,
        Choice::ByFlag { flag, .. } => rules.flags.get(flag.0 as usize),
    }
}

/// Whether two directories hold the same texts under the same names.
fn same_files(one: &FileSet, other: &FileSet) -> bool {
    let names = |set: &FileSet| -> Vec<_> {
        let name = |file: &Arc<crate::config::ConfigFile>| file.path.strip_prefix(&set.dir).map(ToOwned::to_owned).ok();
        set.files.iter().map(|file| (name(file), file.text.clone())).collect()
    };
    names(one) == names(other)
}
