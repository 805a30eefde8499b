//! Owns how a replay is shown: as text for people, as JSON for scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::distinct::Distinct;
use super::replay::Counts;
use super::tally::{Cell, Ending, Tally};
use crate::cli::grouped;
use crate::config::visible;
use crate::snapshot::Snapshot;

/// How many groups and missing attributes are listed for people; JSON has all.
const LISTED_MAX: usize = 50;

/// What was found.
pub(super) struct Shown {
    groups: Vec<Group>,
    counts: Counts,
    /// Requests of ways that are not told apart.
    beyond: u64,
}

/// The requests that one route and flag had before and, most often, has after.
struct Group {
    from: Place,
    to: Place,
    ways: Vec<Way>,
}

/// A route and its flag; no route where none takes the request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    route: Option<String>,
    flag: Option<String>,
}

/// From one end to another.
struct Way {
    from: End,
    to: End,
    cell: Cell,
}

/// Where requests end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    /// The variant, or `fallback`; none on a route without a flag.
    variant: Option<String>,
    /// The upstream, or why there is none.
    upstream: Result<String, &'static str>,
    /// The flag gave an error.
    failed: bool,
}

impl Shown {
    pub(super) fn new(from: &Snapshot, to: &Snapshot, tally: Tally, counts: Counts) -> Self {
        let mut groups: BTreeMap<(Place, Place), Vec<Way>> = BTreeMap::new();
        let mut cells: Vec<_> = tally.cells.into_iter().collect();
        cells.sort_by_key(|(ends, cell)| (std::cmp::Reverse(cell.requests), *ends));
        for ((before, after), cell) in cells {
            let ((from_place, from), (to_place, to)) = (described(from, before), described(to, after));
            groups.entry((from_place, to_place)).or_default().push(Way { from, to, cell });
        }
        let mut groups: Vec<_> = groups.into_iter().map(|((from, to), ways)| Group { from, to, ways }).collect();
        // Who looks wants to know what moves.
        groups.sort_by_cached_key(|group| std::cmp::Reverse(group.sum(Way::moves).requests));
        Self { groups, counts, beyond: tally.beyond }
    }

    /// Whether any request ends elsewhere.
    pub(super) fn moves(&self) -> bool {
        self.ways().any(Way::moves)
    }

    /// Whether a flag fails for a request for which it did not.
    pub(super) fn fails_anew(&self) -> bool {
        self.ways().any(Way::fails_anew)
    }

    /// Whether there was anything to replay.
    pub(super) fn has_requests(&self) -> bool {
        self.counts.decided + self.counts.refused + self.counts.unchanged + self.undecided() > 0
    }

    /// One JSON object with the same members whatever was found.
    pub(super) fn to_json(&self) -> String {
        let counts = &self.counts;
        let missing = counts.missing.iter().map(|(missing, requests)| {
            json!({"route": missing.route, "flag": missing.flag, "missing": missing.attribute, "requests": requests})
        });
        let first = counts.first_malformed.as_ref();
        let object = json!({
            "decided": counted(&self.sum(|_| true)),
            "without_key": counts.without_key,
            "moved": counted(&self.sum(Way::moves)),
            "failed": self.ends_json(|end| end.failed, Way::fails_anew),
            "fallback": self.ends_json(End::is_fallback, Way::falls_back_anew),
            "unchanged": counts.unchanged,
            "undecided": {
                "requests": self.undecided(), "because": missing.collect::<Vec<_>>(), "others": counts.missing_beyond
            },
            "refused": counts.refused,
            "malformed": {
                "lines": counts.malformed, "first": first.map(|(place, why)| json!({"place": place, "why": why}))
            },
            "not_told_apart": self.beyond,
            "routes": self.groups.iter().map(Group::to_json).collect::<Vec<_>>(),
        });
        format!("{object:#}\n")
    }

    /// What moves first, then what could not be said.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for group in self.groups.iter().take(LISTED_MAX) {
            group.write(&mut text);
        }
        // Writing to a string cannot fail.
        if self.groups.len() > LISTED_MAX {
            let _ = writeln!(text, "and {} routes more; --json lists all\n", self.groups.len() - LISTED_MAX);
        }
        let sums = [
            ("decided", self.sum(|_| true)),
            ("moved", self.sum(Way::moves)),
            ("flag fails that did not", self.sum(Way::fails_anew)),
            ("fallback serves that did not", self.sum(Way::falls_back_anew)),
        ];
        for (at, (what, cell)) in sums.iter().enumerate() {
            if at < 2 || cell.requests > 0 {
                let _ = writeln!(text, "{what}: requests {}, users {}", grouped(cell.requests), shown(&cell.users));
            }
        }
        self.write_rest(&mut text);
        text
    }

    /// What the sums do not say.
    fn write_rest(&self, text: &mut String) {
        let counts = &self.counts;
        let notes = [
            ("without a targeting key", counts.without_key, "each a new visitor, none counted as a user"),
            ("not told apart", self.beyond, "they go ways beyond the first 4096"),
            (
                "not evaluated",
                counts.unchanged,
                "the log has not what they ask for, but the rules are the same in both sets",
            ),
            ("refused", counts.refused, "the router answers them before it matches a route"),
            ("UNDECIDED", self.undecided(), "the log has not what they ask for first:"),
        ];
        for (what, requests, note) in notes.iter().filter(|(_, requests, _)| *requests > 0) {
            let _ = writeln!(text, "{what}: requests {}; {note}", grouped(*requests));
        }
        for (missing, requests) in counts.missing.iter().take(LISTED_MAX) {
            let route = missing.route.as_deref().map_or("which route".to_owned(), |route| format!("route {route}"));
            let flag = missing.flag.as_ref().map_or_else(String::new, |flag| format!(", flag {flag}"));
            let _ = writeln!(text, "  {:>12}  {route}{flag}: {}", grouped(*requests), missing.attribute);
        }
        if let Some((place, why)) = &counts.first_malformed {
            let _ =
                writeln!(text, "no requests: lines {}, the first {place}: {}", grouped(counts.malformed), visible(why));
        }
    }

    fn ends_json(&self, is_one: fn(&End) -> bool, anew: fn(&Way) -> bool) -> Value {
        json!({
            "before": self.sum(|way| is_one(&way.from)).requests,
            "after": self.sum(|way| is_one(&way.to)).requests,
            "new": self.sum(anew).requests,
        })
    }

    fn undecided(&self) -> u64 {
        self.counts.missing.values().sum::<u64>() + self.counts.missing_beyond
    }

    fn ways(&self) -> impl Iterator<Item = &Way> {
        self.groups.iter().flat_map(|group| &group.ways)
    }

    fn sum(&self, counts: impl Fn(&Way) -> bool) -> Cell {
        sum(self.ways(), counts)
    }
}

