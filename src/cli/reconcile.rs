//! Owns the verb `reconcile`: entity by entity, both sides of a route are compared and made equal. The running router does it.

mod keys;
mod progress;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use self::keys::Keys;
use self::progress::Progress;
use super::live::{Client, Failure, RouterArgs};
use super::{REFUSED, print};
use crate::config::visible;

/// Entities of one request.
const BATCH: usize = 50;
/// Entities a second, unless said otherwise.
const RATE: u32 = 200;
/// Entities that the report names, of each kind.
const NAMED_MAX: usize = 20;

pub(super) const LONG: &str = "\
Compare both sides of a route, entity by entity, by GET, and send the state of the right side to the other through the lanes \
of copies: what is sent is read when its turn has come, so it cannot undo a newer write. Use it where writes passed the \
router by, for what one side had before copying began, and for gaps. A side that does not serve, or not alone, is taken for \
right only with --yes. Each run that sends something is in the history.

Where the entities come from: --listing (both sides are asked what they have), --keys (a file of ids or paths, one a line, \
`-` for stdin), --journal (gaps and parked copies of the route).

Examples:
  banyan reconcile orders --from monolith --listing /api/orders --dry-run
  banyan reconcile orders --from monolith --keys ids.txt --rate 50 --resume orders.progress
  banyan reconcile orders --from monolith --journal

Exit code 0: both sides say the same, or what differed is on its way. 1: something differs (--dry-run) or could not be compared, \
or it is refused. 2: wrong usage. 3: no router answers, or it does not let you in.";

/// The arguments of `reconcile`.
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// The route.
    route: String,
    /// The upstream that is right.
    #[arg(long, value_name = "UPSTREAM")]
    from: String,
    /// Path and query under which both sides list what they have.
    #[arg(long, value_name = "PATH", group = "source")]
    listing: Option<String>,
    /// A JSON pointer to the id of a listed item that is an object.
    #[arg(long, value_name = "POINTER", default_value = "/id", requires = "listing")]
    id: String,
    /// A file of ids or paths, one a line; `-` for stdin.
    #[arg(long, value_name = "FILE", group = "source")]
    keys: Option<PathBuf>,
    /// What the router knows to differ: the gaps and the parked copies of the route.
    #[arg(long, group = "source")]
    journal: bool,
    /// Entities a second at most.
    #[arg(long, value_name = "N", default_value_t = RATE, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// A file that remembers how far it came, and where to go on.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Compare, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// It is meant although the other side serves, or both do.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    router: RouterArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Default)]
struct Report {
    to: String,
    equal: u64,
    differing: Vec<String>,
    missing: Vec<String>,
    surplus: Vec<String>,
    failed: Vec<String>,
    sent: u64,
}

/// Runs the verb.
pub(super) fn run(args: &ReconcileArgs) -> ExitCode {
    if args.listing.is_none() && args.keys.is_none() && !args.journal {
        eprintln!("banyan: say where the entities come from: --listing PATH, --keys FILE or --journal");
        return ExitCode::from(2);
    }
    let client = match Client::of(&args.router) {
        Ok(client) => client,
        Err(code) => return code,
    };
    match reconcile(args, &client) {
        Ok(report) => report.show(args),
        Err(failure) => failure.tell("reconcile", args.json),
    }
}

fn reconcile(args: &ReconcileArgs, client: &Client) -> Result<Report, Failure> {
    let keys = Keys::gather(args, client)?;
    let mut progress = Progress::begin(args.resume.as_deref(), keys.list.len())?;
    let mut report = Report::default();
    let began = Instant::now();
    let mut done: u64 = 0;
    let run = format!("{:032x}", fastrand::u128(..));
    let mut batches = keys.list[progress.done.min(keys.list.len())..].chunks(BATCH).peekable();
    while let Some(batch) = batches.next() {
        // The whole of it is held to the rate, so that a slow request is made up for.
        let due = Duration::from_secs_f64(done as f64 / f64::from(args.rate));
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let body = json!({
            "route": args.route, "from": args.from, "entities": batch, "dry_run": args.dry_run, "confirm": args.yes, "run": run,
            "last": batches.peek().is_none(),
        });
        report.add(&client.post("/api/v1/reconcile", &body)?.body, |index| keys.place(progress.done + index));
        done += batch.len() as u64;
        progress.advance(batch.len())?;
    }
    progress.end();
    Ok(report)
}

impl Report {
    /// Adds what a router found; `place` says where an entity was named.
    fn add(&mut self, answer: &Value, place: impl Fn(usize) -> String) {
        self.to = answer["to"].as_str().unwrap_or_default().to_owned();
        for (index, result) in answer["results"].as_array().into_iter().flatten().enumerate() {
            let path = result["path"].as_str().unwrap_or_default().to_owned();
            self.sent += u64::from(result["sent"] == true);
            match result["verdict"].as_str().unwrap_or_default() {
                "equal" => self.equal += 1,
                "differs" => self.differing.push(path),
                "missing" => self.missing.push(path),
                "surplus" => self.surplus.push(path),
                _ => {
                    let why = result["why"].as_str().unwrap_or_default();
                    self.failed.push(format!("{}{path}: {why}", place(index)));
                }
            }
        }
    }

    fn differ(&self) -> usize {
        self.differing.len() + self.missing.len() + self.surplus.len()
    }

    fn show(&self, args: &ReconcileArgs) -> ExitCode {
        if args.json {
            let report = json!({
                "route": args.route, "from": args.from, "to": self.to, "dry_run": args.dry_run, "equal": self.equal,
                "differing": self.differing, "missing": self.missing, "surplus": self.surplus, "failed": self.failed, "sent": self.sent,
            });
            print(&format!("{report:#}\n"));
        } else {
            print(&self.text(args));
        }
        let is_well = self.failed.is_empty() && (self.differ() == 0 || !args.dry_run);
        if is_well { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
    }

    fn text(&self, args: &ReconcileArgs) -> String {
        let (from, to) = (&args.from, if self.to.is_empty() { "the other side" } else { &self.to });
        let mut text = format!("{} equal\n", self.equal);
        let kinds = [
            (&self.differing, "differ"),
            (&self.missing, "are missing there"),
            (
                &self.surplus,
                if args.dry_run {
                    "are there alone, and would be DELETED there"
                } else {
                    "are there alone, and are DELETED there"
                },
            ),
            (&self.failed, "could not be compared"),
        ];
        for (paths, what) in kinds.into_iter().filter(|(paths, _)| !paths.is_empty()) {
            text.push_str(&format!("{} {what}:\n", paths.len()));
            for path in paths.iter().take(NAMED_MAX) {
                text.push_str(&format!("  {}\n", visible(path)));
            }
            if paths.len() > NAMED_MAX {
                text.push_str(&format!("  and {} more; --json names all\n", paths.len() - NAMED_MAX));
            }
        }
        let end = match (self.differ(), args.dry_run) {
            (0, _) => String::new(),
            (_, true) => "nothing was sent\n".to_owned(),
            (_, false) => {
                format!(
                    "{} on their way from {from} to {to}; `banyan journal status` shows when they are there\n",
                    self.sent
                )
            }
        };
        text + &end
    }
}
