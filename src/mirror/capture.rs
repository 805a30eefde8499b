//! Owns a write on its way, as far as its copy is concerned: the body is kept while it streams, the intent is appended when it is whole,
//! and whatever way the exchange ends, its outcome is appended once.

mod tap;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use tokio::task::spawn_local;

use super::destination::Destination;
use super::draft::Draft;
use super::naming;
use super::record::{Class, CopyId, Gap, Outcome, lane};
use super::shared::{Mirror, Room};
use super::shed::UnderWay;
use super::writing::Writing;
use crate::fault::Fault;
use crate::journal::{Answer, Answers, AppendError, Durability};
use crate::snapshot::{CopyMode, CopyRules, JournalOverflow, Naming};

/// Bodies up to this size stand in the record itself, in bytes; larger ones in a side file.
pub const INLINE_BYTES_MAX: u64 = 1024 * 1024;
/// Of an answer's body, so much is kept to find the id of what was created, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Says that a write could not be kept although its route insists on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotKept;

/// A write that is copied; shared by its body, its answer and its record.
#[derive(Debug)]
pub struct Copying {
    mirror: Arc<Mirror>,
    answers: Answers,
    rules: Arc<CopyRules>,
    destination: Arc<Destination>,
    subject: Subject,
    state: RefCell<State>,
    ending: RefCell<Ending>,
    /// It is not copied, and has left a gap.
    shed: RefCell<Option<UnderWay>>,
}

/// What a write is and what it is about.
#[derive(Debug)]
pub struct Subject {
    /// Its name.
    pub id: CopyId,
    /// [`lane`] of what it is about, or of its target.
    pub lane: u64,
    /// The route.
    pub route: Box<str>,
    /// The method.
    pub method: Method,
    /// Path and query as received.
    pub target: PathAndQuery,
}

/// How far the intent is.
#[derive(Debug)]
enum State {
    /// The body is still coming.
    Capturing { draft: Draft, parts: Vec<Bytes>, bytes: u64, room: Room },
    /// The intent is on its way to the disk.
    Writing(Writing),
    /// It is there, as durable as the mode asks.
    Written,
    /// There is none and will be none; `NotKept` when the route insists.
    Without(Result<(), NotKept>),
}

/// How far the outcome is.
#[derive(Debug, Default)]
enum Ending {
    /// The primary has not answered.
    #[default]
    Open,
    /// The answer's body is being read for the id of what was created.
    Reading { status: u16, pointer: Box<str>, body: Vec<u8> },
    /// The outcome is on its way to the disk, and the answer waits for it.
    Syncing(Answer),
    /// It is appended.
    Ended,
}

impl Copying {
    /// Begins to copy a write: `draft` is its intent without the body.
    pub fn begin(
        mirror: &Arc<Mirror>,
        answers: &Answers,
        rules: &Arc<CopyRules>,
        destination: &Arc<Destination>,
        subject: Subject,
        draft: Draft,
    ) -> Rc<Self> {
        let room = mirror.room();
        Rc::new(Self {
            mirror: Arc::clone(mirror),
            answers: answers.clone(),
            rules: Arc::clone(rules),
            destination: Arc::clone(destination),
            subject,
            state: RefCell::new(State::Capturing { draft, parts: Vec::new(), bytes: 0, room }),
            ending: RefCell::default(),
            shed: RefCell::default(),
        })
    }

