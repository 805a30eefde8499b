//! Owns the verb `journal`: how copies of writes stand, what is parked, and what becomes of it. The running router does it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::live::{Client, RouterArgs};
use super::{REFUSED, print};
use crate::config::visible;

pub(super) const LONG: &str = "\
Show how copies of writes stand in the running router, and decide about those that were parked: copies that the other side \
refuses, that it failed on too often, or whose outcome nobody knows. A parked copy holds up no other. Each decision is an \
entry of the history.

Examples:
  banyan journal status                          lag, parked and gaps of each destination
  banyan journal list                            what is parked, in groups of the same error
  banyan journal show 0123…                      one copy with its headers and body
  banyan journal replay 8f3a… --reason 'fixed'   send a whole group once more, with the same keys
  banyan journal replay 0123… --body fixed.json --reason 'wrong currency'
  banyan journal drop 0123… --reason 'test data'
  banyan journal gaps                            writes that were served and not copied

Exit code 0: done. 1: refused, or no router answers. 2: wrong usage.";

/// The arguments of `journal`.
#[derive(Debug, Args)]
pub(super) struct JournalArgs {
    #[command(subcommand)]
    verb: JournalVerb,
}

#[derive(Debug, Subcommand)]
enum JournalVerb {
    /// Show lag, parked copies and gaps of each destination, and the journal itself.
    Status(Shared),
    /// List what is parked, in groups of the same route, answer and error.
    List {
        /// Only the copies of this group.
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        /// How many copies at most, besides the groups.
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u32,
        #[command(flatten)]
        shared: Shared,
    },
    /// Show one parked copy: its request and what the other side said.
    Show {
        /// The copy.
        copy: String,
        #[command(flatten)]
        shared: Shared,
    },
    /// Send a parked copy, or all of a group, once more, with the same key.
    Replay {
        /// The copy or the group.
        name: String,
        /// A file with another body, for one copy.
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        /// Another path and query, for one copy.
        #[arg(long, value_name = "PATH")]
        target: Option<String>,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        shared: Shared,
    },
    /// Give a parked copy up, or all of a group.
    Drop {
        /// The copy or the group.
        name: String,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        shared: Shared,
    },
    /// List writes that were served and not copied, the newest first.
    Gaps {
        /// How many of each destination at most.
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u32,
        #[command(flatten)]
        shared: Shared,
    },
    /// Try a destination at once that lets nobody in or fails, instead of after its wait.
    Resume {
        /// The upstream.
        destination: String,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        shared: Shared,
    },
}

#[derive(Debug, Args)]
struct Why {
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
struct Shared {
    #[command(flatten)]
    router: RouterArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(args: &JournalArgs) -> ExitCode {
    match &args.verb {
        JournalVerb::Status(shared) => shared.get("/api/v1/journal", status),
        JournalVerb::List { group, limit, shared } => {
            let group = group.as_ref().map_or_else(String::new, |group| format!("&group={group}"));
            shared.get(&format!("/api/v1/journal/parked?limit={limit}{group}"), list)
        }
        JournalVerb::Show { copy, shared } => shared.get(&format!("/api/v1/journal/parked/{copy}"), show),
        JournalVerb::Gaps { limit, shared } => shared.get(&format!("/api/v1/journal/gaps?limit={limit}"), gaps),
        JournalVerb::Replay { name, body, target, why, shared } => {
            let mut wish = json!({"reason": why.reason});
            if let Some(file) = body {
                match std::fs::read_to_string(file) {
                    Ok(text) => wish["body"] = text.into(),
                    Err(error) => return failed(&format!("{}: {error}", file.display())),
                }
            }
            if let Some(target) = target {
                wish["target"] = target.as_str().into();
            }
            shared.post(&format!("/api/v1/journal/parked/{name}/replay"), &wish)
        }
        JournalVerb::Drop { name, why, shared } => {
            shared.post(&format!("/api/v1/journal/parked/{name}/drop"), &json!({"reason": why.reason}))
        }
        JournalVerb::Resume { destination, why, shared } => {
            let path = format!("/api/v1/journal/destinations/{destination}/resume");
            shared.post(&path, &json!({"reason": why.reason}))
        }
    }
}

impl Shared {
    fn get(&self, path: &str, shown: fn(&Value) -> String) -> ExitCode {
        let reply = match Client::of(&self.router) {
            Ok(client) => client.get(path),
            Err(code) => return code,
        };
        match reply {
            Ok(reply) if reply.is_done() && self.json => print(&format!("{:#}\n", reply.body)),
            Ok(reply) if reply.is_done() => print(&shown(&reply.body)),
            Ok(reply) => return failed(&reply.why()),
            Err(error) => return failed(&error.to_string()),
        }
        ExitCode::SUCCESS
    }

    fn post(&self, path: &str, body: &Value) -> ExitCode {
        let reply = match Client::of(&self.router) {
            Ok(client) => client.post(path, body),
            Err(code) => return code,
        };
        match reply {
            Ok(reply) if reply.is_done() && self.json => print(&format!("{:#}\n", reply.body)),
            Ok(reply) if reply.is_done() => {
                let entry = reply.body["entry"].as_u64();
                let entry = entry.map_or_else(String::new, |entry| format!("; `banyan history show {entry}`"));
                print(&format!("done: {}{entry}\n", counted(&reply.body["copies"], "copy", "copies")));
            }
            Ok(reply) => return failed(&reply.why()),
            Err(error) => return failed(&error.to_string()),
        }
        ExitCode::SUCCESS
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("banyan: {}", visible(why));
    ExitCode::from(REFUSED)
}

fn counted(count: &Value, one: &str, many: &str) -> String {
    format!("{count} {}", if *count == 1 { one } else { many })
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { "-".to_owned() } else { value.to_string() }, visible)
}

fn each<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}

fn status(value: &Value) -> String {
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

fn list(value: &Value) -> String {
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
    text
}

fn show(value: &Value) -> String {
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
        let _ = writeln!(text, "\n{} {}", word(&copy["method"]), word(&copy["target"]));
        for header in each(copy, "headers") {
            let _ = writeln!(text, "{}: {}", word(&header[0]), word(&header[1]));
        }
        let _ = writeln!(text, "\n{}\n", word(&copy["body"]));
    }
    text
}

fn gaps(value: &Value) -> String {
    let mut text = String::new();
    for gap in each(value, "gaps") {
        let _ = writeln!(
            text,
            "{}  {} to {}  {} {}  {}",
            word(&gap["unix_ms"]),
            word(&gap["route"]),
            word(&gap["destination"]),
            word(&gap["method"]),
            word(&gap["target"]),
            word(&gap["reason"])
        );
    }
    if text.is_empty() { "no gaps\n".to_owned() } else { text }
}
