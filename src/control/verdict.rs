//! Owns the last judgement about the files, for whoever asks how they stand; it never judges.

use std::time::Duration;

use super::overrides::unix_ms;
use super::report::{FindingReport, ReloadReport};
use crate::config::{Diagnostic, Format, Positions, Report};
use crate::observe::Reload;

/// The most findings that are kept; `check` shows all.
const FINDINGS_MAX: usize = 100;

/// The last judgement.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    last: Option<(Reload, u64)>,
    findings: Vec<FindingReport>,
    rendered: String,
}

impl Verdict {
    /// Keeps what was found, in a bounded form.
    pub(super) fn of(last: Option<Reload>, report: &Report) -> Self {
        let mut kept = report.clone();
        if kept.diagnostics.len() > FINDINGS_MAX {
            kept.diagnostics.sort_by_key(|found| std::cmp::Reverse(found.severity));
            kept.diagnostics.truncate(FINDINGS_MAX);
            kept.sort();
        }
        let mut positions = Positions::default();
        let findings = kept.diagnostics.iter().map(|found| finding(found, &mut positions)).collect();
        let mut rendered = kept.render(Format::Text { colour: false });
        if !rendered.is_empty() {
            rendered.push_str(&report.summary());
            rendered.push('\n');
        }
        Self { last: last.map(|last| (last, unix_ms())), findings, rendered }
    }

    pub(super) fn shown(&self, restored: Option<u64>, stale_for: Duration) -> ReloadReport {
        ReloadReport {
            last: self.last.map_or("none", |(last, _)| last.as_str()).to_owned(),
            at_unix_ms: self.last.map(|(_, at)| at),
            stale_s: stale_for.as_secs(),
            restored,
            diagnostics: self.findings.clone(),
            rendered: self.rendered.clone(),
        }
    }
}

fn finding(found: &Diagnostic, positions: &mut Positions) -> FindingReport {
    let at = found.place.as_ref().map(|place| positions.start(place));
    FindingReport {
        severity: found.severity.as_str().to_owned(),
        code: found.code.to_owned(),
        path: found.place.as_ref().map(|place| place.file.path.display().to_string()),
        line: at.map(|at| at.line),
        column: at.map(|at| at.column),
        message: found.message.clone(),
        help: found.help.clone(),
    }
}
