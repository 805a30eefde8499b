//! Owns reading a list of the router as a whole, page by page.

use serde_json::Value;

use super::{Client, Failure, escaped};

/// Entries that are asked for at once: as many as a router gives.
pub(in crate::cli) const PAGE: u32 = 1_000;

impl Client {
    /// All entries of a list of the journal: `gaps` or `parked`.
    pub(in crate::cli) fn walk(&self, list: &str) -> Result<Vec<Value>, Failure> {
        let mut found = Vec::new();
        let mut after = Some("start".to_owned());
        while let Some(place) = after {
            let path = format!("/api/v1/journal/{list}?limit={PAGE}&after={}", escaped(&place));
            let mut body = self.get(&path)?.body;
            if let Some(entries) = body[list].as_array_mut() {
                found.append(entries);
            }
            after = body["next"].as_str().map(str::to_owned);
        }
        Ok(found)
    }
}