    /// Whether the answer of the primary may go to the client; waits until the intent is as durable as the mode asks.
    ///
    /// # Errors
    /// When the write could not be kept and the route insists.
    pub fn poll_kept(&self, cx: &mut Context<'_>) -> Poll<Result<(), NotKept>> {
        let mut state = self.state.borrow_mut();
        let written = match &mut *state {
            State::Writing(writing) => ready!(writing.poll(cx)),
            // An answer to a request that is not whole: what it comes to is judged with its status.
            State::Capturing { .. } | State::Written => return Poll::Ready(Ok(())),
            State::Without(kept) => return Poll::Ready(*kept),
        };
        *state = match written {
            Ok(()) => State::Written,
            Err(error) => {
                tracing::error!(%error, destination = &*self.destination.name, "a write could not be kept for its copy");
                self.destination.settle(self.subject.lane);
                self.without("journal_failed")
            }
        };
        match &*state {
            State::Without(kept) => Poll::Ready(*kept),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Waits until the outcome is durable, where the mode asks for that.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ending = self.ending.borrow_mut();
        if let Ending::Syncing(answer) = &mut *ending {
            // A failure is logged by the journal; the outcome is then unknown, which is resolved.
            let _ = ready!(Pin::new(answer).poll(cx));
            *ending = Ending::Ended;
        }
        Poll::Ready(())
    }

    /// Notes the primary's answer.
    pub fn answered(&self, status: u16, headers: &HeaderMap) {
        let class = match status {
            ..400 => Class::Acknowledged,
            400..500 => Class::Rejected,
            500.. => Class::Unknown,
        };
        if self.is_incomplete() {
            // A success for a part of a request: there is no whole one to copy.
            if class == Class::Acknowledged {
                self.give_up("early_answer");
            }
            return;
        }
        let names_created = class == Class::Acknowledged && self.names_created();
        match (&self.rules.created, names_created) {
            (Some(Naming::Json(pointer)), true) => {
                self.append(class, status, None, false);
                self.ending.replace(Ending::Reading { status, pointer: pointer.clone(), body: Vec::new() });
            }
            (Some(Naming::Location), true) => {
                let created = naming::of_location(headers, &self.rules, self.path());
                self.append(class, status, created, true);
            }
            _ => self.append(class, status, None, true),
        }
    }

    /// Notes a part of the answer's body.
    pub fn answer_data(&self, data: &[u8]) {
        if let Ending::Reading { body, .. } = &mut *self.ending.borrow_mut()
            && body.len() + data.len() <= ANSWER_BYTES_MAX
        {
            body.extend_from_slice(data);
        }
    }

    /// Notes the end of the answer's body, or that it was cut.
    pub fn answer_end(&self) {
        let reading = self.ending.take();
        match reading {
            Ending::Reading { status, pointer, body } => {
                let created = naming::of_json(&body, &pointer);
                self.append(Class::Acknowledged, status, created, true);
            }
            other => *self.ending.borrow_mut() = other,
        }
    }

    /// Notes that the primary gave no answer.
    pub fn failed(&self, fault: Fault) {
        let never_sent = matches!(
            fault,
            Fault::DnsError
                | Fault::Unavailable
                | Fault::ConnectRefused
                | Fault::ConnectTimeout
                | Fault::TlsCertificate
                | Fault::TlsHandshake
                | Fault::LimitReached
                | Fault::NotKept
        );
        self.append(if never_sent { Class::Rejected } else { Class::Unknown }, 0, None, true);
    }

    /// The destination, where an intent was handed to the journal.
    pub fn kept_for(&self) -> Option<&str> {
        self.has_intent().then_some(&*self.destination.name)
    }

    /// Whether the request's body has not been seen whole.
    pub fn is_incomplete(&self) -> bool {
        matches!(*self.state.borrow(), State::Capturing { .. })
    }

    fn path(&self) -> &str {
        self.subject.target.path()
    }

    fn names_created(&self) -> bool {
        self.rules.created.is_some() && self.rules.entity(self.path()).is_none()
    }

    /// Appends the outcome, where there is an intent and none was appended yet.
    fn append(&self, class: Class, status: u16, created: Option<String>, is_final: bool) {
        if matches!(*self.ending.borrow(), Ending::Ended | Ending::Syncing(_)) || !self.has_intent() {
            return;
        }
        let path = created.as_deref().and_then(|id| self.rules.path_with_id(self.path(), id));
        let entity: Option<Box<str>> = path.and_then(|path| self.rules.entity(&path).map(|entity| Box::from(&*entity)));
        if let Some(entity) = &entity {
            // Whoever writes to it next must see that a copy is on its way.
            self.destination.expect_also(lane(entity));
        }
        let outcome = Outcome {
            destination: self.destination.name.clone(),
            id: self.subject.id,
            class,
            status,
            is_final,
            entity,
            created: created.map(Into::into),
        };
        let syncing = self.append_behind(outcome);
        if is_final {
            self.ending.replace(syncing.map_or(Ending::Ended, Ending::Syncing));
        }
    }

    /// Appends an outcome behind its intent, for which the client's answer may have to wait.
    fn append_behind(&self, outcome: Outcome) -> Option<Answer> {
        let waits = self.rules.mode == CopyMode::SyncOutcome;
        let mut state = self.state.borrow_mut();
        if let State::Writing(Writing::Large(_)) = &*state {
            // The client left while a large body was being written; only its task knows when that is done.
            let State::Writing(mut writing) = std::mem::replace(&mut *state, State::Written) else { return None };
            let mirror = Arc::clone(&self.mirror);
            spawn_local(async move {
                if poll_fn(|cx| writing.poll(cx)).await.is_ok() {
                    let _ = mirror.note_outcome(&outcome);
                }
            });
            return None;
        }
        if waits {
            return self.mirror.append_outcome(&self.answers, &outcome).ok();
        }
        // What a kill takes of it is as one that was still under way then: unknown.
        let _ = self.mirror.note_outcome(&outcome);
        None
    }

    fn has_intent(&self) -> bool {
        matches!(*self.state.borrow(), State::Writing(_) | State::Written)
    }

    /// The body is whole: the intent goes to the journal.
    fn write(&self, draft: Draft, parts: Vec<Bytes>, bytes: u64) -> State {
        self.destination.expect(self.subject.lane);
        if bytes > INLINE_BYTES_MAX {
            let durability = if self.rules.mode == CopyMode::Async { Durability::Written } else { Durability::Synced };
            let mirror = Arc::clone(&self.mirror);
            let task = async move { mirror.append_large(draft, joined(&parts), durability).await };
            return State::Writing(Writing::Large(spawn_local(task)));
        }
        let (mirror, epoch) = (&self.mirror, draft.epoch);
        let intent = draft.with_body(parts, bytes as usize);
        let appended = match self.rules.mode {
            CopyMode::Async => mirror.note_intent(epoch, intent).map(|()| State::Written),
            _ => {
                mirror.append_intent(&self.answers, epoch, intent).map(|answer| State::Writing(Writing::Small(answer)))
            }
        };
        match appended {
            Ok(state) => state,
            Err(error) => {
                self.destination.settle(self.subject.lane);
                let reason = match error {
                    AppendError::QueueFull => "queue_full",
                    AppendError::Full => "high_water",
                    _ => "journal_failed",
                };
                self.without(reason)
            }
        }
    }

    /// The write is not copied. Unless the primary was to be asked only now, a gap says so, whatever the client is told.
    fn without(&self, reason: &'static str) -> State {
        let insists = self.rules.overflow == JournalOverflow::FailClosed;
        if !(insists && self.rules.mode == CopyMode::Strict) {
            self.leave_gap(reason);
        }
        State::Without(if insists { Err(NotKept) } else { Ok(()) })
    }

    fn leave_gap(&self, reason: &'static str) {
        let under_way = self.mirror.begin_gap();
        let gap = Gap {
            destination: self.destination.name.clone(),
            route: self.subject.route.clone(),
            entity: self.rules.entity(self.path()).map(|entity| Box::from(&*entity)),
            method: self.subject.method.as_str().into(),
            target: self.subject.target.as_str().into(),
            reason: reason.into(),
            unix_ms: under_way.since_unix_ms,
        };
        self.mirror.leave_gap(&gap);
        self.shed.replace(Some(under_way));
    }

    /// Ends the capture without an intent, although the write is served.
    fn give_up(&self, reason: &'static str) {
        self.state.replace(State::Without(Ok(())));
        self.leave_gap(reason);
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        // The client is gone, or the process is ending: nobody knows what the primary did.
        self.answer_end();
        self.append(Class::Unknown, 0, None, true);
    }
}

fn joined(parts: &[Bytes]) -> Bytes {
    match parts {
        [] => Bytes::new(),
        [only] => only.clone(),
        many => many.concat().into(),
    }
}
