//! Operations that fail, each of them once and several in a row: no acknowledged record is lost, no ticket lies.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use banyan::journal::{AppendError, Durability, Journal, Kind, Lsn, Record};
use bytes::Bytes;

use super::memory_disk::{Faults, MemoryDisk};
use super::{body, open_on, put, put_synced, read_all};

const DIR: &str = "/journal";
/// Records of one run; they go through several segments.
const RECORDS: usize = 16;
/// No failing disk keeps a run longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a run was told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<(Lsn, u64, Durability)>,
    /// Tried and not taken; those may be there after a crash, and never under a number that another one has.
    refused: Vec<u64>,
}

fn size(number: u64) -> usize {
    [3000, 10, 700, 5000][number as usize % 4]
}

/// Appends numbered records, each until it is taken, so that a run goes on behind every fault.
fn run(journal: &Journal) -> Told {
    let (mut told, started) = (Told::default(), Instant::now());
    let mut attempts = 0;
    // The last one is synced: until it is, what was only written may be out of sight.
    while told.acknowledged.len() < RECORDS || attempts % 3 != 1 {
        assert!(started.elapsed() < PATIENCE, "the journal does not come back");
        let durability = if attempts % 3 == 0 { Durability::Synced } else { Durability::Written };
        let payload = body(attempts, size(attempts));
        match journal.append(Kind::Intent, attempts, payload, durability).and_then(|ticket| ticket.wait()) {
            Ok(lsn) => told.acknowledged.push((lsn, attempts, durability)),
            Err(AppendError::Failed(_) | AppendError::Full) => {
                told.refused.push(attempts);
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
        attempts += 1;
    }
    told
}

/// The records are those that were acknowledged as this durable, in order, and otherwise only ones that were tried.
fn check(records: &[Record], told: &Told, all: bool) {
    assert!(records.is_sorted_by(|a, b| a.lsn < b.lsn), "numbers go up");
    for record in records {
        assert_eq!(record.payload, body(record.epoch, size(record.epoch)), "garbage under {}", record.lsn);
    }
    let wanted = told.acknowledged.iter().filter(|(_, _, durability)| all || *durability == Durability::Synced);
    for (lsn, number, _) in wanted {
        let found = records.iter().find(|record| record.lsn == *lsn);
        assert_eq!(found.map(|record| record.epoch), Some(*number), "record {lsn} was acknowledged");
    }
    if all {
        let acknowledged = |record: &Record| told.acknowledged.iter().any(|(lsn, ..)| *lsn == record.lsn);
        assert!(records.iter().all(acknowledged), "a refused record is there");
    }
}

/// One run with these faults, read by the process itself, after closing, after a kill and after a power loss.
fn survives(faults: &Faults, chance: &mut fastrand::Rng) {
    let disk = MemoryDisk::default();
    let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
    disk.fail(faults.clone());
    let told = run(&journal);
    check(&read_all(&journal), &told, true);
    let (killed, dark) = (disk.after_kill(), disk.after_power_loss(chance));
    journal.close();
    for (disk, all) in [(disk.after_kill(), true), (killed, true), (dark, false)] {
        let journal = open_on(Arc::new(disk), Path::new(DIR));
        check(&read_all(&journal), &told, all);
        put_synced(&journal, body(0, 10));
    }
}

#[test]
fn a_sync_that_fails_at_any_moment_loses_nothing() {
    let mut chance = fastrand::Rng::with_seed(1);
    for first in 0..30 {
        for times in [1, 2, 3, 6] {
            survives(&Faults { syncs: first..first + times, ..Faults::default() }, &mut chance);
        }
    }
}

#[test]
fn a_write_that_fails_at_any_moment_loses_nothing() {
    let mut chance = fastrand::Rng::with_seed(2);
    for first in 0..50 {
        for times in [1, 2, 6] {
            survives(&Faults { writes: first..first + times, ..Faults::default() }, &mut chance);
        }
    }
}

#[test]
fn writes_and_syncs_that_fail_together_lose_nothing() {
    let mut chance = fastrand::Rng::with_seed(3);
    for first in 0..30 {
        let faults = Faults { syncs: first..first + 2, writes: first + 3..first + 5, ..Faults::default() };
        survives(&faults, &mut chance);
    }
}

#[test]
fn while_the_disk_fails_records_are_refused_at_once_and_afterwards_taken() {
    let disk = MemoryDisk::default();
    let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
    put_synced(&journal, "before");
    disk.fail(Faults { syncs: 0..u64::MAX, ..Faults::default() });
    let append = || journal.append(Kind::Intent, 0, Bytes::from_static(b"meanwhile"), Durability::Synced);
    let error = append().unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("Input/output error"), "{error}");
    assert!(matches!(append(), Err(AppendError::Failed(_))), "without waiting for the disk");
    assert_eq!(journal.stats().failing.load(Ordering::Relaxed), 1);
    assert_eq!(read_all(&journal).len(), 1);
    disk.fail(Faults::default());
    let started = Instant::now();
    let taken = loop {
        assert!(started.elapsed() < PATIENCE);
        if let Ok(lsn) = append().and_then(|ticket| ticket.wait()) {
            break lsn;
        }
    };
    assert_eq!(taken, Lsn(2), "the number of the failed one");
    assert_eq!(journal.stats().failing.load(Ordering::Relaxed), 0);
    assert_eq!(read_all(&journal).len(), 2);
}

#[test]
fn what_has_happened_waits_for_the_disk_and_is_written_before_what_comes_later() {
    let disk = MemoryDisk::default();
    let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
    put_synced(&journal, "intent");
    disk.fail(Faults { syncs: 0..u64::MAX, ..Faults::default() });
    let outcome = |kind, text: &'static str, durability| {
        let ticket = journal.append(kind, 0, Bytes::from_static(text.as_bytes()), durability);
        ticket.unwrap().wait().unwrap_err()
    };
    // The first finds out that the disk fails, the second comes while that is known.
    for text in ["first", "second"] {
        let error = outcome(Kind::Outcome, text, Durability::Synced);
        assert!(matches!(error, AppendError::Failed(_)), "{error}");
    }
    outcome(Kind::Delivered, "third", Durability::Written);
    disk.fail(Faults::default());
    let mut written = journal.written();
    let started = Instant::now();
    while *written.borrow_and_update() < Lsn(5) {
        assert!(started.elapsed() < PATIENCE, "they are not written");
        std::thread::yield_now();
    }
    put_synced(&journal, "later");
    let texts = |journal: &Journal| read_all(journal).into_iter().map(|record| record.payload).collect::<Vec<_>>();
    let wanted = ["intent", "first", "second", "third", "later"];
    assert_eq!(texts(&journal), wanted);
    assert_eq!(journal.usage().queue_bytes, 0);
    let dark = disk.after_power_loss(&mut fastrand::Rng::with_seed(0));
    assert_eq!(texts(&open_on(Arc::new(dark), Path::new(DIR))), wanted);
}

#[test]
fn what_was_only_written_when_a_sync_failed_is_written_again() {
    let disk = MemoryDisk::default();
    let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
    let written: Vec<_> = (0..5).map(|number| put(&journal, body(number, 100), Durability::Written)).collect();
    disk.fail(Faults { syncs: 0..1, ..Faults::default() });
    put_synced(&journal, body(5, 100));
    assert!(journal.stats().disk_errors.load(Ordering::Relaxed) > 0);
    let dark = disk.after_power_loss(&mut fastrand::Rng::with_seed(0));
    let journal = open_on(Arc::new(dark), Path::new(DIR));
    let found: Vec<_> = read_all(&journal).into_iter().map(|record| record.lsn).collect();
    assert_eq!(found[..5], written[..]);
    assert_eq!(found.len(), 6);
}
