//! Owns what `set` and `pin` have in common where they tell the running router instead of editing files.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use super::{Client, Order, RouterArgs};
use crate::cli::edit::EditArgs;
use crate::config::Format;
use crate::control::parse_lasts;

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
}
