//! Owns what operators see of the copies; it delivers nothing itself.

mod orders;
mod shape;

pub use orders::{Edit, ORDER_COPIES_MAX, OrderError, Which};
pub use shape::{CopiesStatus, DestinationStatus, GapEntry, JournalStatus, ParkedCopy, ParkedEntry, ParkedGroup};

use std::collections::BTreeSet;
use std::sync::Arc;

use super::board::Standing;
use super::destination::Destination;
use super::kept;
use super::marker::hex;
use super::record::{Body, CopyId, Gap};
use super::shared::Mirror;
use super::tables::{Page, Parked, Position, TableError};
use crate::journal::{BOUNDS_SECONDS, Histogram};
use crate::observe::{CopiesFigures, CopiesSource, DestinationFigures, JournalFigures};

/// Of a parked body, so much is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

impl Mirror {
    /// How copies stand: of every destination of which something is known, or which is `named`.
    pub fn status<'n>(&self, named: impl IntoIterator<Item = &'n str>) -> CopiesStatus {
        let known = self.destinations();
        let mut destinations: Vec<_> = known.iter().map(|one| self.destination_status(&one.name, Some(one))).collect();
        let silent = self.tables().destinations().into_iter().chain(named.into_iter().map(Box::from));
        let silent: BTreeSet<Box<str>> = silent.filter(|name| !known.iter().any(|one| one.name == *name)).collect();
        destinations.extend(silent.iter().map(|name| self.destination_status(name, None)));
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

    /// How one stands; `None` where nothing was on its way to it since the start.
    fn destination_status(&self, name: &str, destination: Option<&Arc<Destination>>) -> DestinationStatus {
        let Standing { oldest_unix_ms, bytes, breaker, trouble, ended, failures } = self.board().standing(name);
        let pending = destination.map_or(0, |destination| destination.pending());
        let (seen, gaps_mended) = (self.tables().gap_count(name), self.tables().mended_count(name));
        let oldest_ms = oldest_unix_ms.map_or(0, |oldest| self.unix_ms().saturating_sub(oldest));
        DestinationStatus {
            pending,
            parked: self.tables().parked_count(name),
            gaps: seen.saturating_sub(gaps_mended),
            gaps_mended,
            oldest_ms: if pending == 0 { 0 } else { oldest_ms },
            bytes,
            paused: destination.is_some_and(|one| one.paused.load(std::sync::atomic::Ordering::SeqCst)),
            breaker: if breaker.is_empty() { "closed" } else { breaker },
            trouble,
            ended,
            failed_attempts: failures,
            name: name.into(),
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
        Ok(self.tables().gaps(limit)?.into_iter().map(gap_entry).collect())
    }

    /// The gaps behind a place of a walk over all. Blocks.
    ///
    /// # Errors
    /// When the tables fail.
    pub fn gaps_behind(&self, position: &Position, limit: usize) -> Result<Page<GapEntry>, TableError> {
        let (gaps, next) = self.tables().gaps_behind(position, limit)?;
        Ok((gaps.into_iter().map(gap_entry).collect(), next))
    }

    /// The parked copies behind a place of a walk over all. Blocks.
    ///
    /// # Errors
    /// When the tables fail.
    pub fn parked_behind(&self, position: &Position, limit: usize) -> Result<Page<ParkedEntry>, TableError> {
        let (parked, next) = self.tables().parked_behind(position, limit)?;
        Ok((parked.iter().map(entry).collect(), next))
    }
}

impl CopiesSource for Mirror {
    fn figures(&self) -> CopiesFigures {
        use std::sync::atomic::Ordering::Relaxed;
        let status = self.status([]);
        let destinations = status.destinations.into_iter().map(|one| DestinationFigures {
            pending: one.pending,
            oldest_s: one.oldest_ms as f64 / 1_000.0,
            bytes: one.bytes,
            parked: one.parked,
            gaps: one.gaps + one.gaps_mended,
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
            gaps_waiting: self.left().waiting() as u64,
            noted: vec![
                ("kept", counts.intents.load(Relaxed)),
                ("gap", counts.gaps.load(Relaxed)),
                ("gap_lost", self.left().lost()),
                ("loop", counts.loops.load(Relaxed)),
                ("fenced", counts.fences.load(Relaxed)),
                ("held_on_its_side", counts.drained.load(Relaxed)),
            ],
        }
    }
}

/// A copy's name as people type it.
pub fn name_of(id: CopyId) -> String {
    hex(&id.0.to_be_bytes())
}

/// Reads a copy's name.
pub fn id_of(name: &str) -> Option<CopyId> {
    u128::from_str_radix(name, 16).ok().filter(|_| name.len() == 32).map(CopyId)
}

fn gap_entry(gap: Gap) -> GapEntry {
    let Gap { destination, route, entity, method, target, reason, unix_ms } = gap;
    GapEntry { destination, route, entity, method, target, reason, unix_ms }
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
        created: story.created.clone(),
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
