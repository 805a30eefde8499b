//! Owns the records that are not durable yet, in the form in which they are written.
//!
//! They are kept until an fsync covers them, because after a failed one they have to be written again elsewhere: the
//! kernel forgets that the pages of a failed fsync were ever dirty.

use super::record::{Head, record_bytes, seal, u32_at};
use super::segment::{HEADER_BYTES, Position, Segment};
use super::shared::Request;
use super::table::Marks;

/// The unsynced end of the log in the current segment.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// Everything before is durable; `bytes` begins here.
    synced: Position,
    /// Everything before is written, and readers see it.
    written: Position,
}

impl Tail {
    pub(super) fn new(at: Position) -> Self {
        Self { bytes: Vec::new(), synced: at, written: at }
    }

    /// Bytes that the next fsync covers.
    pub(super) fn unsynced_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn synced(&self) -> Position {
        self.synced
    }

    pub(super) fn written(&self) -> Position {
        self.written
    }

    /// Puts records behind what is written and says where they end; they do not count yet.
    pub(super) fn encode(&mut self, requests: &[Request], marks: &mut Marks) -> Position {
        let mut at = self.written;
        for request in requests {
            marks.note(at);
            // The limits of a record are far below four gigabytes.
            let payload_bytes = request.payload.bytes() as u32;
            let Request { kind, epoch, side, .. } = *request;
            let head = Head { payload_bytes, lsn: at.lsn, epoch, kind, side };
            let seed = head.write(&request.payload, at.seed, &mut self.bytes);
            at = Position { offset: at.offset + record_bytes(payload_bytes as usize) as u64, seed, lsn: at.lsn.next() };
        }
        at
    }

    /// What `encode` put there.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.bytes[(self.written.offset - self.synced.offset) as usize..]
    }

    /// Notes that the records up to here are written, and durable if so.
    pub(super) fn advance(&mut self, end: Position, synced: bool) {
        self.written = end;
        if synced {
            self.synced = end;
            self.bytes.clear();
        }
    }

    /// Takes back what `encode` put there last.
    pub(super) fn forget(&mut self, unsynced_bytes: usize, written: Position) {
        self.bytes.truncate(unsynced_bytes);
        self.written = written;
    }

    /// Makes all that is unsynced the beginning of another segment and says where it ends.
    pub(super) fn move_to(&mut self, segment: &Segment, marks: &mut Marks) -> Position {
        let mut at = segment.start(self.synced.lsn);
        let mut begin = 0;
        while begin < self.bytes.len() {
            marks.note(at);
            let end = begin + record_bytes(u32_at(&self.bytes, begin + 4) as usize);
            let seed = seal(&mut self.bytes[begin..end], at.seed);
            at = Position { offset: HEADER_BYTES + end as u64, seed, lsn: at.lsn.next() };
            begin = end;
        }
        at
    }

    /// All that is unsynced, as it was encoded or moved.
    pub(super) fn unsynced(&self) -> &[u8] {
        &self.bytes
    }
}
