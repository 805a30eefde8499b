//! Owns the verb `journal`: how copies of writes stand, what is parked, and what becomes of it. The running router does it.

mod help;
mod shown;
mod waiting;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::live::{Client, Failure, PAGE, Reply, RouterArgs, escaped};
use super::print;

pub(super) use help::JOURNAL as LONG;

/// The arguments of `journal`.
#[derive(Debug, Args)]
pub(super) struct JournalArgs {
    #[command(subcommand)]
    verb: JournalVerb,
}

#[derive(Debug, Subcommand)]
enum JournalVerb {
    /// Show lag, parked copies and gaps of each destination, and the journal itself.
    #[command(long_about = help::STATUS)]
    Status(Shared),
    /// List what is parked, in groups of the same route, answer and error.
    #[command(long_about = help::LIST)]
    List {
        /// Only the copies of this group.
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        shared: Shared,
    },
    /// Show one parked copy: its request and what the other side said.
    #[command(long_about = help::SHOW)]
    Show {
        /// The copy.
        copy: String,
        #[command(flatten)]
        shared: Shared,
    },
    /// Send a parked copy, or all of a group, once more, with the same key.
    #[command(long_about = help::REPLAY)]
    Replay {
        /// The copy or the group.
        name: String,
        /// A file with another body, for one copy.
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        /// Another path and query, for one copy.
        #[arg(long, value_name = "PATH")]
        target: Option<String>,
        /// It is meant although it would undo a newer write.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        shared: Shared,
    },
    /// Give a parked copy up, or all of a group; or all that waits for a destination.
    #[command(long_about = help::DROP)]
    Drop {
        /// The copy or the group.
        #[arg(required_unless_present = "destination")]
        name: Option<String>,
        /// Give up what waits for this upstream: for one that the files no longer name. Each copy leaves a gap.
        #[arg(long, value_name = "UPSTREAM", conflicts_with = "name")]
        destination: Option<String>,
        /// It is meant although the files still name the upstream.
        #[arg(long, requires = "destination")]
        yes: bool,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        shared: Shared,
    },
    /// List writes that were served and not copied, the newest first.
    #[command(long_about = help::GAPS)]
    Gaps {
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        shared: Shared,
    },
    /// Try a destination at once that lets nobody in or fails, instead of after its wait.
    #[command(long_about = help::RESUME)]
    Resume {
        /// The upstream.
        destination: String,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        shared: Shared,
    },
}

/// How much of a list is shown.
#[derive(Debug, Args)]
struct Part {
    /// How many entries at most: of a list of copies, or of each destination's gaps.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE)))]
    limit: u32,
    /// List all of them.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

#[derive(Debug, Args)]
struct Why {
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
struct Shared {
    #[command(flatten)]
    router: RouterArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(args: &JournalArgs) -> ExitCode {
    let (verb, shared) = args.verb.named();
    let client = match Client::of(&shared.router) {
        Ok(client) => client,
        Err(code) => return code,
    };
    match args.verb.ask(&client) {
        Ok((body, _)) if shared.json => print(&format!("{body:#}\n")),
        Ok((_, text)) => print(&text),
        Err(failure) => return failure.tell(verb, shared.json),
    }
    ExitCode::SUCCESS
}

impl JournalVerb {
    /// Its name for scripts, and what all verbs have.
    const fn named(&self) -> (&'static str, &Shared) {
        match self {
            Self::Status(shared) => ("journal status", shared),
            Self::List { shared, .. } => ("journal list", shared),
            Self::Show { shared, .. } => ("journal show", shared),
            Self::Replay { shared, .. } => ("journal replay", shared),
            Self::Drop { shared, .. } => ("journal drop", shared),
            Self::Gaps { shared, .. } => ("journal gaps", shared),
            Self::Resume { shared, .. } => ("journal resume", shared),
        }
    }

    /// Asks the router; gives its answer and the text for people.
    fn ask(&self, client: &Client) -> Result<(Value, String), Failure> {
        match self {
            Self::Status(_) => told(client.get("/api/v1/journal")?, shown::status),
            Self::List { group, part, .. } => list(client, group.as_deref(), part),
            Self::Show { copy, .. } => {
                told(client.get(&format!("/api/v1/journal/parked/{}", escaped(copy)))?, shown::show)
            }
            Self::Gaps { part, .. } => gaps(client, part),
            Self::Replay { name, body, target, yes, why, .. } => {
                let mut wish = json!({"reason": why.reason, "confirm": yes});
                if let Some(file) = body {
                    let text = std::fs::read_to_string(file);
                    wish["body"] = text.map_err(|error| format!("{}: {error}", file.display()))?.into();
                }
                if let Some(target) = target {
                    wish["target"] = target.as_str().into();
                }
                told(client.post(&format!("/api/v1/journal/parked/{}/replay", escaped(name)), &wish)?, shown::done)
            }
            Self::Drop { destination: Some(destination), yes, why, shared, .. } => {
                waiting::drop_all(client, destination, &why.reason, *yes, shared.json)
            }
            Self::Drop { name, why, .. } => {
                let path = format!("/api/v1/journal/parked/{}/drop", escaped(name.as_deref().unwrap_or_default()));
                told(client.post(&path, &json!({"reason": why.reason}))?, shown::done)
            }
            Self::Resume { destination, why, .. } => {
                let path = format!("/api/v1/journal/destinations/{}/resume", escaped(destination));
                told(client.post(&path, &json!({"reason": why.reason}))?, shown::resumed)
            }
        }
    }
}

fn told(reply: Reply, text: fn(&Value) -> String) -> Result<(Value, String), Failure> {
    let text = text(&reply.body);
    Ok((reply.body, text))
}

/// Lists groups and copies, and says how many copies are not listed.
fn list(client: &Client, group: Option<&str>, part: &Part) -> Result<(Value, String), Failure> {
    let of_group = group.map_or_else(String::new, |group| format!("&group={}", escaped(group)));
    let mut body = client.get(&format!("/api/v1/journal/parked?limit={}{of_group}", part.limit))?.body;
    if part.all {
        let mut parked = client.walk("parked")?;
        parked.retain(|copy| group.is_none_or(|group| copy["group"] == group));
        parked.sort_by_key(|copy| copy["unix_ms"].as_u64());
        body["parked"] = parked.into();
    }
    let text = shown::list(&body, group);
    Ok((body, text))
}

/// Lists gaps, and says where there may be more.
fn gaps(client: &Client, part: &Part) -> Result<(Value, String), Failure> {
    if part.all {
        let mut gaps = client.walk("gaps")?;
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap["unix_ms"].as_u64()));
        let body = json!({"gaps": gaps});
        let text = shown::gaps(&body, None);
        return Ok((body, text));
    }
    let body = client.get(&format!("/api/v1/journal/gaps?limit={}", part.limit))?.body;
    let text = shown::gaps(&body, Some(part.limit));
    Ok((body, text))
}
