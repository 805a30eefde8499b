//! The journal of dual writes: what was acknowledged is there, whatever happens to the disk, the power or the process.

mod appending;
mod crash;
mod faults;
mod format;
mod memory_disk;
mod model;
mod power;
mod recovery;
mod recycling;
mod sides;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use banyan::journal::{Disk, Durability, Journal, Kind, Lsn, Options, Record, SystemDisk};
use bytes::Bytes;

/// Small segments, so that a test goes through many.
pub(super) const SEGMENT_BYTES: u64 = 16 * 1024;

fn options(dir: &Path) -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        bytes_max: 64 * SEGMENT_BYTES,
        record_bytes_max: 8 * 1024,
        queue_bytes_max: 4 * 1024 * 1024,
        lock_wait: Duration::ZERO,
        back_off: Duration::from_millis(20),
        ..Options::new(dir)
    }
}

fn open(dir: &Path) -> Journal {
    open_on(Arc::new(SystemDisk), dir)
}

fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Journal {
    Journal::open_on(disk, options(dir)).expect("the journal opens")
}

/// Appends and waits.
fn put(journal: &Journal, payload: impl Into<Bytes>, durability: Durability) -> Lsn {
    let ticket = journal.append(Kind::Intent, 1, payload.into(), durability).expect("there is room");
    ticket.wait().expect("the disk is well")
}

fn put_synced(journal: &Journal, payload: impl Into<Bytes>) -> Lsn {
    put(journal, payload, Durability::Synced)
}

/// Everything from the low-water mark on.
fn read_all(journal: &Journal) -> Vec<Record> {
    let mut cursor = journal.cursor(Lsn::FIRST);
    std::iter::from_fn(|| cursor.next().expect("no damage")).collect()
}

fn payloads(journal: &Journal) -> Vec<Bytes> {
    read_all(journal).into_iter().map(|record| record.payload).collect()
}

/// A payload that differs for every number and length.
fn body(number: u64, bytes: usize) -> Bytes {
    let mut chance = fastrand::Rng::with_seed(number);
    std::iter::repeat_with(|| chance.u8(..)).take(bytes).collect()
}
