//! Owns what makes a flag stale; pure, so that a running router and `check --stale` say the same.

use serde::{Deserialize, Serialize};

use crate::flag::{Flag, Rest};
use crate::observe::{STALE_REASONS, timestamp};

const DAY_MS: u64 = 86_400_000;

/// When a flag counts as stale.
#[derive(Debug, Clone, Copy)]
pub struct StaleRule {
    /// After how many days at rest, or without a request.
    pub days: u32,
    /// The wall clock in milliseconds since the epoch.
    pub now_unix_ms: u64,
}

/// Why a flag may be removed, or needs somebody to look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleReason {
    /// Its last day is over.
    Expired,
    /// It has given the same to everybody for too long.
    AtRest,
    /// Nobody has asked it for too long.
    NotEvaluated,
    /// Nobody owns it.
    NoOwner,
}

impl StaleReason {
    /// Names the reason for scripts and metrics.
    pub const fn as_str(self) -> &'static str {
        STALE_REASONS[self as usize]
    }
}

/// A reason with what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    /// The reason, as [`StaleReason::as_str`] names it.
    pub code: String,
    /// The same for people: what is to be said of the flag.
    pub text: String,
}

/// How it is known since when a flag rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A router has watched it.
    Watched,
    /// The time of its file.
    File,
}

/// What is known about a flag besides its definition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// Since when it gives the same to everybody at least, and how that is known.
    pub rests_since: Option<(u64, Evidence)>,
    /// When somebody last asked it, with `true`, or since when nobody has been seen to; `None` where nobody watches.
    pub asked: Option<(u64, bool)>,
}

impl StaleRule {
    /// Every reason why a flag is stale.
    pub fn judge(&self, flag: &Flag, known: &Known) -> Vec<(StaleReason, Stale)> {
        let mut found = Vec::new();
        let mut tell = |reason: StaleReason, text: String| {
            found.push((reason, Stale { code: reason.as_str().to_owned(), text }));
        };
        let now_unix_s = i64::try_from(self.now_unix_ms / 1_000).unwrap_or(i64::MAX);
        if let Some(day) = flag.expires().filter(|_| flag.has_expired(now_unix_s)) {
            tell(StaleReason::Expired, format!("expired on {day}"));
        }
        if let Some((rest, (since, evidence))) = flag.rest().zip(known.rests_since)
            && let Some(days) = self.days_over(since)
        {
            let what = outcome(flag, rest);
            let (how, date) = (evidence.as_str(), date(since));
            tell(StaleReason::AtRest, format!("gives {what} to everybody, {how} {days} days (since {date})"));
        }
        if let Some((since, was_asked)) = known.asked
            && let Some(days) = self.days_over(since)
        {
            let last = if was_asked { "last asked" } else { "watched since" };
            tell(StaleReason::NotEvaluated, format!("has not been asked for {days} days ({last} {})", date(since)));
        }
        if flag.owner().is_none() {
            tell(StaleReason::NoOwner, "has no owner".to_owned());
        }
        found
    }

    /// How many days ago that was, if it is too many.
    fn days_over(&self, since_unix_ms: u64) -> Option<u64> {
        let days = self.now_unix_ms.saturating_sub(since_unix_ms) / DAY_MS;
        (days >= u64::from(self.days)).then_some(days)
    }
}

impl Evidence {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Watched => "and has done so for",
            Self::File => "and its file has not changed for",
        }
    }
}

/// What a resting flag gives, for people.
pub(super) fn outcome(flag: &Flag, rest: Rest) -> String {
    let variant = match rest {
        Rest::Variant(id) => flag.variants.get(usize::from(id.0)),
        Rest::Fallback => None,
    };
    variant.map_or_else(|| "the fallback".to_owned(), |variant| format!("`{}`", variant.name))
}

fn date(unix_ms: u64) -> String {
    timestamp(unix_ms).chars().take("2027-03-31".len()).collect()
}
