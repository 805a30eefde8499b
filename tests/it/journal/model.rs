//! The journal beside a plain list: appending, trimming, closing and kills in any order come to the same.

use std::path::Path;
use std::sync::Arc;

use banyan::journal::{Durability, Journal, Kind, Lsn};
use bytes::Bytes;
use proptest::prelude::*;

use super::memory_disk::MemoryDisk;
use super::{body, open_on, put, read_all};

const DIR: &str = "/journal";

#[derive(Debug, Clone)]
enum Step {
    Append {
        bytes: usize,
        synced: bool,
    },
    /// Declares this share of the records settled.
    Trim {
        percent: usize,
    },
    Reopen,
    Kill,
    /// Looks up this share of the records by their numbers.
    Read {
        percent: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop_oneof![0..100usize, 900..1100usize, 7000..8193usize], any::<bool>())
            .prop_map(|(bytes, synced)| Step::Append { bytes, synced }),
        1 => (0..=100usize).prop_map(|percent| Step::Trim { percent }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => (0..100usize).prop_map(|percent| Step::Read { percent }),
    ]
}

/// The list, and the disk below the journal.
struct Model {
    disk: MemoryDisk,
    journal: Journal,
    records: Vec<(Lsn, Bytes)>,
    low_water: Lsn,
}

impl Model {
    fn live(&self) -> Vec<(Lsn, Bytes)> {
        self.records.iter().filter(|(lsn, _)| *lsn >= self.low_water).cloned().collect()
    }

    fn found(&self) -> Vec<(Lsn, Bytes)> {
        read_all(&self.journal).into_iter().map(|record| (record.lsn, record.payload)).collect()
    }

    /// After a restart records that were settled may be there again, and no other difference.
    fn reopen(&mut self, disk: MemoryDisk) {
        self.journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
        self.disk = disk;
        assert!(self.journal.low_water() <= self.low_water, "nothing is settled that was not called so");
        self.low_water = self.journal.low_water();
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Append { bytes, synced } => {
                let payload = body(self.records.len() as u64, bytes);
                let durability = if synced { Durability::Synced } else { Durability::Written };
                let lsn = put(&self.journal, payload.clone(), durability);
                self.records.push((lsn, payload));
            }
            Step::Trim { percent } => {
                let below = self.records.get(self.records.len() * percent / 100).map_or(Lsn(u64::MAX), |(lsn, _)| *lsn);
                self.journal.trim(below);
                self.low_water = self.journal.low_water();
            }
            Step::Reopen => {
                self.journal.close();
                self.reopen(self.disk.after_kill());
            }
            Step::Kill => self.reopen(self.disk.after_kill()),
            Step::Read { percent } => {
                if let Some((lsn, payload)) = self.records.get(self.records.len() * percent / 100) {
                    let read = self.journal.read(*lsn).ok().map(|record| record.payload);
                    assert_eq!(read, (*lsn >= self.low_water).then(|| payload.clone()));
                }
            }
        }
        assert_eq!(self.found(), self.live());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_steps_comes_to_the_same(steps in prop::collection::vec(step(), 1..60)) {
        let disk = MemoryDisk::default();
        let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
        let mut model = Model { disk, journal, records: Vec::new(), low_water: Lsn::FIRST };
        for step in &steps {
            model.take(step);
        }
    }

    /// Whatever bytes stand in the last segment, opening neither panics nor makes up records.
    #[test]
    fn garbage_is_never_a_record(garbage in prop::collection::vec(any::<u8>(), 0..4000), at in 0..4000usize) {
        let disk = MemoryDisk::default();
        let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
        let ticket = journal.append(Kind::Intent, 0, body(1, 100), Durability::Synced).unwrap();
        ticket.wait().unwrap();
        let mut files = disk.files();
        let segment = files.get_mut(Path::new("/journal/0000000000000001.segment")).unwrap();
        let first_free = 4096 + 136;
        segment[first_free + at..first_free + at + garbage.len()].copy_from_slice(&garbage);
        let journal = open_on(Arc::new(MemoryDisk::of(files)), Path::new(DIR));
        prop_assert_eq!(read_all(&journal).len(), 1);
    }
}
