//! Owns the verb `status`: how the running router stands, on one screen.

mod screen;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize as _;

use super::REFUSED;
use super::live::{Client, Failure, RouterArgs};
use crate::config::visible;
use crate::control::StatusReport;

pub(super) const LONG: &str = "\
Show how the running router stands, on one screen: generation, listeners, what is wrong and what to do about it, flags that are \
not at rest, overrides in force with who and why, upstreams with their health and traffic, stale flags.

Exit code 0: all is well. 1: something is wrong. 2: wrong usage. 3: no router answers, or it does not let you in.";

/// Between two looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Brings a terminal's cursor home and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    router: RouterArgs,
    /// Show it anew each second until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Print the whole document as JSON; with --watch, one on each line.
    #[arg(long)]
    json: bool,
}

/// A status as it is printed, and what the exit code says.
struct Shown {
    text: String,
    code: u8,
}

/// Runs the verb.
pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let client = match Client::of(&args.router) {
        Ok(client) => client,
        Err(code) => return code,
    };
    if args.watch {
        return watch(&client, args.json);
    }
    match ask(&client, args.json, false) {
        Ok(shown) => {
            super::print(&shown.text);
            ExitCode::from(shown.code)
        }
        Err(failure) => failure.tell("status", args.json),
    }
}

/// Shows it each second, also while no router answers, until somebody stops it or nobody reads any more.
fn watch(client: &Client, json: bool) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let clear = if out.is_terminal() && !json { CLEAR } else { "" };
    loop {
        let text = match ask(client, json, true) {
            Ok(shown) => shown.text,
            Err(failure) if json => format!("{}\n", serde_json::json!({"unreachable": failure.to_string()})),
            Err(failure) => format!("{}\n", visible(&failure.to_string())),
        };
        let end = if json || !clear.is_empty() { "" } else { "\n" };
        if write!(out, "{clear}{text}{end}").and_then(|()| out.flush()).is_err() {
            return ExitCode::SUCCESS;
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn ask(client: &Client, json: bool, on_one_line: bool) -> Result<Shown, Failure> {
    let reply = client.get("/api/v1/status")?;
    let body = &reply.body;
    let status = StatusReport::deserialize(body).map_err(|error| Failure::of_another_version(&reply, &error))?;
    let text = match (json, on_one_line) {
        (true, true) => format!("{body}\n"),
        (true, false) => format!("{body:#}\n"),
        (false, _) => screen::screen(&status),
    };
    Ok(Shown { text, code: if status.problems.is_empty() { 0 } else { REFUSED } })
}
