//! Owns the order in which one destination's copies are sent: which may go now, which wait for what. It does no I/O and
//! reads no clock.
//!
//! A copy stands in the lane of what it is about, in the order of the journal; a create stands in the lane of its path until
//! what it created is known. Only the head of all its lanes may be sent, so there is one under way a lane.

mod covered;
mod dropped;
mod job;
mod lanes;
mod numbers;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::journal::{Lsn, Side};
use crate::mirror::record::{Class, CopyId, Intent, Outcome, lane};

use job::State;
use lanes::{InLine, Lane, Lanes};

pub(super) use job::Job;
pub(super) use numbers::ByNumber;

/// Copies whose outcome is known that are kept in memory; then the scan of the journal waits.
pub(super) const JOBS_MAX: usize = 65_536;
/// The scan goes on when there are no more than this.
pub(super) const JOBS_LOW: usize = JOBS_MAX / 2;
/// Bytes of writes that are kept beside the journal, so that a fresh copy need not be read back.
const KEPT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Entities whose last fence is remembered; beyond, every older copy counts as fenced.
const FENCES_MAX: usize = 65_536;

/// The copies of one destination that have not come to their end.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    jobs: BTreeMap<Lsn, Job>,
    by_id: HashMap<CopyId, Lsn, ByNumber>,
    lanes: Lanes,
    /// Heads of their lanes that may go now.
    ready: BTreeSet<Lsn>,
    /// Those that were given up and can come to their end.
    dropped: BTreeSet<Lsn>,
    /// Copies from before this are given up.
    dropped_below: Lsn,
    /// Those that wait for a time.
    waiting: BTreeSet<(u64, Lsn)>,
    /// Copies whose outcome is open.
    open: usize,
    bytes: u64,
    kept_bytes: u64,
    /// The last fence of each entity, while copies from before it may still come.
    fences: HashMap<Box<str>, Lsn>,
    /// Copies from before this are fenced, whatever they are about.
    all_fenced_below: Lsn,
    /// Copies below are those of earlier runs.
    end_at_open: Lsn,
}

impl Schedule {
    /// An empty schedule; copies below `end_at_open` are those of earlier runs.
    pub(super) fn new(end_at_open: Lsn) -> Self {
        Self { end_at_open, ..Self::default() }
    }

    /// Takes a copy in; outcomes of its name are its own from now on.
    pub(super) fn admit(&mut self, lsn: Lsn, side: Option<Side>, intent: &Intent, bytes: u64) {
        let superseded = intent.entity.as_deref().is_some_and(|entity| self.is_fenced(entity, lsn));
        let key: Rc<str> = intent.lane_key().into();
        let lanes = InLine::of(self.lanes.enter(&key, lsn));
        self.by_id.insert(intent.id, lsn);
        self.open += 1;
        self.bytes += bytes;
        let job = Job {
            lsn,
            id: intent.id,
            side,
            unix_ms: intent.unix_ms,
            bytes,
            lane: lane(&key),
            lane_created: None,
            counts_created: false,
            entity: intent.entity.is_some().then_some(key),
            class: None,
            status: 0,
            created: None,
            attempts: 0,
            failures: 0,
            ended_before: 0,
            superseded,
            covered: false,
            dropped: lsn < self.dropped_below,
            shows: covered::Shows::of(intent),
            intent: None,
            lanes,
            state: State::Open,
        };
        self.jobs.insert(lsn, job);
    }

