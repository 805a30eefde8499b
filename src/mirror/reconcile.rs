//! Owns reconciling as operators see it: what both sides say about an entity, and sending the state of the right one to the other.
//!
//! What is sent goes the way of a write whose outcome nobody knows: in the lane of its entity, the primary is read when its turn has
//! come, so that it cannot undo a newer write.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;

use super::record::{Body, Class, CopyId, Intent, Outcome, lane};
use super::shared::Mirror;
use crate::journal::{AppendError, Durability, Kind};
use crate::snapshot::CopyRules;

/// Begins the idempotency key of what reconciling sends.
const KEY_PREFIX: &str = "\"reconcile-";
/// Questions that may wait for the courier at a time.
pub(super) const QUESTIONS_MAX: usize = 256;

/// A question about both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides {
    /// The route, whose rules say what an entity is.
    pub route: Box<str>,
    /// The upstream that is right.
    pub from: Box<str>,
    /// The upstream that is made equal.
    pub to: Box<str>,
}

/// What both sides say about one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "why")]
pub enum Compared {
    /// They say the same, or neither has it.
    Equal,
    /// Both have it, and not the same.
    Differs,
    /// The right side has it, the other has not.
    Missing,
    /// Only the other side has it.
    Surplus,
    /// One of them could not be read.
    Failed(String),
}

/// What one side lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// The ids.
    Ids(Vec<String>),
    /// Why there are none to be had.
    Failed(String),
}

/// What is asked of the courier, with where the answer goes.
#[derive(Debug)]
pub(super) enum Question {
    /// Both sides about the entity of a path.
    Compare(Sides, Box<str>, oneshot::Sender<Compared>),
    /// What an upstream lists at a path and query; the pointer leads to the id of an item.
    List { upstream: Box<str>, target: Box<str>, id: Box<str>, reply: oneshot::Sender<Listed> },
}

/// Why nothing was asked or sent.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The courier has too much to do, or has ended.
    #[error("the courier has no time for it; come again")]
    Busy,
    /// The path names no entity.
    #[error("the path `{0}` names no entity of the route")]
    Path(Box<str>),
    /// The journal does not take it.
    #[error(transparent)]
    Journal(#[from] AppendError),
}

impl Mirror {
    /// Compares what both sides say about the entity of a path; the answer comes when the courier has asked them.
    ///
    /// # Errors
    /// When the courier has too much to do.
    pub fn compare(&self, sides: Sides, path: &str) -> Result<oneshot::Receiver<Compared>, ReconcileError> {
        let (reply, answer) = oneshot::channel();
        self.board().ask(Question::Compare(sides, path.into(), reply)).ok_or(ReconcileError::Busy)?;
        Ok(answer)
    }

    /// Asks an upstream what it lists.
    ///
    /// # Errors
    /// When the courier has too much to do.
    pub fn list(&self, upstream: &str, target: &str, id: &str) -> Result<oneshot::Receiver<Listed>, ReconcileError> {
        let (reply, answer) = oneshot::channel();
        let question = Question::List { upstream: upstream.into(), target: target.into(), id: id.into(), reply };
        self.board().ask(question).ok_or(ReconcileError::Busy)?;
        Ok(answer)
    }

    /// Sends the state of an entity to the other side, in its lane. Blocks until that is durable in the journal.
    ///
    /// # Errors
    /// When the path names no entity, or the journal does not take it.
    pub fn send_state(&self, sides: &Sides, rules: &CopyRules, path: &str) -> Result<(), ReconcileError> {
        let entity = rules.entity(path).filter(|_| rules.path.fits(path));
        let entity: Box<str> = entity.as_deref().ok_or_else(|| ReconcileError::Path(path.into()))?.into();
        let id = CopyId(fastrand::u128(..));
        let intent = Intent {
            destination: sides.to.clone(),
            id,
            primary: sides.from.clone(),
            route: sides.route.clone(),
            // It is newer than any fence: the state that it carries is read when its turn has come.
            epoch: self.epoch(0),
            // Older gaps of the entity are mended when it has arrived.
            unix_ms: self.gaps_over_before(),
            entity: Some(entity),
            method: "PUT".into(),
            target: path.into(),
            key: format!("{KEY_PREFIX}{:032x}\"", id.0).into(),
            hops: Box::default(),
            headers: vec![("accept".into(), Bytes::from_static(b"application/json, */*;q=0.5"))],
            body: Body::Inline(Vec::new()),
        };
        let outcome = Outcome {
            destination: sides.to.clone(),
            id,
            class: Class::Unknown,
            status: 0,
            is_final: true,
            entity: None,
            created: None,
        };
        let (destination, lane) = (self.destination(&sides.to), lane(intent.lane_key()));
        destination.expect(lane);
        let append = || -> Result<(), AppendError> {
            let journal = self.journal();
            drop(journal.append(Kind::Intent, intent.epoch, intent.encode(), Durability::Written)?);
            journal.append(Kind::Outcome, intent.epoch, outcome.encode(), Durability::Synced)?.wait().map(drop)
        };
        append().inspect_err(|_| destination.settle(lane))?;
        self.counts().intents.fetch_add(1, Relaxed);
        Ok(())
    }
}

impl Intent {
    /// Whether it carries a state to be read, and no write of a client.
    pub(super) fn is_reconciling(&self) -> bool {
        self.key.starts_with(KEY_PREFIX)
    }
}
