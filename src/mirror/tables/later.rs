//! Owns what is known of entities whose copies are parked: the newest copy about them that has arrived since. Sending the parked one
//! once more would undo that one.

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{PARKED, Sums, TableError, Tables, less};
use crate::mirror::record::{self, CopyId, Intent};

/// What is watched, by destination, lane of the entity and the parked copy's name: [`Watched`] as JSON.
const WATCHED: TableDefinition<'_, (&str, u64, u128), &[u8]> = TableDefinition::new("watched");

/// A parked copy, or one that is being replayed, and what came after it.
#[derive(Debug, Serialize, Deserialize)]
struct Watched {
    entity: Box<str>,
    unix_ms: u64,
    later: Option<Later>,
}

/// A copy about the same entity that is newer and has arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Later {
    /// Its method.
    pub method: Box<str>,
    /// Its path and query.
    pub target: Box<str>,
    /// Its idempotency key.
    pub key: Box<str>,
    /// When it was admitted, in milliseconds since the epoch.
    pub unix_ms: u64,
}

/// A copy that has come to its end at its destination.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The destination.
    pub destination: Box<str>,
    /// The copy.
    pub id: CopyId,
    /// What it is about.
    pub entity: Option<Box<str>>,
    /// What it was.
    pub write: Later,
    /// Whether the destination has it: it was not rejected by the primary, for one.
    pub has_arrived: bool,
    /// Whether it carried the state that the primary had at some moment after this one, in milliseconds since the epoch.
    pub state_since_unix_ms: Option<u64>,
}

pub(super) fn make(begun: &WriteTransaction) -> Result<(), TableError> {
    begun.open_table(WATCHED)?;
    Ok(())
}

pub(super) fn sum(reading: &ReadTransaction, sums: &mut Sums) -> Result<(), TableError> {
    for entry in reading.open_table(WATCHED)?.iter()? {
        *sums.watched.entry(entry?.0.value().0.into()).or_default() += 1;
    }
    Ok(())
}

/// Begins to watch what a parked copy is about; one that is parked again keeps what is known.
pub(super) fn watch(begun: &WriteTransaction, sums: &mut Sums, intent: &Intent) -> Result<(), TableError> {
    let Some(entity) = &intent.entity else { return Ok(()) };
    let (mut table, key) = (begun.open_table(WATCHED)?, (&*intent.destination, record::lane(entity), intent.id.0));
    if table.get(key)?.is_none() {
        let watched = Watched { entity: entity.clone(), unix_ms: intent.unix_ms, later: None };
        table.insert(key, &*encoded(&watched))?;
        *sums.watched.entry(key.0.into()).or_default() += 1;
    }
    Ok(())
}

fn encoded(watched: &Watched) -> Vec<u8> {
    serde_json::to_vec(watched).unwrap_or_default()
}

impl Tables {
    /// Whether an arrival may have to be noted: something is parked, watched, or a gap.
    pub fn minds(&self, destination: &str, is_state: bool) -> bool {
        let sums = &self.state().sums;
        let has =
            |counts: &std::collections::HashMap<Box<str>, u64>| counts.get(destination).is_some_and(|count| *count > 0);
        has(&sums.parked)
            || has(&sums.watched)
            || (is_state && sums.gaps.get(destination) != sums.mended.get(destination))
    }

    /// Notes a copy that has come to its end: it is parked no more, older ones of its entity are parked behind a newer one now, and
    /// older gaps about it are mended where it was the primary's state.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn arrive(&self, arrival: &Arrival) -> Result<(), TableError> {
        let Arrival { destination, id, entity, write, has_arrived, state_since_unix_ms } = arrival;
        let lane = entity.as_deref().map(record::lane);
        let mut outdated = Vec::new();
        let (is_parked, is_watched) = {
            let reading = self.reading()?;
            let watched = reading.open_table(WATCHED)?;
            if let Some(lane) = lane.filter(|_| *has_arrived) {
                let range = (&**destination, lane, 0)..=(&**destination, lane, u128::MAX);
                for entry in watched.range(range)? {
                    let (key, value) = entry?;
                    let known = serde_json::from_slice::<Watched>(value.value());
                    let is_older = |known: &Watched| {
                        Some(&known.entity) == entity.as_ref()
                            && known.unix_ms <= write.unix_ms
                            && known.later.as_ref().is_none_or(|later| later.unix_ms <= write.unix_ms)
                    };
                    if let Some(known) = known.ok().filter(|known| key.value().2 != id.0 && is_older(known)) {
                        outdated.push((key.value().2, Watched { later: Some(write.clone()), ..known }));
                    }
                }
            }
            let is_watched = match lane {
                Some(lane) => watched.get((&**destination, lane, id.0))?.is_some(),
                None => false,
            };
            (reading.open_table(PARKED)?.get((&**destination, id.0))?.is_some(), is_watched)
        };
        if is_parked {
            self.unpark(destination, *id)?;
        }
        if is_watched || !outdated.is_empty() {
            self.write(|begun, sums| {
                let (mut watched, lane) = (begun.open_table(WATCHED)?, lane.unwrap_or_default());
                if watched.remove((&**destination, lane, id.0))?.is_some() {
                    less(&mut sums.watched, destination);
                }
                for (id, known) in &outdated {
                    watched.insert((&**destination, lane, *id), &*encoded(known))?;
                }
                Ok(())
            })?;
        }
        if let (Some(until), Some(entity)) = (state_since_unix_ms, entity) {
            self.mend_gaps(destination, &[&**entity], *until)?;
        }
        Ok(())
    }

    /// Forgets what is watched for a parked copy that a person gives up.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn unwatch(&self, intent: &Intent) -> Result<(), TableError> {
        let Some(entity) = &intent.entity else { return Ok(()) };
        self.write(|begun, sums| {
            let key = (&*intent.destination, record::lane(entity), intent.id.0);
            if begun.open_table(WATCHED)?.remove(key)?.is_some() {
                less(&mut sums.watched, key.0);
            }
            Ok(())
        })
    }

    /// The newest copy that has arrived since about what a parked one is about; `None` where none is known.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn later_than(&self, intent: &Intent) -> Result<Option<Later>, TableError> {
        let Some(entity) = &intent.entity else { return Ok(None) };
        let table = self.reading()?.open_table(WATCHED)?;
        let key = (&*intent.destination, record::lane(entity), intent.id.0);
        let known = table.get(key)?.and_then(|value| serde_json::from_slice::<Watched>(value.value()).ok());
        Ok(known.and_then(|known| known.later))
    }
}
