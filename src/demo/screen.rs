//! Owns how the demo's summary looks, on a terminal and as lines; it gathers nothing itself.

use std::fmt::Write as _;
use std::time::Duration;

use super::Plan;
use super::changes::Change;
use super::tally::{Answer, Summary, USERS};

/// Goes to the terminal's first line; what is drawn replaces what stood there, line by line, without a flicker.
const HOME: &str = "\x1b[H";
/// Clears the rest of the line, and all below.
const REST: &str = "\x1b[K\n";
const BELOW: &str = "\x1b[J";
/// The other screen of the terminal, so that what stood there before comes back; long lines are cut, not wrapped.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?1049l\x1b[?25h";
/// How long a bar for everybody is, in characters.
///
/// A line fits 80 columns.
const BAR: f64 = 12.0;

/// Draws the same summary again and again.
pub(super) struct Screen<'a> {
    plan: &'a Plan,
    is_plain: bool,
    /// The last change that was printed as a line.
    printed: u64,
}

impl<'a> Screen<'a> {
    pub(super) fn new(plan: &'a Plan, is_plain: bool) -> Self {
        Self { plan, is_plain, printed: 0 }
    }

    /// What is written once, before anything else.
    pub(super) fn begin(&self) -> String {
        if self.is_plain { format!("{}{}", self.title(), self.advice()) } else { ENTER.to_owned() }
    }

    /// What is written once, at the end.
    pub(super) fn end(&self) -> String {
        if self.is_plain { String::new() } else { LEAVE.to_owned() }
    }

    /// The summary as it is now.
    pub(super) fn draw(&mut self, summary: &Summary, elapsed: Duration) -> String {
        if self.is_plain { self.line(summary, elapsed) } else { self.screen(summary) }
    }

    fn generation(&self) -> u64 {
        self.plan.store.snapshot().generation
    }

    fn title(&self) -> String {
        let Plan { router, admin, places, .. } = self.plan;
        let written = if places.written { " (copies of the shipped files, written just now)" } else { "" };
        let (flags, routes) = (places.flags.display(), places.routes.display());
        format!("banyan demo: router http://{router}, admin http://{admin}\nfiles: {flags}, {routes}{written}\n")
    }

    fn advice(&self) -> String {
        let flags = self.plan.places.flags.display();
        let (admin, token, state) = (self.plan.admin, self.plan.token.display(), self.plan.state.display());
        format!(
            "\nWhat to try:\n  \
             edit {flags}/search.yaml: [modern, 50], [legacy, 50], and save\n  \
             set `state: DISABLED` in {flags}/orders.yaml: everybody is back on legacy\n  \
             look at the dashboard, http://{admin}/: its token stands in {token}\n  \
             break a file: the last good generation stays, and the mistake is shown here\n  \
             curl -i -H 'x-user-id: you' http://{}/search\n  \
             banyan status --state {state}\n\
             All commands that ask the router need this --state. Ctrl-C ends the demo.\n",
            self.plan.router
        )
    }

    fn screen(&self, summary: &Summary) -> String {
        let mut text = format!("{}\n", self.title());
        let (p50, p99) = summary.latency_ms;
        let (generation, failed, rate) = (self.generation(), summary.failed, summary.rate);
        let _ = writeln!(
            text,
            "{USERS} users · {rate:.0} requests/s · p50 {p50:.1} ms · p99 {p99:.1} ms · {failed} failed · generation {generation}\n"
        );
        let _ = writeln!(text, "{:<14} {:<17} {:<10} {:<10} share of users", "route", "flag", "variant", "served by");
        for (answer, share) in &summary.shares {
            let Answer { route, flag, variant, served_by } = answer;
            let bar = "█".repeat((share * BAR).round() as usize);
            let _ =
                writeln!(text, "{route:<14} {flag:<17} {variant:<10} {served_by:<10} {:>5.1} %  {bar}", share * 100.0);
        }
        if let Some(change) = self.plan.changes.last() {
            let _ = write!(text, "\n{} s ago, {}", change.at.elapsed().as_secs(), told(&change));
        }
        text.push_str(&self.advice());
        format!("{HOME}{}{BELOW}", text.replace('\n', REST))
    }

    fn line(&mut self, summary: &Summary, elapsed: Duration) -> String {
        let mut text = String::new();
        if let Some(change) = self.plan.changes.last().filter(|change| change.number != self.printed) {
            self.printed = change.number;
            text.push_str(&told(&change));
        }
        let (p50, p99) = summary.latency_ms;
        let _ = write!(
            text,
            "{:>4} s  generation {}  {:.0} requests/s  p50 {p50:.1} ms  p99 {p99:.1} ms  {} failed",
            elapsed.as_secs(),
            self.generation(),
            summary.rate,
            summary.failed
        );
        let mut route = "";
        for (Answer { route: this, variant, served_by, .. }, share) in &summary.shares {
            let start = if route == this { ", " } else { "  | " };
            let name = if route == this { String::new() } else { format!("{this}: ") };
            let gap = if variant.is_empty() { "" } else { " " };
            let _ = write!(text, "{start}{name}{variant}{gap}{:.1} % {served_by}", share * 100.0);
            route = this;
        }
        text.push('\n');
        text
    }
}

/// A change and what was found with it, each on a line.
fn told(change: &Change) -> String {
    let mut text = format!("{}\n", change.message);
    for finding in &change.findings {
        let _ = writeln!(text, "    {finding}");
    }
    text
}
