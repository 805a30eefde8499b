//! Owns the verbs `kill` and `revive` in the files: a flag's `state`.

use std::process::ExitCode;

use clap::Args;

use super::edit::{self, EditArgs, Files, Plan, Refused, edit_document};

/// The long help of `kill`.
pub(super) const LONG_KILL: &str = "\
Disable a flag in its file (`state: DISABLED`): every request is served by the fallback, which is legacy unless the route \
says otherwise. Only that word changes; the difference is printed, and how many users move. The set is checked as \
`banyan check` does before anything is written.

Exit code 0: done, or disabled already. 1: refused, nothing was written. 2: wrong usage.";

/// The long help of `revive`.
pub(super) const LONG_REVIVE: &str = "\
Enable a flag in its file (`state: ENABLED`), the way back from `kill`. With --all every flag is enabled, also those \
that were disabled before: look at --dry-run first.

Exit code 0: done, or enabled already. 1: refused, nothing was written. 2: wrong usage.";

/// The arguments of `kill` and `revive`.
#[derive(Debug, Args)]
pub(super) struct StateArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    edit: EditArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The flag.
    flag: Option<String>,
    /// All flags of all files.
    #[arg(long)]
    all: bool,
}

/// Runs `kill`.
pub(super) fn run(args: &StateArgs) -> ExitCode {
    edit::run(&args.edit, "kill", |files| plan(args, files, false))
}

/// Runs `revive`.
pub(super) fn revive(args: &StateArgs) -> ExitCode {
    edit::run(&args.edit, "revive", |files| plan(args, files, true))
}

fn plan(args: &StateArgs, files: &Files, enabled: bool) -> Result<Plan, Refused> {
    let edits = match &args.which.flag {
        Some(flag) => edit_document(files.flag(flag)?.1, |editor| editor.set_state(flag, enabled))?,
        None => {
            let mut edits = Vec::new();
            for document in &files.documents {
                edits.extend(edit_document(document, |editor| editor.set_every_state(enabled))?);
            }
            edits
        }
    };
    Ok(Plan { edits, ..Plan::default() })
}
