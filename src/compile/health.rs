//! Owns the way from health checks and ejection as written to what the data plane and the checks follow.

use http::uri::PathAndQuery;

use super::upstreams::authority;
use crate::config::{Diagnostic, HealthDoc, Report, Text, UpstreamDoc};
use crate::upstream::{AllUnhealthy, Ejection, HealthCheck};

/// From one check to the next, for an upstream that says nothing: a dead endpoint is out within about three seconds.
const INTERVAL_MS: u32 = 1_000;
/// How long an answer may take, shorter than the interval.
const TIMEOUT_MS: u32 = 500;
/// Passed checks in a row that make an endpoint healthy again.
const HEALTHY_AFTER: u32 = 2;
/// Failed checks in a row that make it unhealthy.
const UNHEALTHY_AFTER: u32 = 3;
/// The statuses that pass.
const EXPECT_STATUS: (u16, u16) = (200, 299);

/// Compiles `health:`; `None` after a report.
pub(super) fn check(doc: &HealthDoc, report: &mut Report) -> Option<HealthCheck> {
    let target = target(&doc.path, report);
    let host = doc.host.as_ref().map(|host| authority(host, report));
    let interval_ms = doc.interval_ms.unwrap_or(INTERVAL_MS);
    let (first, last) = doc.expect_status.unwrap_or(EXPECT_STATUS);
    Some(HealthCheck {
        target: target?,
        host: match host {
            Some(host) => Some(host?),
            None => None,
        },
        interval_ms,
        timeout_ms: doc.timeout_ms.unwrap_or(TIMEOUT_MS.min(interval_ms)),
        healthy_after: doc.healthy_after.unwrap_or(HEALTHY_AFTER),
        unhealthy_after: doc.unhealthy_after.unwrap_or(UNHEALTHY_AFTER),
        expect_status: first..=last,
    })
}

fn target(text: &Text, report: &mut Report) -> Option<PathAndQuery> {
    let found = text.text.parse::<PathAndQuery>().ok().filter(|_| text.text.starts_with('/'));
    if found.is_none() {
        let message = format!("`{}` is not a path", text.text);
        report.push(Diagnostic::error("bad-path", &text.place, message).help("write a path, such as /healthz"));
    }
    found
}

/// Compiles when endpoints are ejected.
pub(super) fn ejection(doc: &UpstreamDoc, report: &mut Report) -> Ejection {
    let default = Ejection::default();
    let ms = doc.eject_ms.unwrap_or(default.ms);
    if let Some((place, max)) = doc.eject_ms_max.as_ref().filter(|(_, max)| *max < ms) {
        let message = format!("`eject_ms_max` is {max}, less than `eject_ms`, which is {ms}");
        report.push(Diagnostic::error("out-of-range", place, message).help("make it the longer of the two"));
    }
    Ejection {
        after_failures: doc.eject_after_failures.unwrap_or(default.after_failures),
        ms,
        ms_max: doc.eject_ms_max.as_ref().map_or(default.ms_max.max(ms), |(_, max)| *max),
        share_max_percent: doc.eject_share_max_percent.unwrap_or(default.share_max_percent),
        on_5xx: doc.eject_on_5xx,
    }
}

/// Compiles what happens when no endpoint is in service.
pub(super) fn all_unhealthy(written: Option<&Text>, report: &mut Report) -> AllUnhealthy {
    match written.map(|text| (&*text.text, text)) {
        None | Some(("serve", _)) => AllUnhealthy::Serve,
        Some(("refuse", _)) => AllUnhealthy::Refuse,
        Some((other, text)) => {
            let message = format!("`all_unhealthy` cannot be `{other}`");
            let help = "write `serve` (all endpoints serve all the same) or `refuse` (503 at once)";
            report.push(Diagnostic::error("bad-choice", &text.place, message).help(help));
            AllUnhealthy::default()
        }
    }
}
