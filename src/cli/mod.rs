//! Owns the command line: the verbs, their help and their exit codes.

mod check;
mod completions;
mod demo;
mod health;
mod limit_names;
mod options;
mod schema;
mod serve;
mod settings_file;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use options::{SettingOptions, settle};

/// What the exit code says when something was refused.
const REFUSED: u8 = 1;

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
  banyan schema flags > flags.schema.json
                                        let the editor help with flag files
  banyan completions bash > ~/.local/share/bash-completion/completions/banyan

Exit codes: 0 done (warnings included), 1 refused or failed, 2 wrong usage.
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
    Serve(Box<SettingOptions>),
    /// Show it all at work, with upstreams and users of its own; needs no other program.
    Demo(demo::DemoArgs),
    /// Check the flag and route files and show everything that is wrong.
    #[command(long_about = check::LONG)]
    Check(check::CheckArgs),
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
        Command::Health(args) => health::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Writes what the user asked for; a reader that went away (`banyan check | head`) is no failure.
fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The wall clock in seconds since the epoch.
fn now_unix_s() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