impl Group {
    fn sum(&self, counts: impl Fn(&Way) -> bool) -> Cell {
        sum(self.ways.iter(), counts)
    }

    fn to_json(&self) -> Value {
        let way = |way: &Way| {
            let mut object = counted(&way.cell);
            object["from"] = way.from.to_json();
            object["to"] = way.to.to_json();
            object["moved"] = way.moves().into();
            object
        };
        json!({
            "route": self.from.route, "flag": self.from.flag, "to_route": self.to.route, "to_flag": self.to.flag,
            "requests": self.sum(|_| true).requests,
            "moved": counted(&self.sum(Way::moves)),
            "ways": self.ways.iter().map(way).collect::<Vec<_>>(),
        })
    }

    fn write(&self, text: &mut String) {
        let named = |place: &Place| {
            let route = place.route.as_deref().map_or("no route".to_owned(), |route| format!("route {route}"));
            place.flag.as_ref().map_or(route.clone(), |flag| format!("{route}, flag {flag}"))
        };
        let (from, to) = (named(&self.from), named(&self.to));
        let _ = if from == to { writeln!(text, "{from}") } else { writeln!(text, "{from} -> {to}") };
        let _ = writeln!(text, "  {:>12}  {:>12}", "requests", "users");
        for way in &self.ways {
            let (requests, users) = (grouped(way.cell.requests), shown(&way.cell.users));
            let _ = write!(text, "  {requests:>12}  {users:>12}  ");
            let _ = match way.moves() {
                true => writeln!(text, "{} -> {}", way.from.to_text(), way.to.to_text()),
                false => writeln!(text, "{} stay", way.to.to_text()),
            };
        }
        text.push('\n');
    }
}

impl Way {
    /// Whether another variant or another upstream serves.
    fn moves(&self) -> bool {
        (&self.from.variant, &self.from.upstream) != (&self.to.variant, &self.to.upstream)
    }

    fn fails_anew(&self) -> bool {
        self.to.failed && !self.from.failed
    }

    fn falls_back_anew(&self) -> bool {
        self.to.is_fallback() && !self.from.is_fallback()
    }
}

impl End {
    fn is_fallback(&self) -> bool {
        self.variant.as_deref() == Some("fallback")
    }

    fn to_json(&self) -> Value {
        json!({
            "variant": self.variant, "upstream": self.upstream.as_ref().ok(), "refused": self.upstream.as_ref().err(),
            "failed": self.failed,
        })
    }

    fn to_text(&self) -> String {
        let failed = if self.failed { ", the flag fails" } else { "" };
        match (&self.variant, &self.upstream) {
            (Some(variant), Ok(upstream)) => format!("{variant} ({upstream}{failed})"),
            (None, Ok(upstream)) => upstream.clone(),
            (_, Err(why)) => (*why).to_owned(),
        }
    }
}

fn described(snapshot: &Snapshot, ending: Ending) -> (Place, End) {
    let nowhere = |why| (Place { route: None, flag: None }, End { variant: None, upstream: Err(why), failed: false });
    match ending {
        Ending::NoRoute => nowhere("no route, 404"),
        Ending::PathAmbiguous => nowhere("ambiguous path, 400"),
        Ending::Leg { leg, failed } => {
            let labels = &snapshot.rules.legs[leg.0 as usize];
            let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
            (
                Place { route: Some(labels.route.to_string()), flag: owned(&labels.flag) },
                End { variant: owned(&labels.variant), upstream: Ok(labels.upstream.to_string()), failed },
            )
        }
    }
}

fn sum<'w>(ways: impl Iterator<Item = &'w Way>, counts: impl Fn(&Way) -> bool) -> Cell {
    let mut all = Cell::default();
    ways.filter(|way| counts(way)).for_each(|way| all.merge(&way.cell));
    all
}

fn counted(cell: &Cell) -> Value {
    json!({"requests": cell.requests, "users": cell.users.count(), "users_estimated": cell.users.is_estimate()})
}

fn shown(users: &Distinct) -> String {
    format!("{}{}", if users.is_estimate() { "~" } else { "" }, grouped(users.count()))
}
