//! Owns how the status of a router is shown to people: one screen, the worst first. It asks nobody.

use std::fmt::Write as _;

use crate::config::visible;
use crate::control::{FlagReport, InForce, ListenerKind, StatusReport, UpstreamReport};

/// The most lines of a section; `--json` has all.
const ROWS_MAX: usize = 20;
/// The most letters of somebody's reason.
const REASON_LETTERS_MAX: usize = 80;

/// The whole screen.
pub(super) fn screen(status: &StatusReport) -> String {
    let mut text = String::new();
    head(&mut text, status);
    problems(&mut text, status);
    let moving = status.flags.iter().filter(|flag| !flag.at_rest && flag.in_force.source == "file");
    section(&mut text, "not at rest", moving.map(|flag| [flag.key.clone(), shares(flag), life(flag)]));
    section(&mut text, "overrides", overrides(status));
    section(&mut text, "upstreams", status.upstreams.iter().map(upstream));
    let stale =
        |flag: &FlagReport| flag.stale.iter().map(|stale| [flag.key.clone(), stale.text.clone()]).collect::<Vec<_>>();
    section(&mut text, "stale flags", status.flags.iter().flat_map(stale));
    text
}

fn head(text: &mut String, status: &StatusReport) {
    let ready = if status.ready { "ready" } else { "NOT READY" };
    let up = span(status.now_unix_ms.saturating_sub(status.started_unix_ms));
    let StatusReport { version, generation, phase, hashing, .. } = status;
    row(text, "banyan", &format!("{version}, {phase}, {ready}, up {up}"));
    row(text, "generation", &format!("{generation}, buckets by {hashing}"));
    let listeners: Vec<String> =
        status.listeners.iter().map(|listener| format!("{} ({})", listener.address, kind(listener.kind))).collect();
    row(text, "listening", &listeners.join(", "));
    row(text, "files", &files(status));
    let at_rest = status.flags.iter().filter(|flag| flag.at_rest).count();
    let (flags, routes) = (status.flags.len(), status.routes.len());
    row(text, "holds", &format!("{flags} flags, {at_rest} of them at rest; {routes} routes"));
}

fn kind(kind: ListenerKind) -> &'static str {
    match kind {
        ListenerKind::Clients => "clients",
        ListenerKind::ClientsTls => "clients, TLS",
        ListenerKind::Admin | ListenerKind::AdminSocket => "admin",
    }
}

