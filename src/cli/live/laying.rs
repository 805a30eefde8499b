//! Owns what `set` and `pin` have in common: telling the running router, or editing a file with a look at what lies over it there.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::{Client, Order, RouterArgs};
use crate::cli::edit::{self, EditArgs, Files, Plan, Refused};
use crate::config::Format;
use crate::control::{InForce, StatusReport, parse_lasts};

/// The options by which an override is laid or taken back.
#[derive(Debug, Args)]
pub(in crate::cli) struct LiveArgs {
    /// Tell the running router instead of editing the file: an override, in force until it is taken back.
    #[arg(long, requires = "reason")]
    pub(in crate::cli) live: bool,
    /// After how long the override ends by itself: 90s, 30m, 12h, 7d.
    #[arg(long = "for", requires = "live", value_name = "TIME", value_parser = |text: &str| parse_lasts(text))]
    lasts: Option<Duration>,
    /// Take back what --live has laid.
    #[arg(long, requires = "live", conflicts_with = "lasts")]
    pub(in crate::cli) release: bool,
    #[command(flatten)]
    router: RouterArgs,
}

impl LiveArgs {
    /// Gives the order about a flag, whose body has these members besides reason and time.
    pub(in crate::cli) fn give(
        &self,
        edit: &EditArgs,
        flag: &str,
        verb: &'static str,
        mut body: Map<String, Value>,
    ) -> ExitCode {
        body.insert("reason".to_owned(), edit.reason.clone().into());
        if let Some(lasts) = self.lasts {
            body.insert("for".to_owned(), format!("{}s", lasts.as_secs()).into());
        }
        let order = Order { verb, path: Order::path(flag, verb), body: body.into(), dry_run: edit.dry_run };
        match edit.settings(self.router.state.clone()) {
            Ok(settings) => order.run(&Client::new(&self.router, &settings.state), edit.json),
            Err(report) => {
                eprint!("{}", report.render(Format::Text { colour: false }));
                ExitCode::from(2)
            }
        }
    }

    /// Edits the file of a flag, and says where the running router has something over it that keeps the edit from working.
    pub(in crate::cli) fn edit(
        &self,
        edit: &EditArgs,
        flag: &str,
        verb: &'static str,
        plan: impl FnOnce(&Files) -> Result<Plan, Refused>,
    ) -> ExitCode {
        let mut shown = edit::attempt(edit, self.router.state.as_deref(), verb, plan);
        let in_force = shown.state().and_then(|state| in_force(&Client::new(&self.router, state), flag));
        if let Some((what, way_back)) = in_force.and_then(|found| lies_over(&found, flag, verb)) {
            let message = format!("{what}; that still holds, and nobody moves until it is taken back");
            shown.note("lies-over", &message, &way_back);
        }
        shown.print(edit.json)
    }
}

/// What decides about a flag in the running router; `None` where none answers, which is no matter of an edit.
fn in_force(client: &Client, flag: &str) -> Option<InForce> {
    let status = client.get("/api/v1/status").ok()?;
    let status = StatusReport::deserialize(&status.body).ok()?;
    status.flags.into_iter().find(|known| known.key == flag).map(|known| known.in_force)
}

/// What lies over the file so that an edit of it moves nobody, and how it is taken back.
fn lies_over(in_force: &InForce, flag: &str, verb: &str) -> Option<(String, String)> {
    let (who, why) = (in_force.who.as_deref().unwrap_or("somebody"), in_force.why.as_deref().unwrap_or_default());
    let (what, way_back) = match &*in_force.source {
        "kill" => {
            (format!("the flag `{flag}` is killed"), format!("`banyan revive {flag} --reason TEXT` takes it back"))
        }
        "kill_all" => {
            ("every flag is killed".to_owned(), "`banyan revive --all --reason TEXT` takes it back".to_owned())
        }
        "break_glass" => (
            "every flag is killed by the file KILL".to_owned(),
            "remove that file from the state directory, or `banyan revive --all --reason TEXT` after a signal"
                .to_owned(),
        ),
        "split" if verb == "set" => (
            format!("shares of `{flag}` were set with --live"),
            format!("`banyan set {flag} --live --release --reason TEXT` takes them back"),
        ),
        _ => return None,
    };
    Some((format!("{what} in the running router, by {who}: {why}"), way_back))
}
