//! Owns giving a running router an order, and how its receipt is shown. What an order means is the router's.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Client, Failure, Reply, Unreachable};
use crate::cli::print;
use crate::config::visible;

/// An order to a running router.
#[derive(Debug)]
pub(in crate::cli) struct Order {
    /// The verb that gives it, for JSON.
    pub(in crate::cli) verb: &'static str,
    /// The path after `/api/v1/`.
    pub(in crate::cli) path: String,
    /// The members of the body.
    pub(in crate::cli) body: Value,
    /// Only say what would change.
    pub(in crate::cli) dry_run: bool,
}

/// A text as it may stand in a path or a query.
pub(in crate::cli) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => text + &char::from(byte).to_string(),
        // A dot, too: a key of dots would be a step in the path.
        _ => format!("{text}%{byte:02X}"),
    })
}

impl Order {
    /// The path of a flag's verb; whatever a key holds stays one segment.
    pub(in crate::cli) fn path(flag: &str, verb: &str) -> String {
        format!("flags/{}/{verb}", escaped(flag))
    }

    /// Gives the order.
    pub(in crate::cli) fn give(&self, client: &Client) -> Result<Reply, Unreachable> {
        let query = if self.dry_run { "?dry_run=true" } else { "" };
        client.send(&format!("/api/v1/{}{query}", self.path), &self.body)
    }

    /// Gives the order and prints what came of it.
    pub(in crate::cli) fn run(&self, client: &Client, json: bool) -> ExitCode {
        match self.give(client) {
            Ok(reply) => self.print(&reply, json),
            Err(error) => Failure::from(error).tell(self.verb, json),
        }
    }

    /// Prints what came of it.
    pub(in crate::cli) fn print(&self, reply: &Reply, json: bool) -> ExitCode {
        if !reply.is_done() {
            return reply.failure().tell(self.verb, json);
        }
        print(&if json { self.to_json(reply) } else { self.to_text(reply) });
        ExitCode::SUCCESS
    }

    /// One JSON object: what the router answered, and how it was reached.
    fn to_json(&self, reply: &Reply) -> String {
        let mut told = json!({"verb": self.verb, "done": true, "way": reply.way});
        if let (Some(told), Some(receipt)) = (told.as_object_mut(), reply.body.as_object()) {
            told.extend(receipt.clone());
        }
        format!("{told:#}\n")
    }

    /// What is in force first, then what it may be worth knowing.
    fn to_text(&self, reply: &Reply) -> String {
        let receipt = &reply.body;
        let mut text = String::new();
        let generation = &receipt["generation"];
        // Writing to a string cannot fail.
        let _ = match (self.dry_run, receipt["changed"] == true) {
            (true, _) => writeln!(text, "nothing was changed (--dry-run); in force is generation {generation}"),
            (false, true) => writeln!(text, "in force on all workers: generation {generation}, by {}", reply.way),
            (false, false) => writeln!(text, "nothing to do: it was so already, in generation {generation}"),
        };
        if let Some(moved) = receipt["moved"].as_object() {
            let _ = writeln!(text, "{} of {} sampled users would move", moved["moved"], moved["sampled"]);
        }
        if !self.dry_run {
            let _ = match receipt["not_durable_because"].as_str() {
                None => writeln!(text, "durable: it survives a restart{}", entry(&receipt["entry"])),
                Some(why) => writeln!(
                    text,
                    "NOT durable: {}; it holds as long as the router runs, which goes on trying to write it",
                    visible(why)
                ),
            };
        }
        for name in ["before", "after"] {
            let _ = writeln!(text, "{name}: {}", visible(&receipt[name].to_string()));
        }
        if let Some(remark) = receipt["remark"].as_str() {
            let _ = writeln!(text, "note: {}", visible(remark));
        }
        text
    }
}

fn entry(number: &Value) -> String {
    number.as_u64().map_or_else(String::new, |number| format!("; `banyan history show {number}`"))
}
