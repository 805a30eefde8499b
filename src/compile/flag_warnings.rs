//! Owns the warnings about flags that are right and yet may not be what was meant.

use std::collections::HashMap;

use crate::config::{Diagnostic, Node, Report};
use crate::flag::{Expr, Flag, Fractional};

const DAY_S: i64 = 86_400;

/// What the warnings compare a flag with.
pub(super) struct FlagWarnings<'p> {
    today: i64,
    previous: HashMap<&'p str, &'p Flag>,
}

impl<'p> FlagWarnings<'p> {
    pub(super) fn new(now_unix_s: i64, previous: Option<&'p [Flag]>) -> Self {
        let previous = previous.unwrap_or_default().iter().map(|flag| (&*flag.key, flag)).collect();
        Self { today: now_unix_s.div_euclid(DAY_S), previous }
    }

    /// Checks one flag: its owner, its date, and the order of its pairs.
    pub(super) fn check(&self, flag: &Flag, key: &Node, definition: &Node, report: &mut Report) {
        if flag.owner().is_none() {
            let found = Diagnostic::warning("no-owner", &key.place, format!("nobody owns the flag `{}`", flag.key));
            report.push(found.help("add `metadata: {owner: team}`"));
        }
        let metadata = definition.key("metadata");
        let at = metadata.and_then(|metadata| metadata.key("expires")).unwrap_or(key);
        self.check_date(flag, at, report);
        let at = definition.key("targeting").unwrap_or(key);
        self.check_order(flag, at, report);
    }

    fn check_date(&self, flag: &Flag, at: &Node, report: &mut Report) {
        if !flag.metadata.contains_key("expires") {
            return;
        }
        match flag.expiry_day() {
            None => {
                let found = Diagnostic::warning("bad-date", &at.place, "`expires` is not a date");
                report.push(found.help("write it as in \"2027-03-31\""));
            }
            Some(day) if day < self.today => {
                let message = format!("the flag `{}` has expired", flag.key);
                let help = "remove the flag and the road not taken, or move the date";
                report.push(Diagnostic::warning("expired", &at.place, message).help(help));
            }
            Some(_) => {}
        }
    }

    /// Pairs are filled in file order, so to swap two is to move people.
    fn check_order(&self, flag: &Flag, at: &Node, report: &mut Report) {
        let Some(previous) = self.previous.get(&*flag.key) else {
            return;
        };
        for (before, after) in splits(previous).iter().zip(splits(flag)) {
            let (before, after) = (names(before), names(after));
            let kept: Vec<_> = before.iter().filter(|name| after.contains(name)).collect();
            let now: Vec<_> = after.iter().filter(|name| before.contains(name)).collect();
            if kept != now {
                let message =
                    format!("the pairs of `{}` have another order than before: people change sides", flag.key);
                let help = format!("keep the order {}", before.join(", "));
                report.push(Diagnostic::warning("reordered-pairs", &at.place, message).help(help));
            }
        }
    }
}

fn splits(flag: &Flag) -> Vec<&Fractional> {
    let mut found = Vec::new();
    if let Some(root) = flag.root() {
        root.collect_splits(&mut found);
    }
    found
}

fn names(split: &Fractional) -> Vec<&str> {
    split
        .pairs
        .iter()
        .filter_map(|pair| if let Expr::Text(name) = &pair.variant { Some(&**name) } else { None })
        .collect()
}
