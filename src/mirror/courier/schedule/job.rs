//! Owns what is known of one copy on its way.

use std::rc::Rc;

use super::lanes::InLine;
use crate::journal::{Lsn, Side};
use crate::mirror::record::{Class, CopyId, Intent};

/// What the schedule knows of one copy.
#[derive(Debug, Clone)]
pub(in crate::mirror::courier) struct Job {
    /// Where its intent is.
    pub lsn: Lsn,
    pub id: CopyId,
    /// The side file with its body.
    pub side: Option<Side>,
    /// When it was admitted, in milliseconds since the epoch.
    pub unix_ms: u64,
    /// The size of its record and side file.
    pub bytes: u64,
    /// The number of its lane as [`crate::mirror::Destination`] counts it.
    pub lane: u64,
    /// The same of what it created.
    pub lane_created: Option<u64>,
    /// Whether the lane of what it created is counted for it.
    pub counts_created: bool,
    /// What it is about.
    pub entity: Option<Rc<str>>,
    /// What became of it at the primary; `None` while nothing is known.
    pub class: Option<Class>,
    /// The primary's status; 0 where it gave none.
    pub status: u16,
    /// The id of what was created.
    pub created: Option<Rc<str>>,
    /// Attempts that count.
    pub attempts: u32,
    /// How often in a row it failed, whoever was to blame.
    pub failures: u32,
    /// How many others had come to their end when it last failed.
    pub ended_before: u64,
    /// Its entity has changed sides since: it must not be sent.
    pub superseded: bool,
    /// A state that was written since holds what it did: it is not sent.
    pub covered: bool,
    /// A person has given it up: it is not sent.
    pub dropped: bool,
    /// What a state that is read tells of it.
    pub(super) shows: super::covered::Shows,
    /// The write itself, while there is room for it.
    pub intent: Option<Rc<Intent>>,
    /// Where it stands in line: in the lane of the entity, in that of a create's path until the entity is known, or in both.
    pub(super) lanes: InLine,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its outcome is not known.
    Open,
    /// It may go once it is at the head of its lanes.
    Ready,
    /// It may go again at this time, in milliseconds.
    Waiting(u64),
    UnderWay,
}
