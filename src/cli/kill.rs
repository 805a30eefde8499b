//! Owns the verbs `kill` and `revive`: in the running router, else in the files, else by the file `KILL`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use super::edit::{self, EditArgs, Files, Plan, Refused, Shown, edit_document};
use super::live::{Client, Order, Reply, RouterArgs};
use crate::config::Format;
use crate::control::parse_lasts;

/// The long help of `kill`.
pub(super) const LONG_KILL: &str = "\
Send everybody back to the fallback of a flag, which is legacy unless the route says otherwise, by the first way that works, \
and say which it was:

1. The running router, over its unix socket or admin address: an override, in force on all workers when this returns, until \
`revive`. It needs no disk and no readable files; what is not on disk is said so.
2. The flag's file (`state: DISABLED`), which a router that reads it takes up. Only that word changes; the set is checked as \
`banyan check` does before anything is written.
3. With --all, or with --break-glass: the file KILL in the router's state directory, which kills every flag.

Exit code 0: done, or killed already. 1: refused, nothing was changed. 2: wrong usage. 3: with --live, no router answers, or it \
does not let you in.";

/// The long help of `revive`.
pub(super) const LONG_REVIVE: &str = "\
Take a kill back, the way it was given: in the running router, if it has such an override, else in the flag's file \
(`state: ENABLED`). With --all the kill of every flag is taken back, and in the files every flag is enabled, also those that \
were disabled before: look at --dry-run first.

Exit code 0: done, or enabled already. 1: refused, nothing was changed. 2: wrong usage. 3: with --live, no router answers, or it \
does not let you in.";

/// Why, where nobody says it: at 3 a.m. nothing should be in the way.
const NO_REASON: &str = "no reason was given";

/// The arguments of `kill`.
#[derive(Debug, Args)]
pub(super) struct KillArgs {
    #[command(flatten)]
    state: StateArgs,
    /// After how long it ends by itself, in the running router: 90s, 30m, 12h, 7d.
    #[arg(long = "for", value_name = "TIME", value_parser = |text: &str| parse_lasts(text))]
    lasts: Option<Duration>,
    /// Kill every flag by the file KILL, if neither the router nor the files can be told about this one.
    #[arg(long)]
    break_glass: bool,
}

/// The arguments that `kill` and `revive` share.
#[derive(Debug, Args)]
pub(super) struct StateArgs {
    #[command(flatten)]
    which: Which,
    /// Tell the running router, or fail.
    #[arg(long, conflicts_with = "file")]
    live: bool,
    /// Edit the file, whatever runs.
    #[arg(long)]
    file: bool,
    #[command(flatten)]
    router: RouterArgs,
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

/// What came of asking the running router.
enum Asked {
    /// It answered, and that is the end of it.
    Done(ExitCode),
    /// It cannot be told, or has nothing to take back; why, for people.
    Not(String),
}

/// Runs `kill`.
pub(super) fn run(args: &KillArgs) -> ExitCode {
    let KillArgs { state, lasts, break_glass } = args;
    let mut body = state.body();
    if let Some(lasts) = lasts {
        body.insert("for".to_owned(), format!("{}s", lasts.as_secs()).into());
    }
    let why = match state.ask("kill", body, |_| true) {
        Asked::Done(code) => return code,
        Asked::Not(why) => why,
    };
    let mut shown = state.edit_files("kill", false, why);
    if lasts.is_some() {
        shown.note("lasting", "a kill in a file does not end by itself", "`banyan revive` takes it back");
    }
    if shown.is_stuck() && !state.edit.dry_run {
        if state.which.all || *break_glass {
            shown.break_glass(state.reason());
        } else {
            shown.name_break_glass();
        }
    }
    shown.print(state.edit.json)
}

/// Runs `revive`.
pub(super) fn revive(args: &StateArgs) -> ExitCode {
    // A router without such an override says so by changing nothing; then it is the file that disables the flag.
    match args.ask("revive", args.body(), |reply| reply.body["changed"] == true) {
        Asked::Done(code) => code,
        Asked::Not(why) => args.edit_files("revive", true, why).print(args.edit.json),
    }
}

impl StateArgs {
    fn reason(&self) -> &str {
        self.edit.reason.as_deref().unwrap_or(NO_REASON)
    }

    fn body(&self) -> Map<String, Value> {
        Map::from_iter([("reason".to_owned(), self.reason().into())])
    }

    /// Asks the running router; `is_enough` says whether what it did is all.
    fn ask(&self, verb: &'static str, body: Map<String, Value>, is_enough: impl FnOnce(&Reply) -> bool) -> Asked {
        if self.file {
            return Asked::Not("as --file says".to_owned());
        }
        let state = match self.state_dir() {
            Ok(state) => state,
            Err(code) => return Asked::Done(code),
        };
        let path = self.which.flag.as_ref().map_or_else(|| format!("{verb}-all"), |flag| Order::path(flag, verb));
        let order = Order { verb, path, body: body.into(), dry_run: self.edit.dry_run };
        let client = Client::new(&self.router, &state);
        if self.live {
            return Asked::Done(order.run(&client, self.edit.json));
        }
        match order.give(&client) {
            Err(error) => Asked::Not(error.to_string()),
            // Another token or a router in trouble must not keep a kill from the file.
            Ok(reply) if reply.is_unusable() => Asked::Not(reply.failure().to_string()),
            Ok(reply) if reply.is_done() && !is_enough(&reply) => {
                Asked::Not("the running router has no such override".to_owned())
            }
            Ok(reply) => Asked::Done(order.print(&reply, self.edit.json)),
        }
    }

    fn edit_files(&self, verb: &'static str, enabled: bool, why: String) -> Shown {
        let state = self.router.state.as_deref();
        let mut shown = edit::attempt(&self.edit, state, verb, |files| plan(&self.which, files, enabled));
        shown.because = Some(why);
        shown
    }

    fn state_dir(&self) -> Result<PathBuf, ExitCode> {
        self.edit.settings(self.router.state.clone()).map(|settings| settings.state).map_err(|report| {
            eprint!("{}", report.render(Format::Text { colour: false }));
            ExitCode::from(2)
        })
    }
}

fn plan(which: &Which, files: &Files, enabled: bool) -> Result<Plan, Refused> {
    let edits = match &which.flag {
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
