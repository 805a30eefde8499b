//! Owns what the API says of copied writes, and the orders about those that are parked. What they do is the mirror's.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::query::Query;
use super::routes::{CopyOrder, CopyRead};
use super::tokens::Caller;
use super::{Api, Problem, body, writes};
use crate::control::answer::{self, Answer};
use crate::control::history::Action;
use crate::mirror::{self, Edit, Mirror, OrderError, Position, TableError, Which};

/// Entries of one answer, at most.
const LIMIT_MAX: u64 = 1_000;
/// Entries of one answer, unless said otherwise.
const LIMIT: u64 = 100;
/// The longest reason in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// The body of an order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    reason: String,
    /// Another body for one copy.
    #[serde(default)]
    body: Option<String>,
    /// Another path and query for one copy.
    #[serde(default)]
    target: Option<Box<str>>,
    /// The order is meant although something speaks against it.
    #[serde(default)]
    confirm: bool,
}

impl CopyRead {
    /// The parameters of its query.
    pub(super) fn known(self) -> &'static [&'static str] {
        match self {
            Self::Status | Self::ParkedCopy => &[],
            Self::Parked => &["group", "limit", "after"],
            Self::Gaps => &["limit", "after"],
        }
    }
}

impl Api {
    /// Reads what is asked for of the copies.
    pub(super) fn read_copies(&self, what: CopyRead, name: &str, query: &Query) -> Result<Value, Problem> {
        let mirror = self.mirror()?;
        let limit = query.number("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let after = query.text("after").map(position).transpose()?;
        let shown = match (what, after) {
            (CopyRead::Parked, Some(after)) => {
                let (parked, next) = mirror.parked_behind(&after, limit).map_err(failed)?;
                Ok(json!({"groups": [], "parked": parked, "next": next.map(|next| next.to_text())}))
            }
            (CopyRead::Gaps, Some(after)) => {
                let (gaps, next) = mirror.gaps_behind(&after, limit).map_err(failed)?;
                Ok(json!({"gaps": gaps, "next": next.map(|next| next.to_text())}))
            }
            (CopyRead::Status, _) => serde_json::to_value(mirror.status(self.operator.in_force().copy_destinations())),
            (CopyRead::Parked, None) => {
                let groups = mirror.parked_groups().map_err(failed)?;
                let parked = mirror.parked_list(query.text("group"), limit).map_err(failed)?;
                Ok(json!({"groups": groups, "parked": parked}))
            }
            (CopyRead::ParkedCopy, _) => {
                let id = mirror::id_of(name).ok_or_else(|| absent_copy(name))?;
                let copies = mirror.parked_copies(id).map_err(failed)?;
                if copies.is_empty() {
                    return Err(absent_copy(name));
                }
                Ok(json!({"copies": copies}))
            }
            (CopyRead::Gaps, None) => Ok(json!({"gaps": mirror.gaps(limit).map_err(failed)?})),
        };
        shown.map_err(|error| Problem::internal(error.to_string()))
    }

    /// Carries out an order about parked copies, or about a destination that is left alone.
    pub(super) async fn order_copies(
        self: &Arc<Self>,
        order: CopyOrder,
        name: String,
        caller: &Caller,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let (head, body) = request.into_parts();
        Query::read(head.uri.query(), &[])?;
        let who = writes::who(&head.headers, caller)?;
        let body = body::read(&head.headers, body).await?;
        let wish: Wish = body::parse(&body)?;
        if wish.reason.trim().is_empty() || wish.reason.len() > REASON_BYTES_MAX {
            return Err(Problem::unfit(format!("give a reason of at most {REASON_BYTES_MAX} bytes, for the history")));
        }
        if order != CopyOrder::Replay && (wish.body.is_some() || wish.target.is_some()) {
            return Err(Problem::malformed("only a replay takes another body or target".to_owned()));
        }
        let api = Arc::clone(self);
        let done = self.writes.run(move || api.carry_out_copies(order, &name, &who, wish)).await;
        done.unwrap_or_else(|| Err(Problem::internal("the order could not be carried out".to_owned())))
    }

    /// Runs on a thread that may wait for the disk.
    fn carry_out_copies(&self, order: CopyOrder, name: &str, who: &str, wish: Wish) -> Result<Answer, Problem> {
        if order == CopyOrder::DropPending {
            return self.drop_pending(name, who, &wish);
        }
        let mirror = self.mirror()?;
        let which = mirror::id_of(name).map_or_else(|| Which::Group(name.to_owned()), Which::One);
        let edit = Edit { body: wish.body.map(Bytes::from), target: wish.target };
        let is_edited = edit != Edit::default();
        let (action, done) = match order {
            CopyOrder::Replay => (Action::Replay, mirror.replay(&which, &edit, wish.confirm)),
            CopyOrder::Drop => (Action::Drop, mirror.drop_parked(&which)),
            CopyOrder::Resume if mirror.resume(name) => (Action::Resume, Ok(1)),
            CopyOrder::Resume | CopyOrder::DropPending => return Err(no_destination(name)),
        };
        let copies = done.map_err(|error| refused(name, &error))?;
        let after = json!({"name": name, "copies": copies, "edited": is_edited});
        let written = self.operator.note_copies(action, who, &wish.reason, after);
        Ok(answer::json(&json!({"done": true, "copies": copies, "entry": written.entry})))
    }

    /// Gives up what waits for a destination: noted first, so that whatever happens then can be seen.
    fn drop_pending(&self, name: &str, who: &str, wish: &Wish) -> Result<Answer, Problem> {
        let mirror = self.mirror()?;
        let copies = mirror.pending(name).ok_or_else(|| no_destination(name))?;
        let is_named = self.operator.in_force().upstreams.iter().any(|upstream| *upstream.name == *name);
        if is_named && !wish.confirm {
            let what = format!("{copies} copies wait for `{name}`, which the files still name");
            return Err(Problem::unconfirmed(&what));
        }
        let after = json!({"destination": name, "copies": copies});
        let written = self.operator.note_copies(Action::Drop, who, &wish.reason, after);
        tracing::warn!(destination = name, copies, who, why = wish.reason, "copies that wait are given up");
        mirror.drop_pending(name);
        Ok(answer::json(&json!({"done": true, "copies": copies, "entry": written.entry})))
    }

    pub(super) fn mirror(&self) -> Result<&Arc<Mirror>, Problem> {
        self.mirror.as_ref().ok_or_else(|| Problem::absent("this router copies no writes".to_owned()))
    }
}

/// Where a walk goes on.
fn position(text: &str) -> Result<Position, Problem> {
    Position::of_text(text)
        .ok_or_else(|| Problem::malformed("`after` is `start`, or the `next` of the answer before".to_owned()))
}

fn absent(name: &str) -> Problem {
    Problem::absent(format!("no copy or group `{name}` is parked; `banyan journal list` names what is"))
}

/// A group is no copy: one of its copies has to be named.
fn absent_copy(name: &str) -> Problem {
    let known = "`banyan journal list` names those that are, with --group GROUP those of a group";
    Problem::absent(format!("no copy `{name}` is parked; {known}"))
}

fn no_destination(name: &str) -> Problem {
    Problem::absent(format!("nothing is copied to `{name}`; `banyan journal status` names the destinations"))
}

fn failed(error: TableError) -> Problem {
    Problem::internal(error.to_string())
}

fn refused(name: &str, error: &OrderError) -> Problem {
    match error {
        OrderError::Unknown => absent(name),
        OrderError::Outdated(what) => Problem::unconfirmed(what),
        OrderError::EditOfGroup | OrderError::Target(_) => Problem::unfit(error.to_string()),
        OrderError::Tables(_) | OrderError::Journal(_) => Problem::internal(error.to_string()),
    }
}
