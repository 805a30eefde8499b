//! Segments that are used again: what stood in them before never comes back, and the disk holds no more than it may.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use banyan::journal::{Durability, Journal, Lsn, Options};

use super::memory_disk::MemoryDisk;
use super::{SEGMENT_BYTES, body, open, open_on, options, payloads, put, put_synced, read_all};

const DIR: &str = "/journal";
/// Records of one size: what an earlier use of a segment left begins where new records begin.
const BYTES: usize = 1000;

#[test]
fn records_of_an_earlier_use_never_come_back() {
    let disk = MemoryDisk::default();
    let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
    let (mut written, mut used_again) = (HashMap::new(), 0);
    for number in 0..400 {
        let lsn = put_synced(&journal, body(number, BYTES));
        written.insert(lsn, number);
        if number % 5 == 0 {
            journal.trim(lsn);
            let low_water = journal.low_water();
            let killed = open_on(Arc::new(disk.after_kill()), Path::new(DIR));
            let found = read_all(&killed);
            assert_eq!(found.last().unwrap().lsn, lsn);
            for record in &found {
                assert_eq!(record.payload, body(written[&record.lsn], BYTES), "the one that belongs there");
            }
            let settled = found.iter().filter(|record| record.lsn < low_water).count();
            assert!(settled * (BYTES + 32) < 3 * SEGMENT_BYTES as usize, "at most what whole segments hold");
            used_again = used_again.max(disk.files().len());
        }
    }
    assert!(used_again <= 8, "{used_again} files hold what is alive, two spares and one ahead");
}

#[test]
fn twenty_times_the_capacity_goes_through() {
    let dir = tempfile::tempdir().unwrap();
    let capacity = 16 * SEGMENT_BYTES;
    let journal = Journal::open(Options { bytes_max: capacity, ..options(dir.path()) }).unwrap();
    let records = 20 * capacity / 8000;
    let mut next = Lsn::FIRST;
    for number in 0..records {
        next = put(&journal, body(number, 8000), Durability::Written).next();
        if number % 10 == 0 {
            journal.trim(next);
        }
    }
    journal.trim(next);
    let on_disk: u64 = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(on_disk <= capacity, "{on_disk} bytes on the disk");
    assert!(payloads(&journal).is_empty());
}

#[test]
fn the_low_water_mark_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for number in 0..10 {
        put_synced(&journal, body(number, 10));
    }
    journal.trim(Lsn(8));
    journal.trim(Lsn(3));
    assert_eq!(journal.low_water(), Lsn(8));
    drop(journal);
    let journal = open(dir.path());
    assert_eq!((journal.low_water(), read_all(&journal)[0].lsn, read_all(&journal).len()), (Lsn(8), Lsn(8), 3));
    assert!(journal.read(Lsn(7)).is_err());
    journal.trim(Lsn(u64::MAX));
    assert_eq!(journal.low_water(), Lsn(12), "no further than what is written, the checkpoint included");
    assert_eq!(put_synced(&journal, "next"), Lsn(12));
}

/// A regression: the last segment of a larger journal was written on, and counted as full for good.
#[test]
fn segments_of_an_earlier_size_are_given_back() {
    for (before, after) in [(8 * SEGMENT_BYTES, SEGMENT_BYTES), (SEGMENT_BYTES, 8 * SEGMENT_BYTES)] {
        let dir = tempfile::tempdir().unwrap();
        let with = |segment_bytes: u64| {
            Journal::open(Options { segment_bytes, bytes_max: 8 * segment_bytes, ..options(dir.path()) }).unwrap()
        };
        let journal = with(before);
        let mut last = Lsn::FIRST;
        for number in 0..5 {
            last = put_synced(&journal, body(number, BYTES));
        }
        drop(journal);
        let journal = with(after);
        assert_eq!(payloads(&journal).len(), 5, "what is not settled is there");
        let next = put_synced(&journal, body(5, BYTES));
        assert!(next > last && payloads(&journal).len() == 6);
        drop(journal);
        let journal = with(after);
        assert_eq!(payloads(&journal).len(), 6, "over both sizes");
        journal.trim(next.next());
        // More than there may be at a time.
        for number in 0..20 * after / BYTES as u64 {
            let lsn = put(&journal, body(number, BYTES), Durability::Written);
            if number % 10 == 0 {
                journal.trim(lsn);
            }
        }
        journal.trim(put_synced(&journal, "last").next());
        let deadline = std::time::Instant::now() + crate::support::PATIENCE;
        let sizes = || -> Vec<u64> {
            let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata());
            // One may be going away just now.
            files.flatten().filter(std::fs::Metadata::is_file).map(|about| about.len()).collect()
        };
        while sizes().contains(&before) {
            assert!(std::time::Instant::now() < deadline, "{:?}", sizes());
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        assert!(sizes().iter().sum::<u64>() <= 8 * after + 4096, "{:?}", sizes());
    }
}
