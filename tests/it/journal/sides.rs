//! Side files: there as long as a record names them, gone afterwards, never half there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use banyan::journal::{AppendError, Durability, Kind, Lsn, Side};
use bytes::Bytes;

use super::memory_disk::{Faults, MemoryDisk};
use super::{body, open, open_on, put_synced, read_all};

fn store(journal: &banyan::journal::Journal, number: u64, bytes: usize) -> Side {
    journal.store_side(body(number, bytes)).unwrap().wait().unwrap()
}

fn name(journal: &banyan::journal::Journal, side: Side) -> Lsn {
    let ticket = journal.append_naming(side, Kind::Intent, 0, Bytes::from_static(b"head"), Durability::Synced).unwrap();
    ticket.wait().unwrap()
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("side")).unwrap().count()
}

#[test]
fn a_body_lives_as_long_as_the_record_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let kept = store(&journal, 1, 200_000);
    let trimmed = store(&journal, 2, 30_000);
    let orphan = store(&journal, 3, 30_000);
    assert!(kept < trimmed && trimmed < orphan);
    let first = name(&journal, trimmed);
    name(&journal, kept);
    assert!(journal.usage().live_bytes > 260_000, "{:?}", journal.usage());
    journal.trim(first.next());
    journal.close();
    assert_eq!(files(dir.path()), 2, "closing waits for the removal");
    let journal = open(dir.path());
    assert_eq!((files(dir.path()), journal.recovered().orphans), (1, 1));
    let record = &read_all(&journal)[0];
    assert_eq!(record.side, Some(kept));
    assert_eq!(journal.read_side(kept).unwrap(), body(1, 200_000));
    assert!(journal.read_side(orphan).is_err());
    assert!(store(&journal, 4, 10) > kept, "a number is not given again");
    journal.remove_side(kept);
    journal.close();
    assert_eq!(files(dir.path()), 1);
    assert!(journal.stats().side_bytes.load(Ordering::Relaxed) < 1000);
}

#[test]
fn a_damaged_body_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let side = store(&journal, 1, 1000);
    let path = std::fs::read_dir(dir.path().join("side")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&path).unwrap();
    for at in [0, 9, 13, 16, 500, 1015] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(journal.read_side(side).unwrap_err().kind(), std::io::ErrorKind::InvalidData, "at {at}");
    }
    std::fs::write(&path, &whole[..900]).unwrap();
    assert!(journal.read_side(side).is_err());
}

#[test]
fn limits_and_faults_refuse_a_body() {
    let disk = MemoryDisk::default();
    let journal = open_on(Arc::new(disk.clone()), Path::new("/journal"));
    put_synced(&journal, "before");
    let too_large = journal.store_side(vec![0; 16 * 1024 * 1024 + 1]).unwrap_err();
    assert!(matches!(too_large, AppendError::TooLarge { .. }));
    for faults in [Faults { syncs: 0..99, ..Faults::default() }, Faults { writes: 0..99, ..Faults::default() }] {
        disk.fail(faults);
        let failed = journal.store_side(body(1, 1000)).unwrap().wait().unwrap_err();
        assert!(matches!(failed, AppendError::Failed(_)));
    }
    disk.fail(Faults::default());
    store(&journal, 2, 0);
    journal.close();
    assert_eq!(disk.files().keys().filter(|path| path.starts_with("/journal/side")).count(), 1);
    assert_eq!((journal.usage().queue_bytes, journal.stats().side_bytes.load(Ordering::Relaxed)), (0, 16));
}

#[test]
fn a_body_that_was_named_survives_power_losses() {
    let mut chance = fastrand::Rng::with_seed(4);
    for round in 0..50 {
        let disk = MemoryDisk::default();
        let journal = open_on(Arc::new(disk.clone()), Path::new("/journal"));
        let side = store(&journal, round, 5000);
        name(&journal, side);
        let dark = open_on(Arc::new(disk.after_power_loss(&mut chance)), Path::new("/journal"));
        assert_eq!(dark.read_side(read_all(&dark)[0].side.unwrap()).unwrap(), body(round, 5000));
    }
}
