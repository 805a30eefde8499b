//! Owns the delivery to one destination: it reads the journal, starts attempts as the schedule, the breaker and the pace allow, and
//! writes down how copies came to their end.

mod orders;
mod tell;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

use super::Courier;
use super::attempt::attempt;
use super::deliver::{Blame, End};
use super::patience::{Breaker, Pace, back_off_ms};
use super::scan::Scan;
use super::schedule::{ByNumber, Job, Schedule};
use super::source::Source;
use crate::clock;
use crate::journal::{Kind, Lsn};
use crate::mirror::board::Ended;
use crate::mirror::destination::Destination;
use crate::mirror::record::{Class, Settled, Settlement};
use crate::route::PathTemplate;
use crate::snapshot::CopyRules;
use crate::upstream::CopyPace;

/// Bytes of bodies that they may hold together; one copy may always go.
const IN_FLIGHT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What has waited longer is a backlog, in milliseconds.
const BACKLOG_MS: u64 = 1_000;
/// Between two looks at the journal, so that what comes close together is read at once, in milliseconds.
const READ_EVERY_MS: u64 = 5;
/// Before the next try of what could not be sent for a reason of our own, in milliseconds.
const UNSENT_MS: u64 = 1_000;
/// Lanes whose fences are remembered as read; beyond, they are read again.
const FENCES_READ_MAX: usize = 65_536;

/// The delivery to one destination.
pub(super) struct Dispatch {
    courier: Rc<Courier>,
    source: Source,
    destination: Arc<Destination>,
    scan: Scan,
    schedule: Schedule,
    breaker: Breaker,
    pace: Pace,
    in_flight_max: usize,
    tasks: JoinSet<End>,
    /// With how far each covers what is behind it, should it be resolved by a state.
    under_way: HashMap<Id, (Rc<Job>, Option<Lsn>), ByNumber>,
    under_way_bytes: u64,
    /// The count of fences of each lane when the journal was last read to its end.
    fences_read: HashMap<u64, u64>,
    /// Nothing below is needed any more; the courier reads it.
    low: Rc<Cell<Lsn>>,
    trouble: Option<String>,
    ended: Ended,
    failures: u64,
    /// Rules for routes that the files no longer have.
    no_rules: Arc<CopyRules>,
}

/// Whether an attempt may begin.
enum May {
    Begin,
    /// The journal must be read to its end first.
    ReadFirst,
    Not,
}

impl Dispatch {
    pub(super) fn new(
        courier: &Rc<Courier>,
        source: Source,
        destination: Arc<Destination>,
        low: Rc<Cell<Lsn>>,
    ) -> Self {
        let path = PathTemplate::parse("/{*rest}").expect("a template that is written here");
        let scan = Scan::new(source.journal(), &destination.name);
        let schedule = Schedule::new(source.journal().recovered().next);
        Self {
            courier: Rc::clone(courier),
            source,
            destination,
            scan,
            schedule,
            breaker: Breaker::default(),
            pace: Pace::new(CopyPace::default().per_s_max),
            in_flight_max: CopyPace::default().in_flight_max as usize,
            tasks: JoinSet::new(),
            under_way: HashMap::default(),
            under_way_bytes: 0,
            fences_read: HashMap::new(),
            low,
            trouble: None,
            ended: Ended::default(),
            failures: 0,
            no_rules: Arc::new(CopyRules::new(path)),
        }
    }

    /// Delivers until the courier ends; attempts under way are waited for then.
    pub(super) async fn run(mut self) {
        let mut written = self.source.journal().written();
        let mut read_at_ms = 0;
        loop {
            let ends = self.courier.ends.get();
            if ends && self.tasks.is_empty() {
                break;
            }
            let (now_ms, mut more) = (clock::now_ms(), false);
            if now_ms >= read_at_ms {
                more = self.read();
                read_at_ms = if more { 0 } else { now_ms + READ_EVERY_MS };
            }
            if self.source.is_elder() && self.scan.is_complete() && self.schedule.oldest().is_none() {
                break;
            }
            if !ends {
                self.begin_attempts();
            }
            self.show();
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            let behind = *written.borrow_and_update() > self.scan.position();
            tokio::select! {
                Some(done) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.conclude(done),
                _ = written.changed(), if !behind => {}
                () = tokio::time::sleep(Duration::from_millis(READ_EVERY_MS)), if behind => {}
                () = self.courier.ticks.notified() => {}
            }
            while let Some(done) = self.tasks.try_join_next_with_id() {
                self.conclude(done);
            }
        }
    }

