//! Owns the command line: the verbs, their help and their exit codes.

mod check;
mod completions;
mod demo;
mod edit;
mod explain;
mod health;
mod history;
mod journal;
mod kill;
mod limit_names;
mod live;
mod options;
mod pin;
mod reconcile;
mod reload;
mod restore;
mod schema;
mod serve;
mod set;
mod settings_file;
mod simulate;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use options::{SettingOptions, settle};

/// What the exit code says when something was refused.
const REFUSED: u8 = 1;

/// What it says when no running router could be asked.
const UNREACHABLE: u8 = 3;

const ABOUT: &str = "\
Banyan is a feature-flag migration router: a reverse proxy that fronts production traffic while a monolith is taken \
apart. Every migration step is one feature flag in a YAML file; raise its percentage and more users are served by the \
modern system, set `state: DISABLED` and everybody is back on legacy within a second.";

const EXAMPLES: &str = "\
Examples:
  banyan demo                           see a migration at work; edit flags/ meanwhile
  banyan serve                          front traffic with flags/ and routes/ of this directory
  banyan check                          find every mistake in flags/ and routes/
  banyan check --format github          the same, as annotations of a pull request
  banyan explain --url http://shop.example/search -H 'x-user-id: ada'
                                        who serves this request, and why
  banyan reload                         after an edit: wait until it is in force, or see why it is not
  banyan status --watch                 how the router stands, second by second
  banyan journal status                 how copies of writes stand; `banyan journal --help` has more
  banyan history --limit 5              what changed last, by whom and why
  banyan kill orders-migration --reason '5xx since the deploy'
                                        everybody back to legacy
  banyan set search-engine modern=12.5% --dry-run
                                        what a ramp would change, and who would move
  banyan simulate --log access.jsonl --set search-engine=modern=25%
                                        the same for the requests of a log
  banyan schema flags > flags.schema.json
                                        let the editor help with flag files
  banyan completions bash > ~/.local/share/bash-completion/completions/banyan

Exit codes: 0 done (warnings included), 1 refused or failed, 2 wrong usage, 3 no router answers, or it does not let you in \
(`check --stale`: flags are stale).
With --json a verb that was refused, or that no router answered, prints an object, too: `done` is false, `refused` says why.
Every option of `serve` is also an environment variable (BANYAN_…) and a key of the settings file.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "banyan", version, about = ABOUT, after_long_help = EXAMPLES, propagate_version = true)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Front traffic: route, split, reload while running, drain on SIGTERM.
    #[command(after_help = serve_help())]
    Serve(Box<SettingOptions>),
    /// Show it all at work, with upstreams and users of its own; needs no other program.
    Demo(demo::DemoArgs),
    /// Check the flag and route files and show everything that is wrong.
    #[command(long_about = check::LONG)]
    Check(check::CheckArgs),
    /// Show which route, variant and upstream a request gets, and why.
    #[command(long_about = explain::LONG)]
    Explain(Box<explain::ExplainArgs>),
    /// Decide recorded requests with two sets of files, and show who moves.
    #[command(long_about = simulate::LONG)]
    Simulate(Box<simulate::SimulateArgs>),
    /// Show how the running router stands, and what is wrong.
    #[command(long_about = status::LONG)]
    Status(status::StatusArgs),
    /// Show what changed: publications, overrides, rejections, with who and why.
    #[command(long_about = history::LONG)]
    History(history::HistoryArgs),
    /// Send everybody back to a flag's fallback: in the running router, else in its file.
    #[command(long_about = kill::LONG_KILL)]
    Kill(Box<kill::KillArgs>),
    /// Take a kill back: in the running router, else in the flag's file.
    #[command(long_about = kill::LONG_REVIVE)]
    Revive(Box<kill::StateArgs>),
    /// Set the shares of a flag's variants in its file, or with --live in the running router.
    #[command(long_about = set::LONG)]
    Set(Box<set::SetArgs>),
    /// Give one variant to whoever has a value of an attribute, in the file or the router.
    #[command(long_about = pin::LONG)]
    Pin(Box<pin::PinArgs>),
    /// Have the running router look at the files now, and show what came of it.
    #[command(long_about = reload::LONG)]
    Reload(reload::ReloadArgs),
    /// Compare both sides of a route, entity by entity, and make the other side equal.
    #[command(long_about = reconcile::LONG)]
    Reconcile(Box<reconcile::ReconcileArgs>),
    /// Put the rules of an earlier generation in force in the running router.
    #[command(long_about = restore::LONG_RESTORE)]
    Restore(restore::RestoreArgs),
    /// End a restore: what the files say is in force again.
    #[command(long_about = restore::LONG_RELEASE)]
    Release(restore::ReleaseArgs),
    /// Show copied writes: lag, parked ones, gaps; replay or drop what is parked.
    #[command(long_about = journal::LONG)]
    Journal(Box<journal::JournalArgs>),
    /// Ask the running router whether it lives, or whether it takes traffic.
    Health(health::HealthArgs),
    /// Print the JSON Schema of flag or route files.
    #[command(long_about = schema::LONG)]
    Schema(schema::SchemaArgs),
    /// Print the completions of a shell.
    Completions(completions::CompletionsArgs),
}

/// Runs the command line of the process.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(options) => serve::run(&options),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Kill(args) => kill::run(&args),
        Command::Revive(args) => kill::revive(&args),
        Command::Set(args) => set::run(&args),
        Command::Pin(args) => pin::run(&args),
        Command::Reconcile(args) => reconcile::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Release(args) => restore::release(&args),
        Command::Health(args) => health::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Status(args) => status::run(&args),
        Command::History(args) => history::run(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

fn serve_help() -> String {
    let limits = limit_names::help();
    format!(
        "The command line beats the environment, which beats the settings file, which beats the default.\n\n\
         Limits and their defaults (0 turns one off):\n{limits}\n\n\
         Examples:\n  \
           banyan serve\n  \
           banyan serve --listen 0.0.0.0:8080 --trusted-proxies 10.0.0.0/8 --access-log-sample 0.1\n  \
           banyan serve --settings banyan.yaml --limit head_bytes_max=65536"
    )
}

/// Writes what the user asked for; a reader that went away (`banyan check | head`) is no failure.
fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("banyan: cannot write the output: {error}");
            std::process::exit(REFUSED.into());
        }
        _ => {}
    }
}

/// The wall clock in seconds since the epoch.
fn now_unix_s() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}
