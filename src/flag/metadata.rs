//! Owns what the metadata of a flag says about its life: who owns it and until when it is meant to live.

use super::Flag;

impl Flag {
    /// Who owns it: `metadata: {owner: …}`.
    pub fn owner(&self) -> Option<&str> {
        self.metadata.get("owner")?.as_str().filter(|owner| !owner.is_empty())
    }

    /// The last day of its life as it is written, such as `2027-03-31`.
    pub fn expires(&self) -> Option<&str> {
        self.metadata.get("expires")?.as_str()
    }

    /// The same in days since the epoch; `None` also where it is not a date.
    pub fn expiry_day(&self) -> Option<i64> {
        day_of(self.expires()?)
    }

    /// Whether its last day is over.
    pub fn has_expired(&self, now_unix_s: i64) -> bool {
        const DAY_S: i64 = 86_400;
        self.expiry_day().is_some_and(|day| day < now_unix_s.div_euclid(DAY_S))
    }
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