    /// Reads some of the journal; says whether there is more.
    fn read(&mut self) -> bool {
        let was_complete = self.scan.is_complete();
        let more = self.scan.read(self.source.journal(), &mut self.schedule);
        let gaps = self.scan.take_gaps();
        if !gaps.is_empty()
            && let Err(error) = self.courier.mirror.tables().add_gaps(&gaps)
        {
            tracing::error!(%error, gaps = gaps.len(), "the tables do not take gaps: they are tried again");
            self.courier.mirror.left().keep_for_tables(gaps);
        }
        if self.scan.is_complete() && !was_complete {
            // The workers count what creates of this run have created.
            let end = self.source.journal().recovered().next;
            for lane in self.schedule.count_created_below(end) {
                self.destination.expect_also(lane);
            }
        }
        self.note_low();
        more
    }

    fn note_low(&self) {
        if self.courier.mirror.keeps_for_gaps() {
            return;
        }
        let position = self.scan.position();
        self.low.set(self.schedule.oldest().map_or(position, |oldest| oldest.min(position)));
    }

    /// Starts what may go.
    fn begin_attempts(&mut self) {
        self.hear_orders();
        // As the files have it now; one that they no longer name keeps what it had.
        if let Some(pool) = self.courier.view().pool(&self.destination.name) {
            let CopyPace { per_s_max, in_flight_max } = pool.upstream().copies;
            self.pace.set(per_s_max);
            self.in_flight_max = in_flight_max as usize;
        }
        loop {
            match self.may_begin() {
                May::Begin => self.begin(),
                May::ReadFirst => while self.read() {},
                May::Not => break,
            }
        }
    }

    fn may_begin(&mut self) -> May {
        let now_ms = clock::now_ms();
        if !self.scan.is_complete() || self.tasks.len() >= self.in_flight_max {
            return May::Not;
        }
        let Some(job) = self.schedule.head(now_ms) else { return May::Not };
        if !self.tasks.is_empty() && self.under_way_bytes + job.bytes > IN_FLIGHT_BYTES_MAX {
            return May::Not;
        }
        if !is_sent(job) {
            return May::Begin;
        }
        let is_backlog = self.courier.mirror.unix_ms().saturating_sub(job.unix_ms) > BACKLOG_MS;
        let (lane, created) = (job.lane, job.lane_created);
        if !self.breaker.admits(now_ms) {
            return May::Not;
        }
        if is_backlog && !self.pace.admits(now_ms) {
            self.breaker.unasked();
            return May::Not;
        }
        for lane in [Some(lane), created].into_iter().flatten() {
            // First the attempt, then the look at the fences: whoever fences does it the other way round.
            self.destination.begin(lane);
        }
        let is_new = |(lane, count): (u64, u64)| self.fences_read.get(&lane).copied().unwrap_or(0) != count;
        let counts = [Some(lane), created].map(|lane| lane.map(|lane| (lane, self.destination.fences(lane))));
        if counts.iter().flatten().any(|count| is_new(*count)) {
            for lane in [Some(lane), created].into_iter().flatten() {
                self.destination.end(lane);
            }
            self.breaker.unasked();
            if self.fences_read.len() >= FENCES_READ_MAX {
                self.fences_read.clear();
            }
            self.fences_read.extend(counts.into_iter().flatten());
            return May::ReadFirst;
        }
        May::Begin
    }

    /// Starts an attempt.
    fn begin(&mut self) {
        let Some(job) = self.schedule.take().map(Rc::new) else { return };
        // Before the primary is asked: what it says from now on holds what was known as done until now.
        let covered_to = self.schedule.covered_to(&job);
        self.under_way_bytes += job.bytes;
        let (courier, source) = (Rc::clone(&self.courier), self.source.clone());
        let task = {
            let (no_rules, job) = (Arc::clone(&self.no_rules), Rc::clone(&job));
            async move { attempt(&courier, &source, &no_rules, &job).await }
        };
        // Boxed, because a task is moved from layer to layer before it is where it stays.
        let handle = self.tasks.spawn_local(Box::pin(task));
        self.under_way.insert(handle.id(), (job, covered_to));
    }

    /// Sees to an attempt that is over.
    fn conclude(&mut self, done: Result<(Id, End), JoinError>) {
        let (id, end) = match done {
            Ok(done) => done,
            Err(error) => (error.id(), End::Unsent { why: format!("the attempt panicked: {error}") }),
        };
        let Some((job, covered_to)) = self.under_way.remove(&id) else { return };
        self.under_way_bytes -= job.bytes;
        if is_sent(&job) {
            for lane in [Some(job.lane), job.lane_created].into_iter().flatten() {
                self.destination.end(lane);
            }
        }
        if let (End::Settled(Settled::Resolved), Some(to)) = (&end, covered_to) {
            self.schedule.cover(&job, to);
        }
        self.follow(&job, end);
        self.note_low();
    }