    /// Whether there is room for a write of so many bytes.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.kept_bytes + bytes as u64 <= KEPT_BYTES_MAX
    }

    /// Keeps a write that was just taken in.
    pub(super) fn keep(&mut self, lsn: Lsn, intent: Intent) {
        if let Some(job) = self.jobs.get_mut(&lsn) {
            job.intent = Some(Rc::new(intent));
            self.kept_bytes += job.bytes;
        }
    }

    /// Notes what became of a write at its primary.
    pub(super) fn outcome(&mut self, outcome: &Outcome) {
        let Some(lsn) = self.by_id.get(&outcome.id).copied() else { return };
        let Some(job) = self.jobs.get_mut(&lsn).filter(|job| job.state == State::Open) else { return };
        job.class = Some(outcome.class);
        job.status = outcome.status;
        job.created = outcome.created.as_deref().map(Rc::from);
        if let Some(entity) = outcome.entity.as_deref().filter(|_| job.entity.is_none()) {
            let entity: Rc<str> = entity.into();
            job.entity = Some(Rc::clone(&entity));
            job.lane_created = Some(lane(&entity));
            job.counts_created = lsn >= self.end_at_open;
            self.join(lsn, &entity);
            self.leave_unnamed(lsn);
        }
        if outcome.is_final {
            self.close(lsn);
        }
    }

    /// Lets a create stand in line for what it created, too.
    fn join(&mut self, lsn: Lsn, entity: &Rc<str>) {
        let superseded = self.is_fenced(entity, lsn);
        let lane = self.lanes.enter(entity, lsn);
        // Who was its head is not any more.
        if let Some(behind) = self.lanes.at(lane).line.range(lsn.next()..).next() {
            self.ready.remove(behind);
        }
        if let Some(job) = self.jobs.get_mut(&lsn) {
            job.superseded |= superseded;
            job.lanes.join(lane);
        }
    }

    /// Lets a create that has a name now leave the line of those that have none, in which all go one by one.
    fn leave_unnamed(&mut self, lsn: Lsn) {
        let Some(unnamed) = self.jobs.get_mut(&lsn).and_then(|job| job.lanes.leave_first()) else { return };
        if let Some(head) = self.lanes.leave(unnamed, lsn) {
            self.offer(head);
        }
    }

    /// Notes that nothing more will be known of what became of it.
    fn close(&mut self, lsn: Lsn) {
        if let Some(job) = self.jobs.get_mut(&lsn) {
            job.state = State::Ready;
            self.open -= 1;
        }
        self.offer(lsn);
    }

    /// Takes every open copy of an earlier run for unknown: none of their outcomes was written.
    ///
    /// An answer that named nothing yet is a success all the same.
    pub(super) fn give_up_open_below(&mut self, end: Lsn) {
        let open = self.jobs.range(..end).filter(|(_, job)| job.state == State::Open);
        for lsn in open.map(|(lsn, _)| *lsn).collect::<Vec<_>>() {
            if let Some(job) = self.jobs.get_mut(&lsn) {
                job.class.get_or_insert(Class::Unknown);
            }
            self.close(lsn);
        }
    }

    /// The lanes of what creates of earlier runs have created, which nobody has counted yet; they are taken for counted.
    pub(super) fn count_created_below(&mut self, end: Lsn) -> Vec<u64> {
        let jobs = self.jobs.range_mut(..end).map(|(_, job)| job).filter(|job| !job.counts_created);
        let known = jobs.filter_map(|job| {
            job.counts_created = job.lane_created.is_some();
            job.lane_created
        });
        known.collect()
    }

    /// Keeps copies of an entity from before `at` from being sent.
    pub(super) fn fence(&mut self, entity: &str, at: Lsn) {
        if self.fences.len() >= FENCES_MAX && !self.fences.contains_key(entity) {
            self.all_fenced_below = self.all_fenced_below.max(at);
            tracing::error!("too many fences to remember: older copies are parked");
        } else {
            let fence = self.fences.entry(entity.into()).or_insert(at);
            *fence = at.max(*fence);
        }
        let Some(lane) = self.lanes.of(entity) else { return };
        for lsn in lane.line.range(..at).copied().collect::<Vec<_>>() {
            let Some(job) = self.jobs.get_mut(&lsn) else { continue };
            job.superseded |= job.entity.as_deref() == Some(entity);
            // A fenced copy need not wait for a destination that fails.
            if let (true, State::Waiting(at_ms)) = (job.superseded, job.state) {
                self.waiting.remove(&(at_ms, lsn));
                job.state = State::Ready;
                self.offer(lsn);
            }
        }
    }

    fn is_fenced(&self, entity: &str, lsn: Lsn) -> bool {
        lsn < self.all_fenced_below || self.fences.get(entity).is_some_and(|at| lsn < *at)
    }

    /// Forgets fences that nothing older can come for: `read_to` is how far copies were taken in.
    pub(super) fn forget_fences(&mut self, read_to: Lsn) {
        let oldest = self.oldest().map_or(read_to, |oldest| oldest.min(read_to));
        self.fences.retain(|_, at| *at > oldest);
    }

    /// The copy that may go now, the oldest first; fenced and rejected ones are for ending.
    pub(super) fn head(&mut self, now_ms: u64) -> Option<&Job> {
        while let Some(&(at_ms, lsn)) = self.waiting.first().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.waiting.remove(&(at_ms, lsn));
            if let Some(job) = self.jobs.get_mut(&lsn) {
                job.state = State::Ready;
            }
            self.offer(lsn);
        }
        self.ready.first().and_then(|lsn| self.jobs.get(lsn))
    }

    /// Takes the copy that [`Self::head`] gave: it is under way.
    pub(super) fn take(&mut self) -> Option<Job> {
        let lsn = self.ready.pop_first()?;
        let job = self.jobs.get_mut(&lsn)?;
        job.state = State::UnderWay;
        for lane in job.lanes.iter() {
            self.lanes.at_mut(lane).under_way = Some(lsn);
        }
        Some(job.clone())
    }

    /// Puts a copy that was under way back to its place; it may go again at `at_ms`.
    pub(super) fn put_back(&mut self, job: &Job, at_ms: u64) {
        self.leave_way(job.lsn);
        let Some(known) = self.jobs.get_mut(&job.lsn) else { return };
        // A fence or an order may have come meanwhile.
        let Job { superseded, covered, dropped, counts_created, .. } = *known;
        *known = Job { superseded, covered, dropped, counts_created, state: State::Waiting(at_ms), ..job.clone() };
        if superseded || dropped || at_ms == 0 {
            known.state = State::Ready;
        } else {
            self.waiting.insert((at_ms, job.lsn));
        }
        // A create may have come before it meanwhile.
        for lane in job.lanes.iter() {
            if let Some(head) = self.lanes.at(lane).line.first().copied() {
                self.offer(head);
            }
        }
        self.offer(job.lsn);
    }

    /// Ends a copy; those behind it may go.
    pub(super) fn end(&mut self, lsn: Lsn) -> Option<Job> {
        self.leave_way(lsn);
        let job = self.jobs.remove(&lsn)?;
        if self.by_id.get(&job.id) == Some(&lsn) {
            self.by_id.remove(&job.id);
        }
        self.ready.remove(&lsn);
        self.dropped.remove(&lsn);
        self.bytes -= job.bytes;
        self.kept_bytes -= if job.intent.is_some() { job.bytes } else { 0 };
        match job.state {
            State::Open => self.open -= 1,
            State::Waiting(at_ms) => drop(self.waiting.remove(&(at_ms, lsn))),
            State::Ready | State::UnderWay => {}
        }
        for lane in job.lanes.iter() {
            if let Some(head) = self.lanes.leave(lane, lsn) {
                self.offer(head);
            }
        }
        Some(job)
    }

    /// Ends the copy whose intent has this number and name, as a settlement in the journal says.
    pub(super) fn end_settled(&mut self, lsn: Lsn, id: CopyId) {
        if self.jobs.get(&lsn).is_some_and(|job| job.id == id) {
            self.end(lsn);
        }
    }

    fn leave_way(&mut self, lsn: Lsn) {
        let Some(job) = self.jobs.get_mut(&lsn).filter(|job| job.state == State::UnderWay) else { return };
        job.state = State::Ready;
        for lane in job.lanes.iter() {
            let under_way = &mut self.lanes.at_mut(lane).under_way;
            *under_way = under_way.filter(|other| *other != lsn);
        }
    }

    /// Makes a copy ready to go if nothing stands before it, or to be given up.
    fn offer(&mut self, lsn: Lsn) {
        let Some(job) = self.jobs.get(&lsn).filter(|job| job.state == State::Ready) else { return };
        if job.dropped {
            self.dropped.insert(lsn);
            return;
        }
        let is_first = |lane: &Lane| lane.under_way.is_none() && lane.line.first() == Some(&lsn);
        if job.lanes.iter().all(|lane| is_first(self.lanes.at(lane))) {
            self.ready.insert(lsn);
        }
    }

    /// The oldest copy that has not come to its end.
    pub(super) fn oldest(&self) -> Option<Lsn> {
        self.jobs.first_key_value().map(|(lsn, _)| *lsn)
    }

    /// When the oldest was admitted, in milliseconds since the epoch.
    pub(super) fn oldest_unix_ms(&self) -> Option<u64> {
        self.jobs.first_key_value().map(|(_, job)| job.unix_ms)
    }

    /// Copies whose outcome is known.
    pub(super) fn closed(&self) -> usize {
        self.jobs.len() - self.open
    }

    /// Bytes of the records of all copies known.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
pub(super) mod tests;
