//! The end of the log cut and corrupted at every byte: what is read back is what was written before that byte.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use banyan::journal::{Durability, Journal, Kind, Lsn, Options, ReadError};
use bytes::Bytes;

use super::memory_disk::MemoryDisk;
use super::{SEGMENT_BYTES, body, open_on, options, payloads, put, put_synced};

const DIR: &str = "/journal";
/// Bytes before the first record of a segment.
const HEADER_BYTES: usize = 4096;

/// A log as a crash left it: its files, its records and where they stand in the last segment with records.
struct Log {
    files: BTreeMap<PathBuf, Vec<u8>>,
    last: PathBuf,
    written: Vec<Bytes>,
    /// The bytes of the last records, each with its place in `written`.
    places: Vec<(usize, Range<usize>)>,
}

fn record_bytes(payload: usize) -> usize {
    (32 + payload).next_multiple_of(8)
}

/// Writes records of these sizes and stops without closing.
fn log(sizes: &[usize]) -> Log {
    let disk = MemoryDisk::default();
    let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
    let written: Vec<_> = sizes.iter().enumerate().map(|(number, bytes)| body(number as u64, *bytes)).collect();
    for payload in &written {
        put_synced(&journal, payload.clone());
    }
    let segments = journal.usage().segments;
    let files = disk.files();
    let last = files.keys().filter(|path| path.extension().is_some_and(|kind| kind == "segment"));
    let last = last.clone().nth(segments - 1).unwrap().clone();
    // Where the records stand: counted forward through segments that a record does not straddle.
    let (mut offset, mut places) = (HEADER_BYTES, Vec::new());
    for (number, payload) in written.iter().enumerate() {
        let bytes = record_bytes(payload.len());
        if offset + bytes > SEGMENT_BYTES as usize {
            (offset, places) = (HEADER_BYTES, Vec::new());
        }
        places.push((number, offset..offset + bytes));
        offset += bytes;
    }
    Log { files, last, written, places }
}

impl Log {
    /// Opens the log with other bytes in its last segment; what is left is the records before `whole`, and the log
    /// goes on from there.
    fn check(&self, whole: usize, change: impl FnOnce(&mut Vec<u8>)) -> Vec<(Lsn, Lsn)> {
        let mut files = self.files.clone();
        change(files.get_mut(&self.last).unwrap());
        let disk = MemoryDisk::of(files);
        let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
        assert_eq!(payloads(&journal), self.written[..whole]);
        assert_eq!(journal.recovered().next, Lsn(whole as u64 + 1));
        assert!(!journal.recovered().closed);
        let lost = journal.recovered().lost.clone();
        // What is written now has the very bytes of the record that was there: nothing behind it comes back.
        let again = self.written.get(whole).cloned().unwrap_or_default();
        put_synced(&journal, again.slice(..again.len() / 2));
        let journal = open_on(Arc::new(disk.after_kill()), Path::new(DIR));
        let found = payloads(&journal);
        assert_eq!(found[..whole], self.written[..whole]);
        assert_eq!(found[whole..], [again.slice(..again.len() / 2)]);
        assert!(journal.recovered().lost.is_empty(), "told once");
        lost
    }

    /// The same with damage inside: where two whole records stand behind it, it is told how many are gone.
    fn check_damage(&self, number: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let (lost, gone) = (self.check(number, change), (Lsn(number as u64 + 1), Lsn(self.written.len() as u64 + 1)));
        assert!(lost == [gone] || (lost.is_empty() && number + 2 >= self.written.len()), "{number}: {lost:?}");
    }

    fn tail(&self) -> &[(usize, Range<usize>)] {
        &self.places[self.places.len() - 3..]
    }
}

const SIZES: [usize; 12] = [3000, 0, 17, 900, 4000, 3000, 1200, 60, 8, 33, 24, 41];

#[test]
fn a_log_cut_at_every_byte_is_whole_up_to_there() {
    let log = log(&SIZES);
    for (number, place) in log.tail() {
        for at in place.clone() {
            assert!(log.check(*number, |bytes| bytes.truncate(at)).is_empty());
            assert!(log.check(*number, |bytes| bytes[at..].fill(0xff)).is_empty());
        }
        // Zeros may be what stands there anyway.
        let last = place.start + record_bytes(log.written[*number].len()) - 8;
        assert!(log.check(*number, |bytes| bytes[place.start..].fill(0)).is_empty());
        assert!(log.check(*number, |bytes| bytes[last - 8..].fill(0)).is_empty());
    }
    assert!(log.check(SIZES.len(), |_| {}).is_empty());
}

