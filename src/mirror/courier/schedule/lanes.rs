//! Owns the lanes: who stands in line for what, and who of a lane is under way.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use slab::Slab;

use crate::journal::Lsn;

/// The line for one entity, or for what is created at one path.
#[derive(Debug)]
pub(super) struct Lane {
    key: Rc<str>,
    /// In the order of the journal.
    pub(super) line: BTreeSet<Lsn>,
    pub(super) under_way: Option<Lsn>,
}

/// A lane that somebody stands in; good for as long as somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LaneId(usize);

/// The lanes that one copy stands in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InLine([Option<LaneId>; 2]);

impl InLine {
    /// One alone.
    pub(super) fn of(lane: LaneId) -> Self {
        Self([Some(lane), None])
    }

    /// The lanes, in the order in which the copy has joined them.
    pub(super) fn iter(self) -> impl Iterator<Item = LaneId> {
        self.0.into_iter().flatten()
    }

    /// Joins another one; there are two at most, the path of a create and what it created.
    pub(super) fn join(&mut self, lane: LaneId) {
        if self.0[0] != Some(lane) {
            self.0[1] = Some(lane);
        }
    }

    /// Leaves the first where there are two.
    pub(super) fn leave_first(&mut self) -> Option<LaneId> {
        let second = self.0[1].take()?;
        self.0[0].replace(second)
    }
}

/// All lanes that somebody stands in.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Slab<Lane>,
    by_key: HashMap<Rc<str>, LaneId>,
}

impl Lanes {
    /// Puts a copy in line for what has this key.
    pub(super) fn enter(&mut self, key: &Rc<str>, lsn: Lsn) -> LaneId {
        let lanes = &mut self.lanes;
        let lane = || LaneId(lanes.insert(Lane { key: Rc::clone(key), line: BTreeSet::new(), under_way: None }));
        let id = match self.by_key.get(key) {
            Some(id) => *id,
            None => *self.by_key.entry(Rc::clone(key)).or_insert_with(lane),
        };
        self.lanes[id.0].line.insert(lsn);
        id
    }

    /// Lets a copy leave a lane, which goes with the last one; says who is its head now.
    pub(super) fn leave(&mut self, id: LaneId, lsn: Lsn) -> Option<Lsn> {
        let lane = &mut self.lanes[id.0];
        lane.line.remove(&lsn);
        let head = lane.line.first().copied();
        if head.is_none() {
            let lane = self.lanes.remove(id.0);
            self.by_key.remove(&lane.key);
        }
        head
    }

    /// A lane that somebody stands in.
    pub(super) fn at(&self, id: LaneId) -> &Lane {
        &self.lanes[id.0]
    }

    /// The same, to be changed.
    pub(super) fn at_mut(&mut self, id: LaneId) -> &mut Lane {
        &mut self.lanes[id.0]
    }

    /// Whether nobody stands anywhere.
    #[cfg(test)]
    pub(super) fn are_empty(&self) -> bool {
        self.lanes.is_empty() && self.by_key.is_empty()
    }

    /// The lane of a key, if anybody stands in it.
    pub(super) fn of(&self, key: &str) -> Option<&Lane> {
        self.by_key.get(key).map(|id| self.at(*id))
    }
}
