//! Owns a segment: its file's names, its header, and walking over its records.
//!
//! It never decides which segments make up the log.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::disk::DiskFile;
use super::record::{HEAD_BYTES, Head, Lsn, Record, checksum, record_bytes, u32_at, u64_at};

/// Bytes before the first record: one block, so that records begin on a block of their own.
pub(super) const HEADER_BYTES: u64 = 4096;
/// The format and its version.
const MAGIC: &[u8; 8] = b"BANYANJ1";
/// Bytes of the header that say something.
const HEADER_USED_BYTES: usize = 36;
/// Bytes read at once when a row of records is read, and when one is looked for.
pub(super) const READ_AHEAD_BYTES: usize = 256 * 1024;
pub(super) const READ_ONE_BYTES: usize = 64 * 1024;

/// An open segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Its place among the segments: a later one has a greater number.
    pub(super) id: u64,
    pub(super) file: Arc<dyn DiskFile>,
    /// The length of the file.
    pub(super) bytes: u64,
    /// What the first record's checksum begins with; another one in each use of the file.
    pub(super) seed: u32,
}

impl Segment {
    /// Writes the header; it counts once the file is synced.
    pub(super) fn write_header(file: Arc<dyn DiskFile>, id: u64, bytes: u64) -> io::Result<Self> {
        let mut header = vec![0; HEADER_BYTES as usize];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&id.to_le_bytes());
        header[16..24].copy_from_slice(&bytes.to_le_bytes());
        header[24..32].copy_from_slice(&salt().to_le_bytes());
        let seed = crc32c::crc32c(&header[..32]);
        header[32..36].copy_from_slice(&seed.to_le_bytes());
        file.write_at(&header, 0)?;
        Ok(Self { id, file, bytes, seed })
    }

    /// Reads the header; `None` when it is not whole or belongs to another name.
    pub(super) fn read_header(file: Arc<dyn DiskFile>, id: u64) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER_USED_BYTES];
        let read = file.read_at(&mut header, 0)?;
        let (found, bytes, seed) = (u64_at(&header, 8), u64_at(&header, 16), u32_at(&header, 32));
        let whole = read == header.len() && &header[..8] == MAGIC && crc32c::crc32c(&header[..32]) == seed;
        let fits = found == id && bytes > HEADER_BYTES;
        Ok((whole && fits).then_some(Self { id, file, bytes, seed }))
    }

    /// Where the first record goes, which will have the given number.
    pub(super) fn start(&self, lsn: Lsn) -> Position {
        Position { offset: HEADER_BYTES, seed: self.seed, lsn }
    }
}

/// Eight bytes that no other use of a segment has; not for secrets.
fn salt() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now())
}

/// A place between two records of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    /// The checksum of the record before.
    pub(super) seed: u32,
    /// The number of the record behind.
    pub(super) lsn: Lsn,
}

/// Walks over the records of one segment.
#[derive(Debug)]
pub(super) struct Walk {
    segment_id: u64,
    file: Arc<dyn DiskFile>,
    at: Position,
    /// Nothing is read from here on.
    end: u64,
    read_bytes: usize,
    buffer: Vec<u8>,
    /// What of the buffer was read ahead, beginning at `at.offset`.
    ahead: Range<usize>,
}

/// What comes next in a segment.
#[derive(Debug)]
pub(super) enum Step {
    Record(Record),
    /// No whole record; `torn` when one with the next number seems to have been begun.
    End {
        torn: bool,
    },
}

impl Walk {
    pub(super) fn new(segment: &Segment, at: Position, end: u64, read_bytes: usize) -> Self {
        let (segment_id, file) = (segment.id, segment.file.clone());
        Self { segment_id, file, at, end, read_bytes, buffer: Vec::new(), ahead: 0..0 }
    }

    /// Tells whether it walks in this segment.
    pub(super) fn is_in(&self, segment: &Segment) -> bool {
        self.segment_id == segment.id
    }

    /// Where it stands.
    pub(super) fn position(&self) -> Position {
        self.at
    }

    /// Lets it go on to a later end.
    pub(super) fn extend(&mut self, end: u64) {
        self.end = end;
    }

    /// Reads the next record; at an end it stays where it is.
    ///
    /// # Errors
    /// What the system says on reading.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        if !self.fill(HEAD_BYTES)? {
            return Ok(Step::End { torn: false });
        }
        let Some(head) = Head::read(self.ahead()) else { return Ok(Step::End { torn: false }) };
        if head.lsn != self.at.lsn {
            return Ok(Step::End { torn: false });
        }
        let bytes = record_bytes(head.payload_bytes as usize);
        if !self.fill(bytes)? {
            return Ok(Step::End { torn: true });
        }
        let record = &self.ahead()[..bytes];
        let sum = checksum(record, self.at.seed);
        if sum != u32_at(record, 0) {
            return Ok(Step::End { torn: true });
        }
        let payload = Bytes::copy_from_slice(&record[HEAD_BYTES..HEAD_BYTES + head.payload_bytes as usize]);
        self.at = Position { offset: self.at.offset + bytes as u64, seed: sum, lsn: head.lsn.next() };
        self.ahead.start += bytes;
        let Head { lsn, kind, epoch, side, .. } = head;
        Ok(Step::Record(Record { lsn, kind, epoch, side, payload }))
    }

    fn ahead(&self) -> &[u8] {
        &self.buffer[self.ahead.clone()]
    }

    /// Reads ahead until `bytes` are there; says no when the end comes first.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        let left = (self.end - self.at.offset) as usize;
        if self.ahead.len() >= bytes {
            return Ok(true);
        }
        if bytes > left {
            return Ok(false);
        }
        let wanted = bytes.max(self.read_bytes).min(left);
        // What is there is used again as it is; more than usual is given back behind a large record.
        self.buffer.resize(self.buffer.len().min(self.read_bytes).max(wanted), 0);
        self.buffer.shrink_to(self.read_bytes);
        self.ahead = 0..0;
        self.ahead = 0..self.file.read_at(&mut self.buffer[..wanted], self.at.offset)?;
        Ok(self.ahead.len() >= bytes)
    }
}

/// What a file in the journal's directory is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Segment,
    Spare,
}

impl FileKind {
    fn extension(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Spare => "spare",
        }
    }

    /// The path of the file.
    pub(super) fn path(self, dir: &Path, id: u64) -> PathBuf {
        dir.join(format!("{id:016x}.{}", self.extension()))
    }

    /// The id in a name of this kind.
    pub(super) fn id(self, name: &str) -> Option<u64> {
        let digits = name.strip_suffix(self.extension())?.strip_suffix('.')?;
        (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
    }
}
