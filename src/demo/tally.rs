//! Owns what the demo's clients saw: who was last served by what, how fast, how often in vain.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;

use super::Totals;

/// How many users there are.
pub(super) const USERS: usize = 500;
/// Over how long rates and latencies are taken.
const WINDOW: Duration = Duration::from_secs(3);
/// How long an answer says how its user is served; in this time nearly every user asks for every page.
const SEEN: Duration = Duration::from_secs(1);

/// How a request was served, as its answer says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Answer {
    /// The route and its flag; a route without a flag tells nothing about itself.
    pub(super) route: String,
    /// The flag, or empty.
    pub(super) flag: String,
    /// The variant, or why there is none.
    pub(super) variant: String,
    /// The system that answered.
    pub(super) served_by: String,
}

impl Answer {
    /// Reads it from an answer's headers; `None` for anything but a 200 of one of the demo's systems.
    pub(super) fn read(headers: &HeaderMap, status: u16) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let served_by = text("x-served-by").filter(|_| status == 200)?.to_owned();
        let decision = text("banyan-decision").unwrap_or_default();
        let flag = member(decision, "flag").unwrap_or_default();
        let variant = member(decision, "variant").or_else(|| member(decision, "reason").map(|why| format!("({why})")));
        let route = member(decision, "route").unwrap_or_else(|| "everything else".to_owned());
        Some(Self { route, flag, variant: variant.unwrap_or_default(), served_by })
    }
}

/// The string or token of a dictionary's member (RFC 9651), as far as the router writes them.
fn member(dictionary: &str, name: &str) -> Option<String> {
    let value = dictionary.split(", ").find_map(|member| member.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// The count of all answers.
#[derive(Debug)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    /// The last answer to each user, by route.
    last: BTreeMap<String, Vec<Option<(Instant, Answer)>>>,
    /// When the answers of the window came, and how long they took.
    recent: VecDeque<(Instant, Duration)>,
    totals: Totals,
}

/// What is shown of the tally.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Each way that users are served, with the share among the users of its route, from 0 to 1.
    pub(super) shares: Vec<(Answer, f64)>,
    /// Requests a second.
    pub(super) rate: f64,
    /// The median and the 99th percentile of latency in milliseconds.
    pub(super) latency_ms: (f64, f64),
    /// Requests without a right answer, since the start.
    pub(super) failed: u64,
}

impl Tally {
    pub(super) fn new() -> Arc<Self> {
        let totals = Totals { requests: 0, failed: 0 };
        Arc::new(Self(Mutex::new(Counts { last: BTreeMap::new(), recent: VecDeque::new(), totals })))
    }

    /// Counts one request of a user, below [`USERS`].
    pub(super) fn count(&self, user: usize, answer: Option<Answer>, took: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        counts.totals.requests += 1;
        counts.totals.failed += u64::from(answer.is_none());
        counts.recent.push_back((now, took));
        while counts.recent.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            counts.recent.pop_front();
        }
        if let Some(answer) = answer {
            let users = counts.last.entry(answer.route.clone()).or_insert_with(|| vec![None; USERS]);
            users[user] = Some((now, answer));
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).totals
    }

    pub(super) fn summary(&self) -> Summary {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut took: Vec<Duration> = counts.recent.iter().map(|(_, took)| *took).collect();
        took.sort_unstable();
        let at =
            |share: f64| took.get((took.len() as f64 * share) as usize).map_or(0.0, |took| took.as_secs_f64() * 1e3);
        let span = counts.recent.front().map_or(WINDOW, |(first, _)| first.elapsed().max(Duration::from_millis(100)));
        Summary {
            shares: counts.last.values().flat_map(|users| shares(users)).collect(),
            rate: took.len() as f64 / span.as_secs_f64(),
            latency_ms: (at(0.50), at(0.99)),
            failed: counts.totals.failed,
        }
    }
}

fn shares(users: &[Option<(Instant, Answer)>]) -> Vec<(Answer, f64)> {
    let mut counts: BTreeMap<&Answer, u32> = BTreeMap::new();
    for (_, answer) in users.iter().flatten().filter(|(at, _)| at.elapsed() < SEEN) {
        *counts.entry(answer).or_default() += 1;
    }
    let all: u32 = counts.values().sum();
    counts.into_iter().map(|(answer, count)| (answer.clone(), f64::from(count) / f64::from(all))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(decision: &'static str, served_by: &'static str) -> Option<Answer> {
        let value = http::HeaderValue::from_static;
        let headers = [("banyan-decision", value(decision)), ("x-served-by", value(served_by))];
        let headers = headers.map(|(name, value)| (http::HeaderName::from_static(name), value));
        Answer::read(&headers.into_iter().collect(), 200)
    }

    #[test]
    fn answers_tell_how_they_were_decided() {
        let full = r#"flag="f", variant="live", reason="TARGETING_MATCH", generation=12, route="orders""#;
        let seen = answer(full, "modern").expect("an answer");
        assert_eq!((&*seen.route, &*seen.flag, &*seen.variant, &*seen.served_by), ("orders", "f", "live", "modern"));
        let seen = answer(r#"flag="f", reason="DISABLED", generation=1, route="orders""#, "legacy").expect("an answer");
        assert_eq!(seen.variant, "(DISABLED)");
        assert_eq!(Answer::read(&HeaderMap::new(), 502), None);
    }

    #[test]
    fn shares_are_of_users_by_their_last_answer() {
        let tally = Tally::new();
        let say = |variant| match variant {
            "a" => answer(r#"flag="f", variant="a", route="r""#, "legacy"),
            _ => answer(r#"flag="f", variant="b", route="r""#, "modern"),
        };
        for (user, variant) in [(0, "a"), (1, "a"), (2, "a"), (3, "a"), (0, "b")] {
            tally.count(user, say(variant), Duration::from_millis(2));
        }
        tally.count(9, None, Duration::from_millis(2));
        let summary = tally.summary();
        let shown: Vec<_> = summary.shares.iter().map(|(answer, share)| (answer.variant.as_str(), *share)).collect();
        assert_eq!(shown, [("a", 0.75), ("b", 0.25)]);
        assert_eq!((summary.failed, tally.totals().requests), (1, 6));
        assert!(summary.latency_ms.0 >= 2.0);
    }
}