#[test]
fn a_bit_flipped_anywhere_ends_the_log_before_it() {
    let log = log(&SIZES);
    for (number, place) in log.tail() {
        for at in place.clone() {
            for bit in 0..8 {
                log.check_damage(*number, |bytes| bytes[at] ^= 1 << bit);
            }
        }
    }
}

#[test]
fn a_byte_replaced_anywhere_ends_the_log_before_it() {
    let log = log(&SIZES);
    let mut chance = fastrand::Rng::with_seed(5);
    for (number, place) in log.tail() {
        for at in place.clone() {
            log.check_damage(*number, |bytes| bytes[at] = bytes[at].wrapping_add(chance.u8(1..)));
        }
    }
}

#[test]
fn damage_in_an_earlier_segment_is_told_and_costs_no_other_segment() {
    let log = log(&[3000; 30]);
    let first = log.files.keys().find(|path| path.extension().is_some_and(|kind| kind == "segment")).unwrap();
    let mut files = log.files.clone();
    // Four records fit into a segment; this is in the second one.
    files.get_mut(first).unwrap()[HEADER_BYTES + record_bytes(3000) + 100] ^= 1;
    let journal = open_on(Arc::new(MemoryDisk::of(files)), Path::new(DIR));
    assert_eq!(journal.recovered().lost, [(Lsn(2), Lsn(5))]);
    let mut cursor = journal.cursor(Lsn::FIRST);
    assert_eq!(cursor.next().unwrap().unwrap().payload, log.written[0]);
    let error = cursor.next().unwrap_err();
    assert!(matches!(error, ReadError::Damaged { from: Lsn(2), to: Lsn(5) }), "{error}");
    for payload in &log.written[4..] {
        assert_eq!(cursor.next().unwrap().unwrap().payload, payload);
    }
    assert!(cursor.next().unwrap().is_none());
    assert!(matches!(journal.read(Lsn(3)), Err(ReadError::Damaged { .. })));
}

#[test]
fn damage_that_happens_while_it_runs_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = super::open(dir.path());
    for number in 0..10 {
        put(&journal, body(number, 3000), Durability::Written);
    }
    let first = dir.path().join("0000000000000001.segment");
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[HEADER_BYTES + 100] ^= 1;
    std::fs::write(&first, bytes).unwrap();
    let mut cursor = journal.cursor(Lsn::FIRST);
    assert!(matches!(cursor.next(), Err(ReadError::Damaged { from: Lsn(1), to: Lsn(5) })));
    assert_eq!(cursor.next().unwrap().unwrap().lsn, Lsn(5));
}

#[test]
fn a_segment_without_its_header_is_set_aside_and_told() {
    let log = log(&[3000; 30]);
    let second = log.files.keys().filter(|path| path.extension().is_some_and(|kind| kind == "segment")).nth(1).unwrap();
    for at in [0, 8, 16, 24, 32, 35] {
        let mut files = log.files.clone();
        files.get_mut(second).unwrap()[at] ^= 1;
        let disk = MemoryDisk::of(files);
        let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
        assert_eq!(journal.recovered().damaged, [second.with_extension("damaged")]);
        assert_eq!(journal.recovered().lost, [(Lsn(5), Lsn(9))]);
        assert!(disk.files().contains_key(&second.with_extension("damaged")));
    }
}

#[test]
fn other_limits_read_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let journal = super::open(dir.path());
    let written: Vec<_> = (0..20).map(|number| body(number, 3000)).collect();
    for payload in &written {
        put_synced(&journal, payload.clone());
    }
    drop(journal);
    let larger = Options { segment_bytes: 4 * SEGMENT_BYTES, bytes_max: 64 * SEGMENT_BYTES, ..options(dir.path()) };
    let journal = Journal::open(larger).unwrap();
    assert_eq!(payloads(&journal), written);
    for number in 0..40 {
        put(&journal, body(number, 3000), Durability::Written);
    }
    journal.trim(Lsn(50));
    // The checkpoint at closing has a number, too.
    assert_eq!(payloads(&journal).len(), 12);
    let ticket = journal.append(Kind::Delivered, 0, Bytes::new(), Durability::Synced).unwrap();
    assert_eq!(ticket.wait().unwrap(), Lsn(62));
}
