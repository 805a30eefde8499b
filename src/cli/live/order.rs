//! Owns giving a running router an order, and how its receipt is shown. What an order means is the router's.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Client, Reply, Unreachable};
use crate::cli::{REFUSED, print};
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
        client.post(&format!("/api/v1/{}{query}", self.path), &self.body)
    }

    /// Gives the order and prints what came of it.
    pub(in crate::cli) fn run(&self, client: &Client, json: bool) -> ExitCode {
        match self.give(client) {
            Ok(reply) => self.print(&reply, json),
            Err(error) => {
                let told = json!({"verb": self.verb, "done": false, "way": null, "refused": error.to_string()});
                if json {
                    print(&format!("{told:#}\n"));
                } else {
                    eprintln!("banyan: {error}");
                }
                ExitCode::from(REFUSED)
            }
        }
    }

    /// Prints what came of it.
    pub(in crate::cli) fn print(&self, reply: &Reply, json: bool) -> ExitCode {
        if json {
            print(&self.to_json(reply));
        } else if reply.is_done() {
            print(&self.to_text(reply));
        } else {
            eprintln!("banyan: refused by the router at {}: {}", reply.way, visible(&reply.why()));
        }
        if reply.is_done() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
    }

    /// One JSON object: what the router answered, and how it was reached.
    fn to_json(&self, reply: &Reply) -> String {
        let mut told = json!({"verb": self.verb, "done": reply.is_done(), "way": reply.way});
        if reply.is_done() {
            if let (Some(told), Some(receipt)) = (told.as_object_mut(), reply.body.as_object()) {
                told.extend(receipt.clone());
            }
        } else {
            (told["refused"], told["code"]) = (reply.why().into(), reply.body["code"].clone());
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

impl Reply {
    /// Whether the router did what it was asked.
    pub(in crate::cli) fn is_done(&self) -> bool {
        self.status == 200
    }

    /// Whether it is no answer to what was asked: another token is wanted, or the router cannot.
    pub(in crate::cli) fn is_unusable(&self) -> bool {
        matches!(self.status, 401 | 403 | 421 | 429 | 500..)
    }

    /// Why it did not.
    pub(in crate::cli) fn why(&self) -> String {
        let detail = self.body["detail"].as_str();
        detail.map_or_else(|| format!("it answered {} without a reason", self.status), str::to_owned)
    }
}

fn entry(number: &Value) -> String {
    number.as_u64().map_or_else(String::new, |number| format!("; `banyan history show {number}`"))
}
