//! Owns giving up what waits for a destination: it is said how much that is before the router is told.

use serde_json::{Value, json};

use super::{Client, Failure, escaped, shown, told};
use crate::cli::print;
use crate::config::visible;

/// Says how many copies wait for a destination, and has the router give them up.
pub(super) fn drop_all(
    client: &Client,
    destination: &str,
    reason: &str,
    yes: bool,
    json: bool,
) -> Result<(Value, String), Failure> {
    let status = client.get("/api/v1/journal")?.body;
    let mut destinations = status["destinations"].as_array().into_iter().flatten();
    if let Some(found) = destinations.find(|one| one["name"] == destination).filter(|_| !json) {
        let pending = found["pending"].as_u64().unwrap_or_default();
        let waiting = if pending == 1 { "1 copy waits".to_owned() } else { format!("{pending} copies wait") };
        let name = visible(destination);
        print(&format!("{waiting} for {name}; what is given up leaves gaps (`banyan journal gaps`)\n"));
    }
    let path = format!("/api/v1/journal/destinations/{}/drop", escaped(destination));
    told(client.post(&path, &json!({"reason": reason, "confirm": yes}))?, shown::done)
}
