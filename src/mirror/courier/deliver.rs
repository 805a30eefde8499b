//! Owns the steps of one attempt to bring one copy to its end: what is asked of whom, and what that comes to.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, header};

use super::ask::{Asker, Reply};
use super::letter::{ANSWER_BYTES_MAX, Unfit, Writer, holds, is_same};
use super::patience::retry_after_ms;
use super::schedule::Job;
use super::told::Told;
use super::verdict::{self, Came, Verdict};
use super::view::View;
use crate::forward::Pool;
use crate::mirror::naming;
use crate::mirror::record::{Class, Intent, Settled};
use crate::mirror::shared::Mirror;
use crate::mirror::tables::TableError;
use crate::snapshot::{COPY_BODY_BYTES_MAX, CopyRules, Naming, UnknownOutcome};

/// The largest state that is read, in bytes: what is too large to be kept may still be reconciled.
const STATE_BYTES_MAX: usize = COPY_BODY_BYTES_MAX as usize;

/// What an attempt comes to.
#[derive(Debug)]
pub(super) enum End {
    /// The copy has come to its end.
    Settled(Settled),
    /// A person must see to it.
    Park { reason: &'static str, told: Told },
    /// It may go again later.
    Again { blame: Blame, retry_after_ms: Option<u64>, told: Told },
    /// The destination lets nobody in.
    Pause(Told),
    /// It was not sent, for a reason of our own.
    Unsent { why: String },
}

/// Who is to blame for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The destination: any other copy would have failed, too.
    Destination,
    /// This copy, or the destination: others will tell.
    Copy,
    /// The primary, which was asked for its state.
    Primary,
}

/// An attempt: a copy with all that it takes to send it.
pub(super) struct Attempt<'a> {
    pub mirror: &'a Arc<Mirror>,
    pub asker: &'a Asker,
    pub view: &'a View,
    pub rules: &'a CopyRules,
    pub job: &'a Job,
    pub intent: &'a Intent,
    pub body: Bytes,
    pub destination: &'a Rc<Pool>,
}

/// A step that ends the attempt at once.
type Step<T> = Result<T, End>;

impl From<Unfit> for End {
    fn from(Unfit(why): Unfit) -> Self {
        Self::Park { reason: "unfit", told: Told::ours(why) }
    }
}

impl From<TableError> for End {
    fn from(error: TableError) -> Self {
        Self::Unsent { why: error.to_string() }
    }
}

