//! Owns one attempt from reading the write back to its end: what is to be parked is in the tables when it is over.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::Courier;
use super::deliver::{Attempt, Blame, End, blocking};
use super::schedule::Job;
use super::source::Source;
use super::told::Told;
use crate::journal::{ReadError, Side};
use crate::mirror::record::{Body, Class, Intent, Settled};
use crate::mirror::tables::{Arrival, Later, Parked, Story};
use crate::snapshot::CopyRules;

/// Makes one attempt; what is to be parked is in the tables when it returns.
pub(super) async fn attempt(courier: &Rc<Courier>, source: &Source, no_rules: &Arc<CopyRules>, job: &Job) -> End {
    if job.class == Some(Class::Rejected) {
        return End::Settled(Settled::Rejected);
    }
    let (intent, body) = match read_intent(source, job).await {
        Ok(read) => read,
        Err(end) => return end,
    };
    let view = courier.view();
    let rules = view.rules(&intent.route).unwrap_or(no_rules);
    let end = if job.superseded {
        End::Park { reason: "superseded", told: Told::ours("the other side serves what it is about now") }
    } else if job.covered {
        End::Settled(Settled::Resolved)
    } else if let Some(pool) = view.pool(&intent.destination) {
        let (mirror, asker) = (&courier.mirror, &courier.asker);
        let attempt =
            Attempt { mirror, asker, view: &view, rules, job, intent: &intent, body: body.clone(), destination: pool };
        attempt.run().await
    } else {
        End::Unsent { why: "the files name no such upstream".to_owned() }
    };
    let end = match end {
        End::Again { blame: Blame::Copy, told, .. } if job.attempts + 1 >= rules.attempts_max => {
            End::Park { reason: "attempts", told }
        }
        End::Again { told, .. } if job.attempts >= rules.attempts_max => End::Park { reason: "attempts", told },
        other => other,
    };
    match end {
        End::Park { reason, told } => park(courier, job, intent, body, reason, told).await,
        // A replay that arrived, or a copy that was parked just before the end of an earlier run; or there are gaps, or older ones
        // parked, about what it is about.
        End::Settled(how) if courier.mirror.tables().minds(&intent.destination, intent.is_reconciling()) => {
            let (mirror, arrival) = (Arc::clone(&courier.mirror), arrival(job, &intent, how));
            blocking(move || mirror.tables().arrive(&arrival)).await.map_or_else(|end| end, |()| End::Settled(how))
        }
        other => other,
    }
}

/// What is noted of a copy that has come to its end.
fn arrival(job: &Job, intent: &Intent, how: Settled) -> Arrival {
    let has_arrived = matches!(how, Settled::Delivered | Settled::Resolved);
    Arrival {
        destination: intent.destination.clone(),
        id: job.id,
        entity: job.entity.as_deref().map(Into::into),
        write: Later {
            method: intent.method.clone(),
            target: intent.target.clone(),
            key: intent.key.clone(),
            unix_ms: intent.unix_ms,
        },
        has_arrived,
        state_since_unix_ms: (has_arrived && intent.is_reconciling()).then_some(intent.unix_ms),
    }
}

/// Reads the write back, unless it was kept.
async fn read_intent(source: &Source, job: &Job) -> Result<(Rc<Intent>, Bytes), End> {
    let failed = |why: String| End::Unsent { why };
    let lost = |why: &dyn std::fmt::Display| {
        tracing::error!(lsn = job.lsn.0, error = %why, "a copy cannot be read back and is given up");
        End::Settled(Settled::Dropped)
    };
    let intent = match &job.intent {
        Some(kept) => Rc::clone(kept),
        None => match source.journal().read(job.lsn) {
            Ok(record) => Rc::new(Intent::decode(&record.payload).map_err(|error| lost(&error))?),
            Err(error @ ReadError::Io(_)) => return Err(failed(error.to_string())),
            Err(error) => return Err(lost(&error)),
        },
    };
    let body = match (&intent.body, job.side) {
        (Body::Inline(parts), _) => match &**parts {
            [only] => only.clone(),
            many => many.concat().into(),
        },
        (Body::Side(_), Some(side)) => read_side(source, side).await.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::NotFound => lost(&error),
            _ => failed(error.to_string()),
        })?,
        (Body::Side(_), None) => return Err(lost(&"its record names no side file")),
    };
    Ok((intent, body))
}

/// Reads a large body where nobody waits for the disk.
async fn read_side(source: &Source, side: Side) -> io::Result<Bytes> {
    let source = source.clone();
    tokio::task::spawn_blocking(move || source.journal().read_side(side)).await.map_err(io::Error::other)?
}

/// Sets a copy aside, body and all, before its settlement says so.
async fn park(courier: &Courier, job: &Job, intent: Rc<Intent>, body: Bytes, reason: &'static str, told: Told) -> End {
    let mut intent = Rc::unwrap_or_clone(intent);
    intent.body = Body::Inline(vec![body]);
    intent.entity = job.entity.as_deref().map(Into::into);
    let mirror = Arc::clone(&courier.mirror);
    let story = Story {
        reason: reason.into(),
        came: told.came.clone().into(),
        said: told.said.clone().into(),
        shape: told.shape().into(),
        attempts: job.failures + u32::from(!job.superseded),
        unix_ms: mirror.unix_ms(),
        primary_status: job.status,
        created: job.created.as_deref().map(Into::into),
    };
    let parked = Parked { story, intent };
    let parking = blocking(move || mirror.tables().park(&parked)).await;
    parking.map_or_else(|end| end, |()| End::Park { reason, told })
}
