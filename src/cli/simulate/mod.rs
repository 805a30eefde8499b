//! Owns the verb `simulate`: recorded requests decided with two sets of files, and who moves between them.

mod asked;
mod distinct;
mod lines;
mod replay;
mod report;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::edit::Files;
use super::options::{HASHINGS, one_of};
use super::set::{self, Wish};
use super::{REFUSED, SettingOptions, now_unix_s, print, settle};
use crate::compile;
use crate::config::{FileSet, Format, Report};
use crate::flag::Hashing;

use replay::Replay;
use report::Shown;

/// The long help of the verb.
pub(super) const LONG: &str = "\
Decide recorded requests with two sets of files and show who moves: for each route and flag the requests and users that go \
from one variant to another, and where the flag fails or the fallback serves. Nothing is sent to anybody. Overrides of a \
running router are not looked at.

A log has one JSON object a line: the router's access log (`--access-log json`), or requests as \
{\"method\": \"GET\", \"url\": \"http://shop.example/search?q=1\", \"headers\": {\"x-user-id\": \"ada\"}, \"client\": \"192.0.2.1\"}, \
of which only `url` must be there. The access log has no queries and no headers, so what a decision asks of those is not \
known: such requests are not guessed at but listed, with what is missing. `serve --access-log-headers x-user-id,x-tenant` logs \
the headers that are needed.

Any number of lines needs bounded memory: above 1024 users in one way they are estimated, to about 2 %, and marked `~`.

Exit code 0: replayed. 1: a set is refused, a log cannot be read, no line is a request, or --fail-on. 2: wrong usage.";

const EXAMPLES: &str = "\
Examples:
  banyan simulate --log access.jsonl --set search-engine=modern=25%
                                        who would move if modern got 25 %
  git worktree add ../main main
  banyan simulate --log access.jsonl --flags ../main/flags --routes ../main/routes --to-flags flags --to-routes routes
                                        who moves by what this branch changes
  zcat access.jsonl.gz | banyan simulate --log - --to-flags next/flags --json";

/// The arguments of `simulate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SimulateArgs {
    /// A file with one request a line, `-` for stdin; may repeat.
    #[arg(long, required = true, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// The directory of flag files before [default: flags].
    #[arg(long, env = "BANYAN_FLAGS", value_name = "DIR")]
    flags: Option<PathBuf>,
    /// The directory of route files before [default: routes].
    #[arg(long, env = "BANYAN_ROUTES", value_name = "DIR")]
    routes: Option<PathBuf>,
    /// The directory of flag files after [default: the same as before].
    #[arg(long, value_name = "DIR")]
    to_flags: Option<PathBuf>,
    /// The directory of route files after [default: the same as before].
    #[arg(long, value_name = "DIR")]
    to_routes: Option<PathBuf>,
    /// Shares that a flag gets after, such as `search-engine=modern=25%`, several with commas; may repeat.
    #[arg(long, value_name = "FLAG=VARIANT=SHARE%", value_parser = what_if)]
    set: Vec<WhatIf>,
    /// How `fractional` hashes; as the router that wrote the log [default: v3].
    #[arg(long, env = "BANYAN_HASHING", value_name = "GENERATION", value_parser = one_of(HASHINGS))]
    hashing: Option<Hashing>,
    /// A settings file, for any of these.
    #[arg(long, env = "BANYAN_SETTINGS", value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Exit with 1 when a request moves, or when a flag fails that did not.
    #[arg(long, value_enum, value_name = "WHAT")]
    fail_on: Option<FailOn>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is not to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A request moves.
    Moves,
    /// A flag gives an error where it gave none.
    Errors,
}

/// Shares that a flag would get.
#[derive(Debug, Clone)]
struct WhatIf {
    flag: String,
    wishes: Vec<Wish>,
}

/// Replays, and says by the exit code whether it could.
pub(super) fn run(args: &SimulateArgs) -> ExitCode {
    match simulate(args) {
        Ok(shown) => {
            print(&if args.json { shown.to_json() } else { shown.to_text() });
            let fails = match args.fail_on {
                Some(FailOn::Moves) => shown.moves(),
                Some(FailOn::Errors) => shown.fails_anew(),
                None => false,
            };
            if fails || !shown.has_requests() { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS }
        }
        Err(Stopped::Set(which, report)) => {
            let format = if args.json { Format::Json } else { Format::Text { colour: false } };
            print(&report.render(format));
            eprintln!("banyan: the set {which} is refused: {}", report.summary());
            ExitCode::from(REFUSED)
        }
        Err(Stopped::Log(why)) => {
            eprintln!("banyan: {why}");
            ExitCode::from(REFUSED)
        }
    }
}

/// Why nothing was replayed.
enum Stopped {
    /// A set is refused.
    Set(&'static str, Report),
    /// A log cannot be read.
    Log(String),
}

fn simulate(args: &SimulateArgs) -> Result<Shown, Stopped> {
    let before = |report| Stopped::Set("before", report);
    let after = |report| Stopped::Set("after", report);
    let settings = settle(
        &SettingOptions {
            flags: args.flags.clone(),
            routes: args.routes.clone(),
            settings: args.settings.clone(),
            hashing: args.hashing,
            ..SettingOptions::default()
        },
        std::iter::empty(),
    )
    .map_err(before)?;
    let load = |flags: &PathBuf, routes: &PathBuf| {
        let options = compile::Options {
            hashing: settings.hashing,
            listeners: Vec::new(),
            now_unix_s: now_unix_s(),
            ..compile::Options::default()
        };
        Files::compiled(FileSet::read(flags), FileSet::read(routes), options)
    };
    let from = load(&settings.flags, &settings.routes).map_err(before)?;
    let to_flags = args.to_flags.as_ref().unwrap_or(&settings.flags);
    let to_routes = args.to_routes.as_ref().unwrap_or(&settings.routes);
    let mut to = load(to_flags, to_routes).map_err(after)?;
    for WhatIf { flag, wishes } in &args.set {
        let edits = set::edits(flag, wishes, &to).map_err(|found| after(Report::from(found)))?;
        to = to.with(&edits).map_err(after)?;
    }
    let mut replay = Replay::new(&from, &to, now_unix_s());
    lines::read_all(&args.log, |line, place| replay.line(line, place)).map_err(Stopped::Log)?;
    Ok(replay.finish())
}

/// Reads `search-engine=modern=25%,legacy=75%`.
fn what_if(text: &str) -> Result<WhatIf, String> {
    let (flag, shares) = text.split_once('=').ok_or("write flag, variant and share, as in search-engine=modern=25%")?;
    let wishes = shares.split(',').map(set::wish).collect::<Result<_, _>>()?;
    Ok(WhatIf { flag: flag.to_owned(), wishes })
}