impl Attempt<'_> {
    /// Brings the copy as far as it gets.
    pub(super) async fn run(&self) -> End {
        let end = match self.job.class {
            Some(Class::Rejected) => return End::Settled(Settled::Rejected),
            Some(Class::Acknowledged) => self.acknowledged().await,
            Some(Class::Unknown) | None => self.unknown().await,
        };
        end.unwrap_or_else(|end| end)
    }

    /// The primary did it, so the destination is to do it, too.
    async fn acknowledged(&self) -> Step<End> {
        let created = self.job.created.as_deref();
        if created.is_none() && self.must_carry_id() {
            return self.look_up().await;
        }
        self.write(created).await
    }

    /// Nobody knows what the primary did: it is asked.
    async fn unknown(&self) -> Step<End> {
        if self.rules.unknown == UnknownOutcome::Park && !self.intent.is_reconciling() {
            return Err(self.undecided("the route has unknown outcomes parked"));
        }
        match (&self.intent.entity, &*self.intent.method) {
            (Some(_), "PUT" | "PATCH" | "DELETE") => self.copy_state().await,
            (None, _) => self.look_up().await,
            (Some(_), _) => Err(self.undecided("what the primary did cannot be read off its state")),
        }
    }

    /// Whether it is a create whose copy needs the id that the primary gave.
    fn must_carry_id(&self) -> bool {
        self.intent.entity.is_none() && self.rules.created.is_some() && self.rules.carry_id.is_some()
    }

    fn undecided(&self, why: &str) -> End {
        End::Park { reason: "unknown_outcome", told: Told::ours(why) }
    }

    fn writer(&self) -> Writer<'_> {
        Writer { intent: self.intent, rules: self.rules, marker: self.mirror.marker(), vault: self.mirror.vault() }
    }

    /// Sends the write; `created` is the id that the primary gave to what it made.
    async fn write(&self, created: Option<&str>) -> Step<End> {
        let id = self.mapped_id().await?;
        let upstream = self.destination.upstream();
        let question = self.writer().copy(upstream, self.body.clone(), created, id.as_deref())?;
        let (method, target) = (question.method.clone(), question.target.clone());
        let reply = self.asker.ask(self.destination, question).await;
        match verdict::of_write(reply.came, &method) {
            Verdict::Done => {
                if let Some(created) = created.filter(|_| self.rules.carry_id.is_none()) {
                    self.learn_id(created, &reply).await?;
                }
                Ok(End::Settled(Settled::Delivered))
            }
            Verdict::Compare => self.compare(&method, target.as_str(), created, &reply).await,
            other => Err(self.failed(other, reply)),
        }
    }

    /// What a failed attempt to write comes to.
    fn failed(&self, verdict: Verdict, reply: Reply) -> End {
        let retry_after_ms = retry_after_ms(&reply.headers, self.mirror.unix_ms());
        let told = Told::by(reply.came, &reply.body);
        match verdict {
            Verdict::Done => End::Settled(Settled::Delivered),
            Verdict::Pause => End::Pause(told),
            Verdict::Again { own: true } => End::Again { blame: Blame::Destination, retry_after_ms, told },
            Verdict::Again { own: false } => End::Again { blame: Blame::Copy, retry_after_ms, told },
            Verdict::Park => End::Park { reason: "refused", told },
            Verdict::Compare => End::Park { reason: "conflict", told },
        }
    }

    /// The destination has another state than the write expects: if it is what the write makes, it has been done.
    async fn compare(&self, method: &Method, target: &str, created: Option<&str>, refusal: &Reply) -> Step<End> {
        let conflict = || End::Park { reason: "conflict", told: Told::by(refusal.came, &refusal.body) };
        let is_create = *method == Method::POST;
        let target = match (is_create, created) {
            (false, _) => target.to_owned(),
            (true, Some(created)) => self.writer().target(Some(created))?,
            (true, None) => return Err(conflict()),
        };
        let question = self.writer().read(self.destination.upstream(), &target, STATE_BYTES_MAX)?;
        let reply = self.asker.ask(self.destination, question).await;
        let has_it = match reply.came {
            Came::Status(404 | 410) => *method == Method::DELETE,
            Came::Status(200) if reply.is_whole && is_create => holds(&reply.body, &self.body),
            Came::Status(200) if reply.is_whole && *method == Method::PUT => is_same(&reply.body, &self.body),
            came => match verdict::of(came) {
                again @ (Verdict::Again { .. } | Verdict::Pause) => return Err(self.failed(again, reply)),
                _ => false,
            },
        };
        if has_it { Ok(End::Settled(Settled::Delivered)) } else { Err(conflict()) }
    }

    /// Makes the destination equal to the primary, whatever the write has done there.
    async fn copy_state(&self) -> Step<End> {
        let reply = self.ask_primary(&self.intent.target, STATE_BYTES_MAX).await?;
        let id = self.mapped_id().await?;
        let upstream = self.destination.upstream();
        let question = match reply.came {
            Came::Status(200..=299) if reply.is_whole => {
                let content_type = reply.headers.get(header::CONTENT_TYPE);
                self.writer().upsert(upstream, id.as_deref(), content_type, reply.body)?
            }
            Came::Status(404 | 410) => self.writer().delete(upstream, id.as_deref())?,
            _ => return Err(self.primary_failed(&reply)),
        };
        let method = question.method.clone();
        let reply = self.asker.ask(self.destination, question).await;
        match verdict::of_write(reply.came, &method) {
            Verdict::Done => Ok(End::Settled(Settled::Resolved)),
            other => Err(self.failed(other, reply)),
        }
    }

    /// Asks the primary what a create has made, by the key of the write.
    async fn look_up(&self) -> Step<End> {
        let Some(lookup) = &self.rules.lookup else {
            return Err(self.undecided("the route has no `lookup` that asks the primary by the key"));
        };
        let target = lookup.replace("{key}", &escaped(&self.intent.key));
        let reply = self.ask_primary(&target, ANSWER_BYTES_MAX).await?;
        match reply.came {
            Came::Status(404 | 410) => Ok(End::Settled(Settled::Rejected)),
            Came::Status(200..=399) => {
                let created = self.named(&reply);
                if created.is_none() && self.must_carry_id() {
                    return Err(self.undecided("the primary's answer to `lookup` names no id"));
                }
                self.write(created.as_deref()).await
            }
            _ => Err(self.primary_failed(&reply)),
        }
    }

    async fn ask_primary(&self, target: &str, bytes_max: usize) -> Step<Reply> {
        let pool = self.view.pool(&self.intent.primary);
        let pool = pool.ok_or_else(|| End::Unsent { why: format!("no upstream {} to ask", self.intent.primary) })?;
        let question = self.writer().read(pool.upstream(), target, bytes_max)?;
        Ok(self.asker.ask(pool, question).await)
    }

    fn primary_failed(&self, reply: &Reply) -> End {
        let retry_after_ms = retry_after_ms(&reply.headers, self.mirror.unix_ms());
        End::Again { blame: Blame::Primary, retry_after_ms, told: Told::by(reply.came, &reply.body) }
    }

    /// The id of what was made, as an answer names it.
    fn named(&self, reply: &Reply) -> Option<String> {
        match self.rules.created.as_ref()? {
            Naming::Location => naming::of_location(&reply.headers, self.rules, self.writer().path()),
            Naming::Json(pointer) => naming::of_json(&reply.body, pointer),
        }
    }

    /// Remembers what the destination calls what the primary calls `created`, before the copy is settled.
    async fn learn_id(&self, created: &str, reply: &Reply) -> Step<()> {
        let Some(there) = self.named(reply).filter(|there| there != created) else { return Ok(()) };
        let Intent { route, primary, destination, .. } = self.intent;
        let (mirror, created) = (Arc::clone(self.mirror), created.to_owned());
        let (route, primary, destination) = (route.clone(), primary.clone(), destination.clone());
        let pair = move || mirror.tables().pair_ids(&route, (&primary, &created), (&destination, &there));
        blocking(pair).await
    }

    /// What the destination calls what the path names, where that is known to be something else.
    async fn mapped_id(&self) -> Step<Option<String>> {
        let path = self.intent.target.split('?').next().unwrap_or_default();
        let Some(id) = self.rules.id(path) else { return Ok(None) };
        let Intent { route, primary, destination, .. } = self.intent;
        let known = |id: &str| self.mirror.tables().id_at(route, primary, destination, id);
        if let Some(there) = known(&id)? {
            return Ok(Some(there));
        }
        // What lies below an entity is named by more than its id.
        let Some((id, below)) = id.split_once('/') else { return Ok(None) };
        Ok(known(id)?.map(|there| format!("{there}/{below}")))
    }
}

/// Does what waits for a disk where nobody waits for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TableError> + Send + 'static,
) -> Step<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(End::from),
        Err(_) => Err(End::Unsent { why: "the thread for the tables failed".to_owned() }),
    }
}

/// A text as it stands in a query.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
