//! Owns what operators do about copies: replay or drop those that are parked, or let a destination be tried at once.

use bytes::Bytes;

use crate::journal::{AppendError, Durability, Kind};
use crate::mirror::INLINE_BYTES_MAX;
use crate::mirror::record::{Body, Class, CopyId, Intent, Outcome, lane};
use crate::mirror::shared::Mirror;
use crate::mirror::tables::{Later, Parked, TableError};

/// Copies that one order replays or drops at most.
pub const ORDER_COPIES_MAX: usize = 10_000;

/// Which parked copies an order is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// One, by its name.
    One(CopyId),
    /// All of a group, the oldest first.
    Group(String),
}

/// What is changed in a copy before it is replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    /// Another body.
    pub body: Option<Bytes>,
    /// Another path and query.
    pub target: Option<Box<str>>,
}

/// Why an order about parked copies was not carried out, or not for all.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such copy or group.
    #[error("nothing of that name is parked; see `banyan journal list`")]
    Unknown,
    /// An edit is for one copy.
    #[error("an edit is for one copy, not for a group: name the copy")]
    EditOfGroup,
    /// It would undo a newer write, and nobody said that this is meant.
    #[error("{0}")]
    Outdated(String),
    /// The new target is none.
    #[error("`{0}` is no path")]
    Target(Box<str>),
    /// The tables failed.
    #[error(transparent)]
    Tables(#[from] TableError),
    /// The journal took no record.
    #[error(transparent)]
    Journal(#[from] AppendError),
}

impl Mirror {
    /// Lets the courier try a destination at once, whatever it said last; false where there is none of that name.
    pub fn resume(&self, destination: &str) -> bool {
        let known = self.destinations().iter().any(|known| *known.name == *destination);
        if known {
            self.board().resume(destination);
        }
        known
    }

    /// Copies that wait for a destination; `None` where there is none of that name.
    pub fn pending(&self, destination: &str) -> Option<u64> {
        self.destinations().iter().find(|known| *known.name == *destination).map(|known| known.pending())
    }

    /// Lets the courier give up what waits for a destination now; each copy leaves a gap before it is settled.
    pub fn drop_pending(&self, destination: &str) {
        let below = *self.journal().written().borrow();
        self.board().drop_below(destination, below);
    }

    /// Sends parked copies once more, with their keys; says how many. Blocks until they are durable in the journal.
    ///
    /// What would undo a newer write, as far as that is known, is sent only where that `is_meant`.
    ///
    /// # Errors
    /// When there are none, or one could not be written; those before it are on their way. None is where one would undo a newer write.
    pub fn replay(&self, which: &Which, edit: &Edit, is_meant: bool) -> Result<usize, OrderError> {
        if matches!(which, Which::Group(_)) && *edit != Edit::default() {
            return Err(OrderError::EditOfGroup);
        }
        if let Some(target) = edit.target.as_ref().filter(|target| !is_target(target)) {
            return Err(OrderError::Target(target.clone()));
        }
        if !is_meant {
            self.each(which, |parked| match self.objection(&parked)? {
                Some(why) => Err(OrderError::Outdated(why)),
                None => Ok(()),
            })?;
        }
        self.each(which, |parked| self.replay_one(parked, edit))
    }

    /// What newer write a replay would undo.
    fn objection(&self, parked: &Parked) -> Result<Option<String>, TableError> {
        let Parked { story, intent } = parked;
        let (about, to) = (intent.lane_key(), &intent.destination);
        if *story.reason == *"superseded" {
            return Ok(Some(format!(
                "`{to}` serves `{about}` since, and this write is older than what it has done there"
            )));
        }
        if let Some(Later { method, target, key, unix_ms }) = self.tables().later_than(intent)? {
            let at = crate::observe::timestamp(unix_ms);
            return Ok(Some(format!(
                "a newer write has arrived since, which this one would undo: {method} {target} of {at}, key {key}"
            )));
        }
        let is_under_way = self.destination(to).may_have(lane(about));
        Ok(is_under_way.then(|| {
            format!("newer copies of `{about}` may be on their way to `{to}`, and this one would go behind them")
        }))
    }

    /// Gives parked copies up; says how many. Blocks.
    ///
    /// # Errors
    /// When there are none, or the tables fail.
    pub fn drop_parked(&self, which: &Which) -> Result<usize, OrderError> {
        self.each(which, |parked| {
            self.tables().unpark(&parked.intent.destination, parked.intent.id)?;
            self.tables().unwatch(&parked.intent)?;
            Ok(())
        })
    }

    /// Does something with each of them, in the order in which their writes were admitted.
    fn each(
        &self,
        which: &Which,
        mut order: impl FnMut(Parked) -> Result<(), OrderError>,
    ) -> Result<usize, OrderError> {
        let mut chosen = Vec::new();
        match which {
            Which::One(id) => chosen.push((0, *id)),
            Which::Group(group) => self.tables().each_parked(|parked| {
                if parked.group() == *group {
                    chosen.push((parked.intent.unix_ms, parked.intent.id));
                }
                true
            })?,
        }
        chosen.sort_unstable();
        chosen.truncate(ORDER_COPIES_MAX);
        let mut done = 0;
        for (_, id) in chosen {
            for parked in self.tables().parked(id)? {
                if matches!(which, Which::Group(group) if parked.group() != *group) {
                    continue;
                }
                order(parked)?;
                done += 1;
            }
        }
        if done == 0 { Err(OrderError::Unknown) } else { Ok(done) }
    }

    fn replay_one(&self, parked: Parked, edit: &Edit) -> Result<(), OrderError> {
        let Parked { story, mut intent } = parked;
        if let Some(target) = &edit.target {
            intent.target = target.clone();
        }
        let kept = if let Body::Inline(parts) = &intent.body { parts.concat().into() } else { Bytes::new() };
        let body = edit.body.clone().unwrap_or(kept);
        intent.epoch = self.epoch(0);
        let outcome = Outcome {
            destination: intent.destination.clone(),
            id: intent.id,
            class: Class::Acknowledged,
            status: story.primary_status,
            is_final: true,
            entity: None,
            created: story.created,
        };
        let destination = self.destination(&intent.destination);
        let lane = lane(intent.lane_key());
        destination.expect(lane);
        let appended = self.append_again(&mut intent, body).and_then(|()| {
            self.journal().append(Kind::Outcome, 0, outcome.encode(), Durability::Synced)?.wait().map(drop)
        });
        if let Err(error) = appended {
            // What was written all the same is taken for unknown after a restart, and is parked still.
            destination.settle(lane);
            return Err(error.into());
        }
        self.tables().unpark(&intent.destination, intent.id)?;
        Ok(())
    }

    fn append_again(&self, intent: &mut Intent, body: Bytes) -> Result<(), AppendError> {
        let journal = self.journal();
        if body.len() as u64 > INLINE_BYTES_MAX {
            intent.body = Body::Side(body.len() as u64);
            let side = journal.store_side(body)?.wait()?;
            return journal.append_naming(side, Kind::Intent, 0, intent.encode(), Durability::Synced)?.wait().map(drop);
        }
        intent.body = Body::Inline(vec![body]);
        journal.append(Kind::Intent, 0, intent.encode(), Durability::Synced)?.wait().map(drop)
    }
}

fn is_target(target: &str) -> bool {
    target.starts_with('/') && http::uri::PathAndQuery::try_from(target).is_ok()
}
