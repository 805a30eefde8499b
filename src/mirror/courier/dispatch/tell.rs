//! Owns what the delivery to one destination says of itself: its standing, its log, the gaps that it leaves.

use super::Dispatch;
use crate::mirror::board::Standing;
use crate::mirror::courier::schedule::Job;
use crate::mirror::courier::told::Told;
use crate::mirror::record::{Gap, Intent};

impl Dispatch {
    /// Leaves a gap for a copy that cannot be read back.
    pub(super) fn leave_gap(&self, job: &Job) {
        self.courier.mirror.leave_gap(&self.gap(job, None, "unreadable"));
    }

    /// The gap that a copy leaves; without its intent less is known.
    pub(super) fn gap(&self, job: &Job, intent: Option<&Intent>, reason: &str) -> Gap {
        let text = |of: fn(&Intent) -> &str| intent.map(of).unwrap_or_default().into();
        Gap {
            destination: self.destination.name.clone(),
            route: text(|intent| &intent.route),
            entity: job.entity.as_deref().map(Into::into),
            method: text(|intent| &intent.method),
            target: text(|intent| &intent.target),
            reason: reason.into(),
            unix_ms: job.unix_ms,
        }
    }

    pub(super) fn log_parked(&self, job: &Job, reason: &str, told: &Told) {
        tracing::warn!(
            destination = &*self.destination.name,
            copy = format!("{:032x}", job.id.0),
            entity = job.entity.as_deref(),
            reason,
            came = told.came,
            said = told.said,
            "a copy is parked"
        );
    }

    pub(super) fn show(&self) {
        let standing = Standing {
            oldest_unix_ms: self.schedule.oldest_unix_ms(),
            bytes: self.schedule.bytes(),
            breaker: self.breaker.name(),
            trouble: self.trouble.clone(),
            ended: self.ended,
            failures: self.failures,
        };
        self.courier.mirror.board().show(&self.destination.name, standing);
    }
}
