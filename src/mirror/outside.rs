//! Owns what operators see of the copies and do about them; it delivers nothing itself.

use bytes::Bytes;
use serde::Serialize;

use super::INLINE_BYTES_MAX;
use super::board::{Ended, Standing};
use super::destination::Destination;
use super::kept;
use super::record::{Body, Class, CopyId, Gap, Intent, Outcome, lane};
use super::shared::Mirror;
use super::tables::{Parked, TableError};
use crate::journal::{AppendError, BOUNDS_SECONDS, Durability, Histogram, Kind};
use crate::observe::{CopiesFigures, CopiesSource, DestinationFigures, JournalFigures};

/// Of a parked body, so much is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 64 * 1024;
/// Copies that one order replays or drops at most.
pub const ORDER_COPIES_MAX: usize = 10_000;

/// How all copies stand.
#[derive(Debug, Clone, Serialize)]
pub struct CopiesStatus {
    /// By destination.
    pub destinations: Vec<DestinationStatus>,
    /// The journal.
    pub journal: JournalStatus,
}

/// How the copies for one destination stand.
#[derive(Debug, Clone, Serialize)]
pub struct DestinationStatus {
    /// The upstream.
    pub name: Box<str>,
    /// Copies that have not come to their end.
    pub pending: u64,
    /// Copies that are set aside.
    pub parked: u64,
    /// Writes that were served and not copied, over all runs.
    pub gaps: u64,
    /// How long the oldest that has not come to its end has been waiting, in milliseconds; 0 without one.
    pub oldest_ms: u64,
    /// Their bytes, as far as the courier has read.
    pub bytes: u64,
    /// Whether nothing is sent because it lets nobody in.
    pub paused: bool,
    /// `closed`, `open`, `half-open` or `paused`.
    pub breaker: &'static str,
    /// Why nothing goes, where that is so.
    pub trouble: Option<String>,
    /// Copies that have come to their end since the start.
    pub ended: Ended,
    /// Attempts that failed since the start.
    pub failed_attempts: u64,
}

/// How the journal stands.
#[derive(Debug, Clone, Serialize)]
pub struct JournalStatus {
    /// Bytes that it takes.
    pub bytes: u64,
    /// Bytes from which on writes are not copied.
    pub high_water_bytes: u64,
    /// Bytes that it may take.
    pub bytes_max: u64,
    /// Half of all fsyncs took no longer, in milliseconds, as far as buckets tell; `None` before the first.
    pub fsync_p50_ms: Option<f64>,
    /// 99 of 100 fsyncs took no longer.
    pub fsync_p99_ms: Option<f64>,
    /// Whether its disk fails.
    pub failing: bool,
}

/// Parked copies that belong together.
#[derive(Debug, Clone, Serialize)]
pub struct ParkedGroup {
    /// Its name.
    pub group: String,
    /// The upstream.
    pub destination: Box<str>,
    /// The route.
    pub route: Box<str>,
    /// In a word.
    pub reason: Box<str>,
    /// The status or fault.
    pub came: Box<str>,
    /// What the destination says, without what differs from copy to copy.
    pub shape: Box<str>,
    /// How many.
    pub count: u64,
    /// When the first and the last were parked, in milliseconds since the epoch.
    pub first_unix_ms: u64,
    /// See `first_unix_ms`.
    pub last_unix_ms: u64,
    /// One of them.
    pub example: String,
}

/// A parked copy in a list.
#[derive(Debug, Clone, Serialize)]
pub struct ParkedEntry {
    /// Its name.
    pub id: String,
    /// Its group.
    pub group: String,
    /// The upstream.
    pub destination: Box<str>,
    /// The route.
    pub route: Box<str>,
    /// The method.
    pub method: Box<str>,
    /// Path and query.
    pub target: Box<str>,
    /// What it is about.
    pub entity: Option<Box<str>>,
    /// In a word.
    pub reason: Box<str>,
    /// The status or fault.
    pub came: Box<str>,
    /// What the destination said.
    pub said: Box<str>,
    /// Attempts.
    pub attempts: u32,
    /// When it was parked, in milliseconds since the epoch.
    pub unix_ms: u64,
    /// Its idempotency key.
    pub key: Box<str>,
}

/// A parked copy as a whole.
#[derive(Debug, Clone, Serialize)]
pub struct ParkedCopy {
    /// What a list shows.
    #[serde(flatten)]
    pub entry: ParkedEntry,
    /// Who served the write.
    pub primary: Box<str>,
    /// How: the status, 0 without one.
    pub primary_status: u16,
    /// The id that the primary gave to what was created.
    pub created: Option<Box<str>>,
    /// When the write was admitted, in milliseconds since the epoch.
    pub admitted_unix_ms: u64,
    /// The headers; credentials are not shown.
    pub headers: Vec<(Box<str>, String)>,
    /// The body as text, as far as it is shown.
    pub body: String,
    /// How long it is, in bytes.
    pub body_bytes: usize,
}

