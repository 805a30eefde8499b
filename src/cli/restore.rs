//! Owns the verbs `restore` and `release`: an earlier generation's rules in a running router, and the way back.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::live::{Client, Order, RouterArgs};
use super::print;

/// The long help of `restore`.
pub(super) const LONG_RESTORE: &str = "\
Put the rules of an earlier generation in force, in the running router. They are kept compiled, so it also works while the \
files are broken or the disk is full. The files are judged and not published until `banyan release`; a restart releases, too. \
`banyan history` shows generations; overrides stay as they are.

Exit code 0: in force. 1: refused. 2: wrong usage. 3: no router answers, or it does not let you in.";

/// The long help of `release`.
pub(super) const LONG_RELEASE: &str = "\
End a restore: what the files say is in force again.

Exit code 0: done, or nothing was restored. 1: refused. 2: wrong usage. 3: no router answers, or it does not let you in.";

/// The arguments of `restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The generation; without it, those that can be restored are listed.
    #[arg(requires = "reason")]
    generation: Option<u64>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    shared: Shared,
}

/// The arguments of `release`.
#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct Shared {
    /// Say what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    router: RouterArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `restore`.
pub(super) fn run(args: &RestoreArgs) -> ExitCode {
    match args.generation {
        Some(generation) => args.shared.give("restore", json!({"generation": generation, "reason": args.reason})),
        None => args.shared.list(),
    }
}

/// Runs `release`.
pub(super) fn release(args: &ReleaseArgs) -> ExitCode {
    args.shared.give("release", json!({"reason": args.reason}))
}

impl Shared {
    fn give(&self, verb: &'static str, body: Value) -> ExitCode {
        let order = Order { verb, path: verb.to_owned(), body, dry_run: self.dry_run };
        Client::of(&self.router).map_or_else(|code| code, |client| order.run(&client, self.json))
    }

    fn list(&self) -> ExitCode {
        let reply = match Client::of(&self.router).map(|client| client.get("/api/v1/generations")) {
            Ok(Ok(reply)) => reply,
            Ok(Err(failure)) => return failure.tell("restore", self.json),
            Err(code) => return code,
        };
        if self.json {
            print(&format!("{:#}\n", reply.body));
            return ExitCode::SUCCESS;
        }
        let generations = reply.body["restorable"].as_array().into_iter().flatten().map(Value::to_string);
        let restored =
            reply.body["restored"].as_u64().map_or_else(String::new, |number| format!(", restored from {number}"));
        print(&format!(
            "in force: generation {}{restored}\ncan be restored: {}\n",
            reply.body["generation"],
            generations.collect::<Vec<_>>().join(", ")
        ));
        ExitCode::SUCCESS
    }
}
