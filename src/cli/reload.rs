//! Owns the verb `reload`: the running router looks at its files now, and what came of it is shown. The router judges.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::live::{Client, Reply, RouterArgs};
use super::{REFUSED, print};
use crate::config::visible;

/// The long help of the verb.
pub(super) const LONG: &str = "\
Have the running router look at its flag and route files now, and wait until they are judged and what is good of them is in \
force on all workers. A router that runs sees edits by itself, some 50 to 150 ms after the last of them; this is for what \
must not come before: the next step of a script after `banyan set`, a test of the new rule, a reconciliation.

What it says is about the files as they are when it is called, never about earlier ones:
  published   they had changed and are in force
  unchanged   they are what is in force
  rejected    they have errors, which are shown as `banyan check` shows them; the last good generation stays
  held        they are good and wait: a restore is in force until `banyan release`

A set that is suddenly much smaller is rejected, because it may be half a deployment; --accept-shrink says that it is meant, as \
SIGHUP does.

Examples:
  banyan set orders-migration dualwrite=100% && banyan reload && banyan reconcile orders --from legacy --listing /api/orders
  banyan reload --json | jq -r .result

Exit code 0: published or unchanged. 1: rejected or held. 2: wrong usage. 3: no router answers, it does not let you \
in, or it has not judged them within 8 s.";

/// The arguments of `reload`.
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// Take files that say much less than what is in force for what is meant.
    #[arg(long)]
    accept_shrink: bool,
    #[command(flatten)]
    router: RouterArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(args: &ReloadArgs) -> ExitCode {
    let client = match Client::of(&args.router) {
        Ok(client) => client,
        Err(code) => return code,
    };
    match client.post("/api/v1/reload", &json!({"accept_shrink": args.accept_shrink})) {
        Ok(reply) => show(&reply, args.json),
        Err(failure) => failure.tell("reload", args.json),
    }
}

/// Shows what came of it, and says by the exit code whether the files are in force.
fn show(reply: &Reply, json: bool) -> ExitCode {
    let result = reply.body["result"].as_str().unwrap_or_default();
    let is_in_force = matches!(result, "published" | "unchanged");
    if json {
        let mut told = json!({"verb": "reload", "done": is_in_force, "way": reply.way});
        if let (Some(told), Some(seen)) = (told.as_object_mut(), reply.body.as_object()) {
            told.extend(seen.clone());
        }
        print(&format!("{told:#}\n"));
    } else {
        print(&to_text(&reply.body, result, &reply.way));
    }
    if is_in_force { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
}

/// The findings first, and what became of the files last.
fn to_text(seen: &Value, result: &str, way: &str) -> String {
    let generation = &seen["generation"];
    let end = match result {
        "published" => format!("in force on all workers: generation {generation}, by {way}"),
        "unchanged" => format!("in force on all workers: generation {generation}, as before: it is what the files say"),
        "held" => format!(
            "held: the files are good and wait; generation {generation} stays in force, a restore, until `banyan release`"
        ),
        _ => format!("rejected: generation {generation} stays in force"),
    };
    // A line of a file may hold anything, but not in this terminal.
    let findings: Vec<_> = seen["rendered"].as_str().unwrap_or_default().lines().map(visible).collect();
    let findings = if findings.is_empty() { String::new() } else { findings.join("\n") + "\n" };
    format!("{findings}{end}\n")
}
