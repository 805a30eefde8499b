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
        if flag.metadata.get("owner").is_none_or(|owner| owner.as_str().is_none_or(str::is_empty)) {
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
        let Some(expires) = flag.metadata.get("expires") else {
            return;
        };
        match expires.as_str().and_then(day_of) {
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

/// The day since the epoch of a date such as `2027-03-31`, by the civil calendar's 400-year cycle.
fn day_of(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let mut part = |digits: usize| {
        let text =
            parts.next().filter(|text| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))?;
        text.parse::<i64>().ok()
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let month_days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if parts.next().is_some() || !(1..=month_days).contains(&day) {
        return None;
    }
    // Years that begin in March put the leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let year_day = (153 * month + 2) / 5 + day - 1;
    let cycle = year.div_euclid(400);
    let cycle_year = year.rem_euclid(400);
    Some(cycle * 146_097 + cycle_year * 365 + cycle_year / 4 - cycle_year / 100 + year_day - 719_468)
}
