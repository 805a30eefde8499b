//! Owns the verb `check`: everything that is wrong with the files, at once.

mod stale;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{REFUSED, SettingOptions, now_unix_s, print, settle};
use crate::compile::{self, Options};
use crate::config::{Diagnostic, FileSet, Format, Report, Severity};
use crate::settings::Settings;
use crate::tls::server::ServerTls;

/// The long help of the verb.
pub(super) const LONG: &str = "\
Check the flag and route files together, as the router does before it publishes them, and show every error, warning and \
note with its line and how to mend it. Nothing is sent to anybody.

With --stale it also looks for flags that may be removed or need somebody to look at them: expired, without an owner, or giving \
the same to everybody for many days by what a router has kept in its state directory, else by the time of the file.

Exit code 0: the set would be published (there may be warnings). 1: it would be refused. 2: wrong usage. 3: it would be published, \
and --stale has found stale flags.";

/// What the exit code says when flags are stale.
const STALE: u8 = 3;

/// The arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The directory of flag files [default: flags].
    #[arg(long, env = "BANYAN_FLAGS", value_name = "DIR")]
    flags: Option<PathBuf>,
    /// The directory of route files [default: routes].
    #[arg(long, env = "BANYAN_ROUTES", value_name = "DIR")]
    routes: Option<PathBuf>,
    /// Where the router will listen, to find upstreams that are the router itself [default: 127.0.0.1:8080].
    #[arg(long, env = "BANYAN_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// A settings file, which is checked too.
    #[arg(long, env = "BANYAN_SETTINGS", value_name = "FILE")]
    settings: Option<PathBuf>,
    /// How findings are shown.
    #[arg(long, value_enum, default_value = "text", conflicts_with = "json")]
    format: Shown,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
    /// Look for stale flags, too.
    #[arg(long)]
    stale: bool,
    /// After how many days a flag that gives the same to everybody counts as stale.
    #[arg(long, value_name = "N", default_value_t = 30, requires = "stale")]
    stale_days: u32,
    /// The router's state directory, for since when flags have given the same to everybody [default: state].
    #[arg(long, env = "BANYAN_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shown {
    /// For people, with source lines.
    Text,
    /// One JSON object.
    Json,
    /// Annotations of a pull request on GitHub.
    Github,
}

/// Checks, and says by the exit code whether the set would be published.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let (report, done) = check(args);
    let refused = report.has_errors();
    let is_stale = args.stale && stale::is_any(&report);
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    match if args.json { Shown::Json } else { args.format } {
        Shown::Json => print(&report.render(Format::Json)),
        Shown::Github => print(&format!("{}{done}: {}\n", report.render(Format::Github), report.summary())),
        Shown::Text => print(&format!("{}{done}: {}\n", report.render(Format::Text { colour }), report.summary())),
    }
    match (refused, is_stale) {
        (true, _) => ExitCode::from(REFUSED),
        (false, true) => ExitCode::from(STALE),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// Everything found, and how much was looked at.
fn check(args: &CheckArgs) -> (Report, String) {
    let options = SettingOptions {
        flags: args.flags.clone(),
        routes: args.routes.clone(),
        listen: args.listen.clone(),
        settings: args.settings.clone(),
        state: args.state.clone(),
        ..SettingOptions::default()
    };
    let settings = match settle(&options, std::iter::empty()) {
        Ok(settings) => settings,
        Err(report) => return (report, "settings".to_owned()),
    };
    let (flags, routes) = (FileSet::read(&settings.flags), FileSet::read(&settings.routes));
    let options = Options {
        hashing: settings.hashing,
        listeners: settings.listen.clone(),
        now_unix_s: now_unix_s(),
        ..Options::default()
    };
    let mut outcome = compile::compile(&flags, &routes, &options, None);
    certificates(&settings, &mut outcome.report);
    if args.stale {
        stale::find(&flags, &settings.state, args.stale_days, &mut outcome.report);
    }
    let files = flags.files.len() + routes.files.len();
    let done = match &outcome.draft {
        Some(draft) => format!(
            "{} in {}: {}, {}, {}",
            counted(files, "file"),
            format_args!("{} and {}", flags.dir.display(), routes.dir.display()),
            counted(draft.rules.flags.len(), "flag"),
            counted(draft.rules.routes.payloads().count(), "route"),
            counted(draft.upstreams.len(), "upstream"),
        ),
        None => format!("{} in {} and {}", counted(files, "file"), flags.dir.display(), routes.dir.display()),
    };
    (outcome.report, done)
}

/// Reads the certificates that `serve` will show to clients.
fn certificates(settings: &Settings, report: &mut Report) {
    let mut tell = |severity, message: String, help: &str| {
        report.push(Diagnostic::new(severity, "tls-certificate", None, message).help(help));
    };
    if settings.listen_tls.is_empty() {
        if settings.has_idle_tls() {
            let help = "give `listen_tls: ADDR`, unless systemd passes the sockets";
            tell(Severity::Warning, "TLS is set up, but `listen_tls` names no address for it".to_owned(), help);
        }
        return;
    }
    match ServerTls::load(settings.tls.clone()) {
        Err(errors) => {
            let help = "`serve` would not start; paths are seen from the directory it runs in";
            errors.iter().for_each(|error| tell(Severity::Error, error.to_string(), help));
        }
        Ok(tls) => {
            let untimely = tls.look().refused;
            untimely.iter().for_each(|error| tell(Severity::Warning, error.to_string(), "renew it"));
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