    /// Does what the end of an attempt asks for.
    fn follow(&mut self, job: &Job, end: End) {
        let now_ms = clock::now_ms();
        match end {
            End::Settled(how) => {
                match how {
                    Settled::Delivered | Settled::Resolved if is_sent(job) => self.succeeded(),
                    _ => self.unasked(job),
                }
                self.settle(job, how);
            }
            // It is in the tables already.
            End::Park { reason, told } => {
                // Whoever answers is well.
                if told.came.is_empty() {
                    self.unasked(job)
                } else {
                    self.succeeded()
                }
                self.ended.superseded += u64::from(reason == "superseded");
                self.log_parked(job, reason, &told);
                self.settle(job, Settled::Parked);
            }
            End::Again { blame, retry_after_ms, told } => {
                self.failures += 1;
                let mut job = job.clone();
                job.failures += 1;
                let others = self.ended_others();
                // Where others get through, it is not the destination.
                let counts = match blame {
                    Blame::Copy => true,
                    Blame::Destination | Blame::Primary => job.failures > 1 && others > job.ended_before,
                };
                job.attempts += u32::from(counts);
                job.ended_before = others;
                let opened = match blame {
                    Blame::Primary => {
                        self.unasked(&job);
                        false
                    }
                    Blame::Destination => self.breaker.failed(job.id, true, now_ms),
                    Blame::Copy => self.breaker.failed(job.id, false, now_ms),
                };
                if opened {
                    self.trouble = Some(format!("{} {}", told.came, told.said));
                    tracing::warn!(destination = &*self.destination.name, came = told.came, "copies wait: it fails");
                }
                self.schedule.put_back(&job, now_ms + back_off_ms(job.failures, retry_after_ms));
            }
            End::Pause(told) => {
                self.failures += 1;
                if self.breaker.pause(now_ms) {
                    tracing::error!(
                        destination = &*self.destination.name,
                        came = told.came,
                        "copies wait: it lets nobody in"
                    );
                }
                self.trouble = Some(format!("{} {}", told.came, told.said));
                self.set_paused();
                self.schedule.put_back(job, 0);
            }
            End::Unsent { why } => {
                self.unasked(job);
                self.trouble = Some(why);
                self.schedule.put_back(job, now_ms + UNSENT_MS);
            }
        }
    }

    fn succeeded(&mut self) {
        if self.breaker.is_shut() {
            tracing::info!(destination = &*self.destination.name, "copies go on");
        }
        self.breaker.succeeded();
        self.trouble = None;
        self.set_paused();
    }

    /// The destination did not hear of an attempt that it was asked by.
    fn unasked(&mut self, job: &Job) {
        if is_sent(job) {
            self.breaker.unasked();
        }
    }

    fn set_paused(&self) {
        self.destination.paused.store(self.breaker.is_paused(), std::sync::atomic::Ordering::SeqCst);
    }

    fn ended_others(&self) -> u64 {
        self.ended.delivered + self.ended.resolved
    }

    /// Writes down that a copy has come to its end.
    fn settle(&mut self, job: &Job, how: Settled) {
        match how {
            Settled::Delivered => self.ended.delivered += 1,
            Settled::Rejected => self.ended.rejected += 1,
            Settled::Parked => self.ended.parked += 1,
            Settled::Resolved => self.ended.resolved += 1,
            Settled::Dropped if job.dropped => self.ended.dropped += 1,
            Settled::Dropped => {
                self.ended.unreadable += 1;
                self.leave_gap(job);
            }
        }
        let Job { id, lsn, lane, .. } = *job;
        let end = Settlement { destination: self.destination.name.clone(), id, intent: lsn.0, how, lane };
        // Without it, the copy is sent once more after a restart, with the same key; so are those behind it, whose settlements come
        // into the journal behind this one.
        if let Err(error) = self.source.journal().note(Kind::Delivered, 0, end.encode()) {
            tracing::debug!(%error, "a settlement is not in the journal");
        }
        self.destination.settle(lane);
        let ended = self.schedule.end(lsn);
        if let Some(created) = ended.filter(|ended| ended.counts_created).and_then(|ended| ended.lane_created) {
            self.destination.settle_also(created);
        }
    }
}

/// Whether the destination hears of it.
fn is_sent(job: &Job) -> bool {
    !job.superseded && !job.covered && job.class != Some(Class::Rejected)
}