fn files(status: &StatusReport) -> String {
    let reload = &status.reload;
    let ago = reload.at_unix_ms.map(|at| format!("{} ago", span(status.now_unix_ms.saturating_sub(at))));
    let ago = ago.unwrap_or_else(|| "since the start".to_owned());
    let verdict = match reload.last.as_str() {
        "published" => format!("published {ago}"),
        "rejected" => format!("REFUSED {ago}"),
        "held" => format!("changed {ago}, waiting for the end of a restore"),
        "unchanged" => format!("in force again {ago}"),
        _ => format!("in force {ago}"),
    };
    let count = |severity: &str| reload.diagnostics.iter().filter(|found| found.severity == severity).count();
    let counts = [("error", count("error")), ("warning", count("warning"))];
    let counts: Vec<String> = (counts.iter().filter(|(_, count)| *count > 0))
        .map(|(what, count)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    if counts.is_empty() { verdict } else { format!("{verdict}; {}", counts.join(", ")) }
}

fn problems(text: &mut String, status: &StatusReport) {
    if status.problems.is_empty() {
        row(text, "wrong", "nothing");
        return;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\nWRONG");
    for problem in status.problems.iter().take(ROWS_MAX) {
        let _ = writeln!(text, "  {} [{}]: {}", problem.severity, problem.code, visible(&problem.text));
        let _ = writeln!(text, "    {}", visible(&problem.help));
    }
    more(text, status.problems.len());
}

/// The shares in force, and those of the file where they differ.
fn shares(flag: &FlagReport) -> String {
    let of = |share: fn(&crate::control::VariantReport) -> Option<f64>| {
        let shares = flag.variants.iter().filter_map(|variant| Some((variant, share(variant)?)));
        shares.map(|(variant, share)| format!("{} {}", variant.name, percent(share))).collect::<Vec<_>>().join(", ")
    };
    let shares = of(|variant| variant.share);
    if shares.is_empty() { "by its rule".to_owned() } else { shares }
}

/// Whose it is and until when.
fn life(flag: &FlagReport) -> String {
    let owner = flag.owner.as_deref().unwrap_or("nobody");
    let expires = flag.expires.as_ref().map(|day| format!(", until {day}")).unwrap_or_default();
    format!("owner {owner}{expires}")
}

/// What lies over the files, that for all flags once.
fn overrides(status: &StatusReport) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    let of_all = |flag: &&FlagReport| matches!(flag.in_force.source.as_str(), "kill_all" | "break_glass");
    if let Some(flag) = status.flags.iter().find(of_all) {
        rows.push(["every flag".to_owned(), "killed".to_owned(), reason(&flag.in_force, status.now_unix_ms)]);
        return rows;
    }
    for flag in &status.flags {
        let pins = if flag.pins == 1 { "1 pin".to_owned() } else { format!("{} pins", flag.pins) };
        let what = match flag.in_force.source.as_str() {
            "kill" => "killed".to_owned(),
            "split" if flag.pins > 0 => format!("{}, {pins}", shares(flag)),
            "split" => shares(flag),
            "pin" => pins,
            _ => continue,
        };
        rows.push([flag.key.clone(), what, reason(&flag.in_force, status.now_unix_ms)]);
    }
    rows
}

fn reason(in_force: &InForce, now_unix_ms: u64) -> String {
    let who = in_force.who.as_deref().unwrap_or("somebody");
    let why: String = in_force.why.as_deref().unwrap_or_default().chars().take(REASON_LETTERS_MAX).collect();
    let since = in_force.since_unix_ms.map(|since| format!(" {} ago", span(now_unix_ms.saturating_sub(since))));
    let until = in_force.until_unix_ms.map(|until| format!(", ends in {}", span(until.saturating_sub(now_unix_ms))));
    format!("by {who}{}{}: {why}", since.unwrap_or_default(), until.unwrap_or_default())
}

fn upstream(upstream: &UpstreamReport) -> [String; 3] {
    let serving = upstream.endpoints.iter().filter(|endpoint| endpoint.share > 0.0).count();
    let health = format!("{serving} of {} in service", upstream.endpoints.len());
    let traffic = match (upstream.requests, upstream.p50_ms.zip(upstream.p99_ms)) {
        (0, _) | (_, None) => "no requests yet".to_owned(),
        (requests, Some((p50, p99))) => {
            let errors = percent(upstream.errors as f64 / requests as f64);
            format!("{requests} requests, {errors} errors, p50 {p50:.1} ms, p99 {p99:.1} ms")
        }
    };
    [upstream.name.clone(), if upstream.all_unhealthy { "OUT".to_owned() } else { health }, traffic]
}

/// A heading and aligned rows, or nothing.
fn section<const N: usize>(text: &mut String, heading: &str, rows: impl IntoIterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(|cell| visible(&cell))).collect();
    if rows.is_empty() {
        return;
    }
    let width = |column: usize| rows.iter().take(ROWS_MAX).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n{heading}");
    for row in rows.iter().take(ROWS_MAX) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    more(text, rows.len());
}

fn more(text: &mut String, rows: usize) {
    if rows > ROWS_MAX {
        let _ = writeln!(text, "  and {} more; --json shows all", rows - ROWS_MAX);
    }
}

fn row(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name:<11} {}", visible(value));
}

/// At most three decimals, as shares are given.
fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A span of time in its two largest units.
fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match (s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, min, s) => format!("{min} min {s} s"),
        (0, h, min, _) => format!("{h} h {min} min"),
        (days, h, ..) => format!("{days} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_shares_are_short() {
        let spans = [999, 61_000, 3_660_000, 90_000_000].map(span);
        assert_eq!(spans, ["0 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
        let shares = [0.0, 0.00001, 0.125, 1.0, 1.0 / 3.0].map(percent);
        assert_eq!(shares, ["0%", "0.001%", "12.5%", "100%", "33.333%"]);
    }
}
