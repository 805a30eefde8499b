//! Owns what the report calls wrong, and what to do about it; stale flags are no problem of the running router.

use super::shape::{Problem, StatusReport};
use super::{Moment, Sources};
use crate::config::Severity;
use crate::control::overrides::Note;
use crate::mirror::CopiesStatus;
use crate::observe::ControlMetrics;

/// Collects problems.
#[derive(Default)]
struct Found(Vec<(Severity, Problem)>);

impl Found {
    fn tell(&mut self, severity: Severity, code: &str, text: String, help: &str) {
        let (code, help) = (code.to_owned(), help.to_owned());
        self.0.push((severity, Problem { severity: severity.as_str().to_owned(), code, text, help }));
    }

    fn error(&mut self, code: &str, text: impl Into<String>, help: &str) {
        self.tell(Severity::Error, code, text.into(), help);
    }

    fn warn(&mut self, code: &str, text: impl Into<String>, help: &str) {
        self.tell(Severity::Warning, code, text.into(), help);
    }
}

/// Everything that is wrong, the worst first.
pub(super) fn problems(
    report: &StatusReport,
    copied: Option<&CopiesStatus>,
    moment: &Moment,
    sources: &Sources,
) -> Vec<Problem> {
    let mut found = Found::default();
    let metrics = sources.publications.metrics();
    if let Some(why) = sources.readiness.why_not() {
        found.error("not-ready", format!("it takes no traffic: {why}"), "wait, or look at the log");
    }
    overrides(&mut found, moment, &metrics.control);
    files(&mut found, report);
    upstreams(&mut found, report);
    if let Some(copied) = copied {
        copies(&mut found, copied, report);
    }
    let refused = metrics.certificates.refused.value();
    if refused > 0 {
        let text = format!("{refused} certificate files are not used, or their time is not now");
        found.error("certificates", text, "the log names them; renew them");
    }
    let panics = metrics.panics();
    if panics > 0 {
        let text = format!("{panics} panics since the start; each cost one request");
        found.warn("panics", text, "report them as a bug of banyan with the log");
    }
    found.0.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
    found.0.into_iter().map(|(_, problem)| problem).collect()
}

fn overrides(found: &mut Found, moment: &Moment, control: &ControlMetrics) {
    let said = |note: &Note| format!("by {}: {}", note.who, note.why);
    if let Some(note) = &moment.glass {
        let text = format!("every flag gives its fallback, {}", said(note));
        found.warn("break-glass", text, "remove the file KILL from the state directory when it is over");
    }
    if let Some(note) = &moment.book.kill_all {
        let text = format!("every flag gives its fallback, {}", said(note));
        found.warn("kill-all", text, "`banyan revive --all` takes it back");
    }
    if control.overrides_undurable.value() != 0 {
        let text = "the overrides in force are not on disk: a restart would lose them";
        found.error(
            "not-durable",
            text,
            "make room on the disk of the state directory; it is tried again every second",
        );
    }
    let misfits = control.overrides_misfit.value();
    if misfits > 0 {
        let text = format!("{misfits} overrides do not apply to the files in force");
        found.error(
            "override-misfit",
            text,
            "`overrides` says which and why; mend the files, or take the overrides back",
        );
    }
    let lost = control.history_lost.value();
    if lost > 0 {
        found.warn("history-lost", format!("{lost} entries of the history could not be written"), "look at the disk");
    }
}

fn files(found: &mut Found, report: &StatusReport) {
    let reload = &report.reload;
    if reload.last == "rejected" {
        let text = format!("the files on disk are refused; generation {} stays in force", report.generation);
        found.error("rejected", text, "`banyan check` shows what to mend");
    }
    if let Some(restored) = reload.restored {
        let waiting = if reload.last == "held" { "; changed files wait" } else { "" };
        let text = format!("the rules of generation {restored} are restored{waiting}");
        found.warn("restored", text, "release the restore when the files are right");
    }
}

fn upstreams(found: &mut Found, report: &StatusReport) {
    for upstream in &report.upstreams {
        let name = &upstream.name;
        if upstream.all_unhealthy {
            let text = format!("no endpoint of the upstream `{name}` is in service");
            found.error("upstream-out", text, "look at the upstream; flags that lead there can be killed");
            continue;
        }
        if upstream.endpoints.is_empty() {
            let text = format!("the upstream `{name}` has no address");
            found.error(
                "upstream-unresolved",
                text,
                "its names cannot be resolved; look at the log and at the name server",
            );
            continue;
        }
        for endpoint in upstream.endpoints.iter().filter(|endpoint| endpoint.share == 0.0) {
            let text = format!("the endpoint {} of the upstream `{name}` is out of service", endpoint.address);
            found.warn("endpoint-out", text, "it fails its checks or its requests; the others serve");
        }
    }
}

fn copies(found: &mut Found, copied: &CopiesStatus, report: &StatusReport) {
    let journal = &copied.journal;
    if journal.failing {
        let text =
            "the disk of the journal fails: writes are served without a copy, or refused where the route insists";
        found.error("journal-failing", text, "look at the disk of the state directory; it is tried again by itself");
    } else if journal.bytes >= journal.high_water_bytes {
        let text = "the journal is full: writes are served without a copy, or refused where the route insists";
        found.error("journal-full", text, "`banyan journal status` shows which destination takes nothing");
    }
    for destination in &copied.destinations {
        let (name, pending) = (&destination.name, destination.pending);
        let wait = if pending == 1 { "1 copy waits".to_owned() } else { format!("{pending} copies wait") };
        let why = destination.trouble.as_deref().unwrap_or("it fails");
        if pending > 0 && !report.upstreams.iter().any(|upstream| *upstream.name == **name) {
            let text = format!("{wait} for `{name}`, which the files no longer name");
            let drop = format!("banyan journal drop --destination {name} --reason TEXT");
            found.warn("copies-nowhere", text, &format!("name it again, or give them up: `{drop}`"));
        } else if destination.paused {
            let text = format!("{wait}: `{name}` lets nobody in: {why}");
            let help = format!("mend its credentials, then `banyan journal resume {name} --reason TEXT`");
            found.error("copies-paused", text, &help);
        } else if destination.breaker == "open" && pending > 0 {
            let text = format!("{wait} for `{name}`: {why}");
            found.warn("copies-wait", text, "look at the upstream; they go on by themselves");
        }
        if destination.parked > 0 {
            let text = match destination.parked {
                1 => format!("1 copy for `{name}` is parked"),
                parked => format!("{parked} copies for `{name}` are parked"),
            };
            found.warn("copies-parked", text, "`banyan journal list` shows why; replay or drop them, or reconcile");
        }
    }
}
