//! Owns what workers and the courier both know of one destination: which entities have copies on their way, and fences.
//!
//! Entities are counted in a fixed table by their lane: memory is bounded whatever the backlog, and nothing is locked. Two entities
//! that share a slot cost one of them a look at the journal, never a wrong decision.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Slots of the table; 16 bytes each.
const SLOTS: usize = 16_384;

/// What is known of one destination.
#[derive(Debug)]
pub struct Destination {
    /// The upstream.
    pub name: Box<str>,
    slots: Box<[Slot]>,
    /// Copies that have not come to their end.
    pending: AtomicU64,
    /// Whether the courier sends nothing for now (401 or 403, or an operator).
    pub paused: AtomicBool,
}

#[derive(Debug, Default)]
struct Slot {
    /// Copies of its entities that have not come to their end.
    pending: AtomicU32,
    /// Attempts under way for its entities.
    under_way: AtomicU32,
    /// Fences that are being set or have been set; the courier looks at the journal when it has changed.
    fences: AtomicU64,
}

impl Destination {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            pending: AtomicU64::new(0),
            paused: AtomicBool::new(false),
        }
    }

    fn slot(&self, lane: u64) -> &Slot {
        // The high bits of FNV-1a are the better mixed ones.
        &self.slots[(lane >> 32) as usize % SLOTS]
    }

    /// Copies that have not come to their end.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::SeqCst)
    }

    /// Notes a copy that is to come; called before its intent is appended.
    pub fn expect(&self, lane: u64) {
        self.slot(lane).pending.fetch_add(1, Ordering::SeqCst);
        self.pending.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that a copy has come to its end, or was never appended.
    pub fn settle(&self, lane: u64) {
        let less = |value: u32| value.checked_sub(1);
        // A settlement that was written twice must not make the count wrap.
        if self.slot(lane).pending.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            let _ = self.pending.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |value| value.checked_sub(1));
        }
    }

    /// Notes that a copy that is expected is also about another lane: what a create made has a name now.
    pub fn expect_also(&self, lane: u64) {
        self.slot(lane).pending.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes [`Self::expect_also`] back.
    pub fn settle_also(&self, lane: u64) {
        let less = |value: u32| value.checked_sub(1);
        let _ = self.slot(lane).pending.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    /// Whether copies may be on their way to what this lane is about.
    pub fn may_have(&self, lane: u64) -> bool {
        self.slot(lane).pending.load(Ordering::SeqCst) > 0
    }

    /// Announces a fence whose record is in the journal: no attempt for the lane begins until the courier has read it.
    ///
    /// Whether an attempt is under way must be looked at afterwards.
    pub fn fence(&self, lane: u64) {
        self.slot(lane).fences.fetch_add(1, Ordering::SeqCst);
    }

    /// How often the lane was fenced; the courier reads the journal to its end when that has changed.
    pub fn fences(&self, lane: u64) -> u64 {
        self.slot(lane).fences.load(Ordering::SeqCst)
    }

    /// Whether an attempt for the lane is under way.
    pub fn is_under_way(&self, lane: u64) -> bool {
        self.slot(lane).under_way.load(Ordering::SeqCst) > 0
    }

    /// Notes an attempt that begins; the fences must be looked at **after** this call, and the attempt given up if there is
    /// a new one: whoever fences looks at the attempts after setting the fence, so one of the two sees the other.
    pub fn begin(&self, lane: u64) {
        self.slot(lane).under_way.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that an attempt is over.
    pub fn end(&self, lane: u64) {
        self.slot(lane).under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