/// A write that was served and not copied.
#[derive(Debug, Clone, Serialize)]
pub struct GapEntry {
    /// The upstream that misses it.
    pub destination: Box<str>,
    /// The route.
    pub route: Box<str>,
    /// What it is about.
    pub entity: Option<Box<str>>,
    /// The method.
    pub method: Box<str>,
    /// Path and query.
    pub target: Box<str>,
    /// Why.
    pub reason: Box<str>,
    /// When, in milliseconds since the epoch.
    pub unix_ms: u64,
}

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
    /// How copies stand.
    pub fn status(&self) -> CopiesStatus {
        let mut destinations: Vec<_> = self.destinations().iter().map(|one| self.destination_status(one)).collect();
        destinations.sort_by(|one, other| one.name.cmp(&other.name));
        let (usage, stats) = (self.journal().usage(), self.journal().stats());
        let failing = stats.failing.load(std::sync::atomic::Ordering::Relaxed) == 1;
        let journal = JournalStatus {
            bytes: usage.live_bytes,
            high_water_bytes: usage.high_water_bytes,
            bytes_max: usage.bytes_max,
            fsync_p50_ms: quantile_ms(&stats.fsync, 50),
            fsync_p99_ms: quantile_ms(&stats.fsync, 99),
            failing,
        };
        CopiesStatus { destinations, journal }
    }

    fn destination_status(&self, destination: &Destination) -> DestinationStatus {
        let name = destination.name.clone();
        let Standing { oldest_unix_ms, bytes, breaker, trouble, ended, failures } = self.board().standing(&name);
        let pending = destination.pending();
        let oldest_ms = oldest_unix_ms.map_or(0, |oldest| self.unix_ms().saturating_sub(oldest));
        DestinationStatus {
            pending,
            parked: self.tables().parked_count(&name),
            gaps: self.tables().gap_count(&name),
            oldest_ms: if pending == 0 { 0 } else { oldest_ms },
            bytes,
            paused: destination.paused.load(std::sync::atomic::Ordering::SeqCst),
            breaker: if breaker.is_empty() { "closed" } else { breaker },
            trouble,
            ended,
            failed_attempts: failures,
            name,
        }
    }

    /// The groups of parked copies, the largest first. Blocks.
    ///
    /// # Errors
    /// When the tables fail.
    pub fn parked_groups(&self) -> Result<Vec<ParkedGroup>, TableError> {
        let mut groups: Vec<ParkedGroup> = Vec::new();
        self.tables().each_parked(|parked| {
            let group = parked.group();
            let unix_ms = parked.story.unix_ms;
            match groups.iter_mut().find(|known| known.group == group) {
                Some(known) => {
                    known.count += 1;
                    known.first_unix_ms = known.first_unix_ms.min(unix_ms);
                    known.last_unix_ms = known.last_unix_ms.max(unix_ms);
                }
                None => groups.push(ParkedGroup {
                    group,
                    destination: parked.intent.destination,
                    route: parked.intent.route,
                    reason: parked.story.reason,
                    came: parked.story.came,
                    shape: parked.story.shape,
                    count: 1,
                    first_unix_ms: unix_ms,
                    last_unix_ms: unix_ms,
                    example: name_of(parked.intent.id),
                }),
            }
            true
        })?;
        groups.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.group.cmp(&other.group)));
        Ok(groups)
    }

    /// Parked copies, of a group or all, at most `limit`. Blocks.
    ///
    /// # Errors
    /// When the tables fail.
    pub fn parked_list(&self, group: Option<&str>, limit: usize) -> Result<Vec<ParkedEntry>, TableError> {
        let mut found = Vec::new();
        self.tables().each_parked(|parked| {
            if group.is_none_or(|group| parked.group() == group) {
                found.push(entry(&parked));
            }
            found.len() < limit
        })?;
        found.sort_by_key(|entry| entry.unix_ms);
        Ok(found)
    }

    /// A parked copy as a whole; a write with several destinations has one for each. Blocks.
    ///
    /// # Errors
    /// When the tables fail.
    pub fn parked_copies(&self, id: CopyId) -> Result<Vec<ParkedCopy>, TableError> {
        Ok(self.tables().parked(id)?.iter().map(whole).collect())
    }

    /// The newest gaps, at most `limit` of each destination. Blocks.
    ///
    /// # Errors
    /// When the tables fail.
    pub fn gaps(&self, limit: usize) -> Result<Vec<GapEntry>, TableError> {
        let gap = |gap: Gap| {
            let Gap { destination, route, entity, method, target, reason, unix_ms } = gap;
            GapEntry { destination, route, entity, method, target, reason, unix_ms }
        };
        Ok(self.tables().gaps(limit)?.into_iter().map(gap).collect())
    }

    /// Lets the courier try a destination at once, whatever it said last; false where there is none of that name.
    pub fn resume(&self, destination: &str) -> bool {
        let known = self.destinations().iter().any(|known| *known.name == *destination);
        if known {
            self.board().resume(destination);
        }
        known
    }

    /// Sends parked copies once more, with their keys; says how many. Blocks until they are durable in the journal.
    ///
    /// # Errors
    /// When there are none, or one could not be written; those before it are on their way.
    pub fn replay(&self, which: &Which, edit: &Edit) -> Result<usize, OrderError> {
        if matches!(which, Which::Group(_)) && *edit != Edit::default() {
            return Err(OrderError::EditOfGroup);
        }
        if let Some(target) = edit.target.as_ref().filter(|target| !is_target(target)) {
            return Err(OrderError::Target(target.clone()));
        }
        self.each(which, |parked| self.replay_one(parked, edit))
    }

    /// Gives parked copies up; says how many. Blocks.
    ///
    /// # Errors
    /// When there are none, or the tables fail.
    pub fn drop_parked(&self, which: &Which) -> Result<usize, OrderError> {
        self.each(which, |parked| {
            self.tables().unpark(&parked.intent.destination, parked.intent.id)?;
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

impl CopiesSource for Mirror {
    fn figures(&self) -> CopiesFigures {
        use std::sync::atomic::Ordering::Relaxed;
        let status = self.status();
        let destinations = status.destinations.into_iter().map(|one| DestinationFigures {
            pending: one.pending,
            oldest_s: one.oldest_ms as f64 / 1_000.0,
            bytes: one.bytes,
            parked: one.parked,
            gaps: one.gaps,
            paused: one.paused,
            failing: matches!(one.breaker, "open" | "half-open"),
            ended: one.ended.by_name().into(),
            failures: one.failed_attempts,
            name: one.name,
        });
        let (counts, stats) = (self.counts(), self.journal().stats());
        CopiesFigures {
            destinations: destinations.collect(),
            journal: JournalFigures {
                bytes: status.journal.bytes,
                bytes_max: status.journal.bytes_max,
                records: stats.records_appended.load(Relaxed),
                refused: stats.records_refused.load(Relaxed) + stats.records_failed.load(Relaxed),
                disk_errors: stats.disk_errors.load(Relaxed),
                failing: status.journal.failing,
                fsync_bounds: BOUNDS_SECONDS.into(),
                fsync_counts: stats.fsync.counts().into(),
                fsync_sum_s: stats.fsync.sum_seconds(),
            },
            noted: vec![
                ("kept", counts.intents.load(Relaxed)),
                ("gap", counts.gaps.load(Relaxed)),
                ("gap_lost", counts.gaps_lost.load(Relaxed)),
                ("loop", counts.loops.load(Relaxed)),
                ("fenced", counts.fences.load(Relaxed)),
                ("held_on_its_side", counts.drained.load(Relaxed)),
            ],
        }
    }
}

/// A copy's name as people type it.
pub fn name_of(id: CopyId) -> String {
    format!("{:032x}", id.0)
}

/// Reads a copy's name.
pub fn id_of(name: &str) -> Option<CopyId> {
    u128::from_str_radix(name, 16).ok().filter(|_| name.len() == 32).map(CopyId)
}

fn is_target(target: &str) -> bool {
    target.starts_with('/') && http::uri::PathAndQuery::try_from(target).is_ok()
}

fn entry(parked: &Parked) -> ParkedEntry {
    let Parked { story, intent } = parked;
    ParkedEntry {
        id: name_of(intent.id),
        group: parked.group(),
        destination: intent.destination.clone(),
        route: intent.route.clone(),
        method: intent.method.clone(),
        target: intent.target.clone(),
        entity: intent.entity.clone(),
        reason: story.reason.clone(),
        came: story.came.clone(),
        said: story.said.clone(),
        attempts: story.attempts,
        unix_ms: story.unix_ms,
        key: intent.key.clone(),
    }
}

fn whole(parked: &Parked) -> ParkedCopy {
    let Parked { story, intent } = parked;
    let body = if let Body::Inline(parts) = &intent.body { parts.concat() } else { Vec::new() };
    ParkedCopy {
        entry: entry(parked),
        primary: intent.primary.clone(),
        primary_status: story.primary_status,
        created: story.created.clone(),
        admitted_unix_ms: intent.unix_ms,
        headers: intent.headers.iter().map(|(name, value)| (name.clone(), kept::show(name, value))).collect(),
        body: String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES_MAX)]).into_owned(),
        body_bytes: body.len(),
    }
}

/// The bound of the bucket that holds the quantile, in milliseconds.
fn quantile_ms(histogram: &Histogram, percent: u64) -> Option<f64> {
    let counts = histogram.counts();
    let total: u64 = counts.iter().sum();
    let wanted = (total * percent).div_ceil(100);
    let mut below = 0;
    let bucket = counts.iter().position(|count| {
        below += count;
        below >= wanted
    });
    (total > 0).then(|| BOUNDS_SECONDS[bucket.unwrap_or(0).min(BOUNDS_SECONDS.len() - 1)] * 1_000.0)
}
