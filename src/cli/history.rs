//! Owns the verb `history`: what changed, when, by whom and why, read from the state directory.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{REFUSED, SettingOptions, print, settle};
use crate::config::Format;
use crate::control::{Entry, ReadHistory, read_history};

pub(super) const LONG: &str = "\
Show what changed: every publication, override, rejection, end and restore, with time, generation, who and why. It reads the \
state directory, so it also works when the router does not run; use the router's user.

Exit code 0: shown. 1: it cannot be read, or there is no such entry. 2: wrong usage.";

/// The arguments of `history`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct HistoryArgs {
    #[command(subcommand)]
    verb: Option<HistoryVerb>,
    /// How many entries, the latest ones.
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum HistoryVerb {
    /// Show one entry with all that it says.
    Show {
        /// The entry's number.
        number: u64,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The router's state directory [default: state].
    #[arg(long, env = "BANYAN_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print JSON: one object a line, or one object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(args: &HistoryArgs) -> ExitCode {
    let place = match &args.verb {
        Some(HistoryVerb::Show { place, .. }) => place,
        None => &args.place,
    };
    let options = SettingOptions { state: place.state.clone(), ..SettingOptions::default() };
    let state = match settle(&options, std::iter::empty()) {
        Ok(settings) => settings.state,
        Err(report) => {
            eprint!("{}", report.render(Format::Text { colour: false }));
            return ExitCode::from(2);
        }
    };
    let read = match read_history(&state) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("banyan: the history in {} cannot be read: {error}", state.display());
            return ExitCode::from(REFUSED);
        }
    };
    let shown = match args.verb {
        Some(HistoryVerb::Show { number, .. }) => show(&read, number, place.json),
        None => Some(list(&read, args.limit, place.json)),
    };
    let Some(shown) = shown else {
        let last = read.entries.last().map_or_else(
            || format!("the history in {} is empty", state.display()),
            |entry| format!("the last one is {}", entry.number),
        );
        eprintln!("banyan: there is no such entry; {last}");
        return ExitCode::from(REFUSED);
    };
    print(&shown);
    if read.unreadable > 0 {
        eprintln!("banyan: {} lines of the history cannot be read", read.unreadable);
    }
    ExitCode::SUCCESS
}

fn list(read: &ReadHistory, limit: usize, json: bool) -> String {
    let mut text = String::new();
    for entry in read.entries.iter().skip(read.entries.len().saturating_sub(limit)) {
        let line = if json { as_json(entry) } else { as_line(entry) };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn show(read: &ReadHistory, number: u64, json: bool) -> Option<String> {
    let entry = read.entries.iter().rev().find(|entry| entry.number == number)?;
    if json {
        return Some(as_json(entry) + "\n");
    }
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<11}{value}");
    };
    row("entry", &entry.number.to_string());
    row("time", &entry.time);
    row("generation", &entry.generation.to_string());
    row("action", entry.action.as_str());
    row("source", entry.source.as_str());
    let texts = [("flag", &entry.flag), ("who", &entry.who), ("why", &entry.why)];
    for (name, value) in texts.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
        row(name, &printable(value));
    }
    for (name, value) in
        [("before", &entry.before), ("after", &entry.after)].into_iter().filter(|(_, it)| !it.is_null())
    {
        row(name, &format!("{value:#}").replace('\n', "\n           "));
    }
    Some(text)
}

fn as_json(entry: &Entry) -> String {
    serde_json::to_string(entry).expect("strings and numbers have a JSON form")
}

fn as_line(entry: &Entry) -> String {
    let of_copies = || ["route", "destination"].iter().find_map(|member| entry.after[*member].as_str());
    let about = entry.flag.as_deref().or_else(of_copies).unwrap_or("-");
    let who = entry.who.as_deref().unwrap_or("-");
    let why = entry.why.as_deref().unwrap_or_default();
    let (number, time, generation) = (entry.number, &entry.time, entry.generation);
    let (action, source) = (entry.action.as_str(), entry.source.as_str());
    printable(&format!("{number:>6}  {time}  gen {generation:<5} {action:<10} {source:<11} {about}  {who}  {why}"))
}

/// A reason is somebody else's text: nothing in it may steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
