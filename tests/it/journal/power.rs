//! Power losses at any moment over many lives of one journal, and that these checks see a journal that does not sync.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use banyan::journal::{Durability, Journal, Kind, Lsn, ReadError};
use bytes::Bytes;

use super::memory_disk::{Faults, MemoryDisk};
use super::{body, open_on};

const DIR: &str = "/journal";
const LIVES: u64 = 60;

/// What one journal went through.
#[derive(Default)]
struct History {
    /// Acknowledged as synced and not trimmed.
    synced: BTreeMap<Lsn, Bytes>,
    /// Everything that was ever appended under a number since the last power loss.
    tried: BTreeMap<Lsn, Bytes>,
    low_water: Lsn,
}

impl History {
    /// Says what is wrong with what a life finds.
    fn judge(&self, found: &BTreeMap<Lsn, Bytes>) -> Result<(), String> {
        for (lsn, payload) in self.synced.range(self.low_water..) {
            if found.get(lsn) != Some(payload) {
                return Err(format!("record {lsn} was acknowledged as synced and is not there"));
            }
        }
        for (lsn, payload) in found {
            if self.tried.get(lsn).is_some_and(|tried| tried != payload) {
                return Err(format!("record {lsn} is garbage"));
            }
        }
        let numbers: Vec<_> = found.keys().copied().collect();
        // Checkpoints have numbers and are not seen: gaps, but no record that was tried is missing before a later one.
        let last = numbers.last().copied().unwrap_or_default();
        let missing = self.tried.range(self.low_water..last.max(self.low_water));
        match missing.map(|(lsn, _)| lsn).find(|lsn| !found.contains_key(lsn)) {
            Some(lsn) => Err(format!("record {lsn} is missing before others")),
            None => Ok(()),
        }
    }
}

fn read(journal: &Journal) -> Result<BTreeMap<Lsn, Bytes>, ReadError> {
    let mut cursor = journal.cursor(Lsn::FIRST);
    std::iter::from_fn(|| cursor.next().transpose())
        .map(|next| next.map(|record| (record.lsn, record.payload)))
        .collect()
}

/// Lives through power losses; an error tells in which life something was wrong.
fn live(seed: u64, faults: &Faults) -> Result<(), String> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut disk = MemoryDisk::default();
    let mut history = History::default();
    for life in 0..LIVES {
        disk.fail(faults.clone());
        let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
        let wrong = |wrong: String| format!("seed {seed}, life {life}: {wrong}");
        let found = read(&journal).map_err(|error| wrong(error.to_string()))?;
        history.judge(&found).map_err(wrong)?;
        history.tried = found;
        let mut tickets = Vec::new();
        for _ in 0..chance.usize(1..30) {
            let durability = if chance.bool() { Durability::Synced } else { Durability::Written };
            // Sizes from few, so that what is left of an earlier life begins where new records begin.
            let payload = body(chance.u64(..), [8, 500, 500, 3000, 8000][chance.usize(0..5)]);
            let ticket = journal.append(Kind::Outcome, life, payload.clone(), durability).expect("there is room");
            tickets.push((ticket, payload, durability));
            if chance.u8(0..4) == 0 {
                for (ticket, payload, durability) in tickets.drain(..) {
                    let lsn = ticket.wait().expect("the disk is well");
                    history.tried.insert(lsn, payload.clone());
                    if durability == Durability::Synced {
                        history.synced.insert(lsn, payload);
                    }
                }
            }
            if chance.u8(0..8) == 0 {
                // Only what is durable may be called settled.
                let below = history.synced.keys().rev().nth(chance.usize(0..20)).copied().unwrap_or_default();
                journal.trim(below);
                history.low_water = history.low_water.max(below);
            }
        }
        let dark = disk.after_power_loss(&mut chance);
        for (ticket, payload, _) in tickets {
            history.tried.insert(ticket.wait().expect("the disk is well"), payload);
        }
        disk = dark;
    }
    Ok(())
}

#[test]
fn no_power_loss_takes_what_was_synced() {
    for seed in 0..20 {
        live(seed, &Faults::default()).unwrap();
    }
}

#[test]
fn a_journal_that_does_not_sync_is_found_out() {
    let lies = Faults { syncs_lie: true, ..Faults::default() };
    let found_out = (0..20).filter(|seed| live(*seed, &lies).is_err()).count();
    assert_eq!(found_out, 20, "each run has to see the bug");
}
