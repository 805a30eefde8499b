//! Owns what the API's reads give, as JSON. It runs on threads that may wait for the disk, and changes nothing.

use serde_json::{Value, json};

use super::query::Query;
use super::routes::Read;
use super::{Api, Problem};
use crate::control::Entry;
use crate::control::history::entries_before;

/// Entries of one answer, at most.
const HISTORY_LIMIT_MAX: u64 = 1_000;
/// Entries of one answer, unless said otherwise.
const HISTORY_LIMIT: u64 = 50;

impl Api {
    /// Reads what is asked for; `parameter` is the segment in braces.
    pub(super) fn read(&self, what: Read, parameter: Option<&str>, query: Option<&str>) -> Result<Value, Problem> {
        let known: &[&str] = if what == Read::History { &["limit", "before", "flag"] } else { &[] };
        let known = if let Read::Copies(what) = what { what.known() } else { known };
        let query = Query::read(query, known)?;
        match what {
            Read::Status => {
                serde_json::to_value(self.reporter.status()).map_err(|error| Problem::internal(error.to_string()))
            }
            Read::Overrides => Ok(self.operator.overrides()),
            Read::Generations => Ok(self.generations()),
            Read::HistoryEntry => self.history_entry(parameter.unwrap_or_default()),
            Read::History => self.history(&query),
            Read::Copies(what) => self.read_copies(what, parameter.unwrap_or_default(), &query),
        }
    }

    fn generations(&self) -> Value {
        let restored = self.operator.overrides()["restored"].clone();
        let generation = self.status.borrow().generation;
        json!({"generation": generation, "restored": restored, "restorable": self.operator.restorable()})
    }

    fn history(&self, query: &Query) -> Result<Value, Problem> {
        let limit = query.number("limit", 1..=HISTORY_LIMIT_MAX)?.unwrap_or(HISTORY_LIMIT);
        let before = query.number("before", 1..=u64::MAX)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // One more says whether there are more.
        let mut entries = self.entries(before, query.text("flag"), limit + 1)?;
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| has_more).map(|entry| entry.number);
        Ok(json!({"entries": entries, "next": next}))
    }

    fn history_entry(&self, number: &str) -> Result<Value, Problem> {
        let absent = || Problem::absent(format!("the history has no entry `{number}`"));
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = number.parse().ok().filter(|_| digits).ok_or_else(absent)?;
        let found = self.entries(number.checked_add(1), None, 1)?.pop();
        let found = found.filter(|entry| entry.number == number).ok_or_else(absent)?;
        serde_json::to_value(found).map_err(|error| Problem::internal(error.to_string()))
    }

    fn entries(&self, before: Option<u64>, flag: Option<&str>, limit: usize) -> Result<Vec<Entry>, Problem> {
        let Some(dir) = &self.state_dir else { return Ok(Vec::new()) };
        entries_before(dir, before, flag, limit)
            .map_err(|error| Problem::internal(format!("the history cannot be read: {error}")))
    }
}
