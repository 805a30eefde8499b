//! Owns how copies of writes are shown to people. It asks nobody.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::config::visible;
use crate::observe::timestamp;

/// What became of an order about parked copies.
pub(super) fn done(value: &Value) -> String {
    format!("done: {}{}\n", counted(&value["copies"], "copy", "copies"), entry(value))
}

/// What became of a destination that was left alone.
pub(super) fn resumed(value: &Value) -> String {
    format!("done: it is tried now; `banyan journal status` shows how it stands{}\n", entry(value))
}

/// Where the history has the order.
fn entry(value: &Value) -> String {
    let entry = value["entry"].as_u64();
    entry.map_or_else(String::new, |entry| format!("; `banyan history show {entry}`"))
}

fn counted(count: &Value, one: &str, many: &str) -> String {
    format!("{count} {}", if *count == 1 { one } else { many })
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { "-".to_owned() } else { value.to_string() }, visible)
}

/// A time in UTC.
fn time(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), timestamp)
}

fn each<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}

pub(super) fn status(value: &Value) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:<20} {:>9} {:>9} {:>12} {:>8} {:>8}  state",
        "destination", "pending", "oldest", "bytes", "parked", "gaps"
    );
    for one in each(value, "destinations") {
        let oldest = one["oldest_ms"].as_u64().unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<20} {:>9} {:>8}s {:>12} {:>8} {:>8}  {}",
            word(&one["name"]),
            one["pending"].to_string(),
            oldest / 1_000,
            one["bytes"].to_string(),
            one["parked"].to_string(),
            one["gaps"].to_string(),
            match (one["breaker"].as_str(), one["trouble"].as_str()) {
                (Some("closed"), None) => "well".to_owned(),
                (breaker, trouble) => format!("{}: {}", breaker.unwrap_or("-"), visible(trouble.unwrap_or("-"))),
            }
        );
    }
    if value["destinations"].as_array().is_none_or(Vec::is_empty) {
        text.push_str("nothing was copied yet\n");
    }
    let journal = &value["journal"];
    let _ = writeln!(
        text,
        "journal: {} of {} bytes; fsync p50 {} ms, p99 {} ms",
        journal["bytes"],
        journal["bytes_max"],
        word(&journal["fsync_p50_ms"]),
        word(&journal["fsync_p99_ms"])
    );
    text
}

/// What is parked; `group` is the only one whose copies are listed.
pub(super) fn list(value: &Value, group: Option<&str>) -> String {
    let mut text = String::new();
    for group in each(value, "groups") {
        let _ = writeln!(
            text,
            "{}  {:>6}  {} to {}  {} {}  {}",
            word(&group["group"]),
            group["count"].to_string(),
            word(&group["route"]),
            word(&group["destination"]),
            word(&group["reason"]),
            word(&group["came"]),
            word(&group["shape"])
        );
    }
    if text.is_empty() {
        return "nothing is parked\n".to_owned();
    }
    text.push('\n');
    for copy in each(value, "parked") {
        let _ = writeln!(
            text,
            "{}  {} {}  {} {}  {}",
            word(&copy["id"]),
            word(&copy["method"]),
            word(&copy["target"]),
            word(&copy["reason"]),
            word(&copy["came"]),
            word(&copy["said"])
        );
    }
    let counted = each(value, "groups").filter(|one| group.is_none_or(|group| one["group"] == group));
    let parked: u64 = counted.filter_map(|one| one["count"].as_u64()).sum();
    let listed = each(value, "parked").count() as u64;
    if parked > listed {
        let _ = writeln!(text, "and {} more; --all lists them", parked - listed);
    }
    text
}

pub(super) fn show(value: &Value) -> String {
    let mut text = String::new();
    for copy in each(value, "copies") {
        for name in [
            "id",
            "group",
            "route",
            "primary",
            "destination",
            "entity",
            "key",
            "reason",
            "came",
            "said",
            "attempts",
            "primary_status",
            "created",
        ] {
            let _ = writeln!(text, "{name:<15}{}", word(&copy[name]));
        }
        let _ = writeln!(text, "{:<15}{}", "parked", time(&copy["unix_ms"]));
        let _ = writeln!(text, "\n{} {}", word(&copy["method"]), word(&copy["target"]));
        for header in each(copy, "headers") {
            let _ = writeln!(text, "{}: {}", word(&header[0]), word(&header[1]));
        }
        let _ = writeln!(text, "\n{}\n", word(&copy["body"]));
    }
    text
}

/// Gaps; with `limit` no more than so many of each destination were asked for.
pub(super) fn gaps(value: &Value, limit: Option<u32>) -> String {
    let mut text = String::new();
    for gap in each(value, "gaps") {
        let _ = writeln!(
            text,
            "{}  {} to {}  {} {}  {}",
            time(&gap["unix_ms"]),
            word(&gap["route"]),
            word(&gap["destination"]),
            word(&gap["method"]),
            word(&gap["target"]),
            word(&gap["reason"])
        );
    }
    if text.is_empty() {
        return "no gaps\n".to_owned();
    }
    let mut listed: BTreeMap<&str, u32> = BTreeMap::new();
    for destination in each(value, "gaps").filter_map(|gap| gap["destination"].as_str()) {
        *listed.entry(destination).or_default() += 1;
    }
    for (destination, count) in listed.into_iter().filter(|(_, count)| limit == Some(*count)) {
        let _ = writeln!(text, "the newest {count} for {}; --all lists all that are kept", visible(destination));
    }
    text
}
