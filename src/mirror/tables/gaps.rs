//! Owns the tables of gaps: those that are kept, how many there ever were, and which were mended. One that was mended stays as an
//! empty entry, so that a gap that the journal still holds does not come back after a restart.

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

use super::{Sums, TableError, Tables};
use crate::mirror::record::{self, Gap};

/// Writes that are not copied, by destination, time and checksum: the gap as the journal has it; nothing once it is mended.
pub(super) const GAPS: TableDefinition<'_, (&str, u64, u64), &[u8]> = TableDefinition::new("gaps");
/// Gaps ever seen, by destination.
const GAP_COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("gap_counts");
/// Of those, gaps that were mended.
const MENDED_COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("mended_counts");
/// The gaps about an entity: destination and lane, then time and checksum.
const GAPS_ABOUT: TableDefinition<'_, (&str, u64, u64, u64), ()> = TableDefinition::new("gaps_about");

/// Gaps that are kept of a destination; the oldest go first, all are counted.
pub const GAPS_MAX: u64 = 10_000;

pub(super) fn make(begun: &WriteTransaction) -> Result<(), TableError> {
    begun.open_table(GAPS)?;
    begun.open_table(GAP_COUNTS)?;
    begun.open_table(MENDED_COUNTS)?;
    begun.open_table(GAPS_ABOUT)?;
    Ok(())
}

pub(super) fn sum(reading: &ReadTransaction, sums: &mut Sums) -> Result<(), TableError> {
    for (table, counts) in [(GAP_COUNTS, &mut sums.gaps), (MENDED_COUNTS, &mut sums.mended)] {
        for entry in reading.open_table(table)?.iter()? {
            let (key, count) = entry?;
            counts.insert(key.value().into(), count.value());
        }
    }
    Ok(())
}

impl Tables {
    /// Gaps ever seen of a destination.
    pub fn gap_count(&self, destination: &str) -> u64 {
        self.state().sums.gaps.get(destination).copied().unwrap_or(0)
    }

    /// Of those, gaps that were mended.
    pub fn mended_count(&self, destination: &str) -> u64 {
        self.state().sums.mended.get(destination).copied().unwrap_or(0)
    }

    /// Keeps gaps, as payloads of the journal; one that is known already does not count again.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn add_gaps(&self, payloads: &[Bytes]) -> Result<(), TableError> {
        self.write(|begun, sums| {
            let (mut gaps, mut counts) = (begun.open_table(GAPS)?, begun.open_table(GAP_COUNTS)?);
            let mut about = begun.open_table(GAPS_ABOUT)?;
            for payload in payloads {
                let Ok(gap) = Gap::decode(payload) else { continue };
                let hash = payload.iter().fold(0, |hash: u64, byte| hash.rotate_left(5) ^ u64::from(*byte));
                let hash = hash ^ record::lane(&gap.target);
                let key = (&*gap.destination, gap.unix_ms, hash);
                if gaps.get(key)?.is_some() {
                    continue;
                }
                gaps.insert(key, &**payload)?;
                if let Some(entity) = &gap.entity {
                    about.insert((key.0, record::lane(entity), key.1, key.2), ())?;
                }
                let count = sums.gaps.entry(gap.destination.clone()).or_default();
                *count += 1;
                counts.insert(&*gap.destination, *count)?;
                if *count > GAPS_MAX {
                    let range = (&*gap.destination, 0, 0)..=(&*gap.destination, u64::MAX, u64::MAX);
                    let oldest = gaps.range(range)?.next().transpose()?.map(|(key, value)| {
                        let entity = Gap::decode(value.value()).ok().and_then(|gap| gap.entity);
                        (key.value().1, key.value().2, entity)
                    });
                    if let Some((unix_ms, hash, entity)) = oldest {
                        gaps.remove((&*gap.destination, unix_ms, hash))?;
                        if let Some(entity) = entity {
                            about.remove((&*gap.destination, record::lane(&entity), unix_ms, hash))?;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// The newest gaps of all destinations that are not mended, at most `limit` of each.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn gaps(&self, limit: usize) -> Result<Vec<Gap>, TableError> {
        let names: Vec<Box<str>> = self.state().sums.gaps.keys().cloned().collect();
        let table = self.reading()?.open_table(GAPS)?;
        let mut found = Vec::new();
        for name in &names {
            let end = found.len() + limit;
            for entry in table.range((&**name, 0, 0)..=(&**name, u64::MAX, u64::MAX))?.rev() {
                if found.len() >= end {
                    break;
                }
                found.extend(Gap::decode(entry?.1.value()).ok());
            }
        }
        Ok(found)
    }

    /// Notes that both sides say the same of these entities: gaps about them from before `until_unix_ms` are mended.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn mend_gaps(&self, destination: &str, entities: &[&str], until_unix_ms: u64) -> Result<u64, TableError> {
        if self.gap_count(destination) == self.mended_count(destination) {
            return Ok(0);
        }
        let mut found: Vec<(u64, u64, u64)> = Vec::new();
        {
            let reading = self.reading()?;
            let (gaps, about) = (reading.open_table(GAPS)?, reading.open_table(GAPS_ABOUT)?);
            for entity in entities {
                let lane = record::lane(entity);
                for entry in about.range((destination, lane, 0, 0)..(destination, lane, until_unix_ms, 0))? {
                    let (_, lane, unix_ms, hash) = entry?.0.value();
                    let gap = gaps.get((destination, unix_ms, hash))?.and_then(|gap| Gap::decode(gap.value()).ok());
                    // Another entity may share the lane.
                    if gap.is_some_and(|gap| gap.entity.as_deref() == Some(entity)) {
                        found.push((lane, unix_ms, hash));
                    }
                }
            }
        }
        if found.is_empty() {
            return Ok(0);
        }
        self.write(|begun, sums| {
            let (mut gaps, mut about) = (begun.open_table(GAPS)?, begun.open_table(GAPS_ABOUT)?);
            let count = sums.mended.entry(destination.into()).or_default();
            let mut mended = 0;
            for (lane, unix_ms, hash) in found {
                // Somebody else may have been faster.
                if about.remove((destination, lane, unix_ms, hash))?.is_some() {
                    gaps.insert((destination, unix_ms, hash), [].as_slice())?;
                    mended += 1;
                }
            }
            *count += mended;
            begun.open_table(MENDED_COUNTS)?.insert(destination, *count)?;
            Ok(mended)
        })
    }
}
