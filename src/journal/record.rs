//! Owns the record: its bytes, its checksum and what it is called. It touches no file.
//!
//! The checksum of a record begins with the one of the record before it, so a record is whole only right behind its
//! true predecessor: what an earlier use of the same place left there is never taken for a new record.

use bytes::Bytes;

/// Bytes of a record before its payload.
pub(super) const HEAD_BYTES: usize = 32;
/// Records begin at multiples of this many bytes.
const ALIGNMENT_BYTES: usize = 8;

/// The number of a record: 1 for the first one, then one more for each.
///
/// A number is final once the record is synced. Numbers of records that were only written may be given again after a
/// power loss, so nothing durable elsewhere may name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The number of the first record ever.
    pub const FIRST: Self = Self(1);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a record says; its payload is its author's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A write is about to go to the primary.
    Intent,
    /// How the primary answered.
    Outcome,
    /// The copy has arrived.
    Delivered,
    /// A write was served and not kept.
    Gap,
    /// The roles of the two sides changed.
    Epoch,
    /// The journal's own: from where on records count. Readers never see it.
    Checkpoint,
    /// A write was set aside for a person.
    Parked,
    /// A kind this program does not know, from a later one.
    Other(u8),
}

impl Kind {
    /// Whether it says what has happened already, about an intent in the log: then it is not refused, but waits.
    pub(super) fn has_happened(self) -> bool {
        matches!(self, Self::Outcome | Self::Delivered)
    }

    /// The byte in the record.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Intent => 1,
            Self::Outcome => 2,
            Self::Delivered => 3,
            Self::Gap => 4,
            Self::Epoch => 5,
            Self::Checkpoint => 6,
            Self::Parked => 7,
            Self::Other(byte) => byte,
        }
    }

    /// Whether readers are woken for it: by itself, a write that begins or a copy that has arrived is nothing to act upon.
    pub(super) fn is_news(self) -> bool {
        !matches!(self, Self::Intent | Self::Delivered | Self::Checkpoint)
    }

    /// The kind of a byte; 0 is none, it stands where nothing was written.
    pub(super) fn of(byte: u8) -> Self {
        let known =
            [Self::Intent, Self::Outcome, Self::Delivered, Self::Gap, Self::Epoch, Self::Checkpoint, Self::Parked];
        known.into_iter().find(|kind| kind.byte() == byte).unwrap_or(Self::Other(byte))
    }
}

/// A record as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub lsn: Lsn,
    /// What it says.
    pub kind: Kind,
    /// The epoch its author gave.
    pub epoch: u64,
    /// The side file that it names.
    pub side: Option<Side>,
    /// What its author gave.
    pub payload: Bytes,
}

/// The number of a side file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Side(pub(super) u64);

impl Side {
    /// The side file of a number that [`Side::number`] gave; `None` for a number that none can have.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        (number != 0 && number <= Self::NUMBER_MAX).then_some(Self(number))
    }

    /// The number, to be kept elsewhere.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// Seven bytes of the record hold it.
    const NUMBER_MAX: u64 = (1 << 56) - 1;
}

/// Bytes to be stored, in one part or in many that are stored as one.
#[derive(Debug, Clone)]
pub enum Payload {
    /// One part.
    One(Bytes),
    /// Parts in their order.
    Many(Vec<Bytes>),
}

impl Payload {
    /// The bytes of all parts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts().iter().map(Bytes::len).sum()
    }

    pub(super) fn parts(&self) -> &[Bytes] {
        match self {
            Self::One(part) => std::slice::from_ref(part),
            Self::Many(parts) => parts,
        }
    }
}

impl From<Bytes> for Payload {
    fn from(part: Bytes) -> Self {
        Self::One(part)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(part: Vec<u8>) -> Self {
        Self::One(part.into())
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(parts: Vec<Bytes>) -> Self {
        Self::Many(parts)
    }
}

impl From<&'static [u8]> for Payload {
    fn from(part: &'static [u8]) -> Self {
        Self::One(Bytes::from_static(part))
    }
}

/// What stands before the payload, without the checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) payload_bytes: u32,
    pub(super) lsn: Lsn,
    pub(super) epoch: u64,
    pub(super) kind: Kind,
    pub(super) side: Option<Side>,
}

impl Head {
    /// Reads a head; `None` where no record can begin.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let kind_and_side = u64_at(bytes, 24);
        let (kind, lsn) = (kind_and_side as u8, u64_at(bytes, 8));
        (kind != 0 && lsn != 0).then(|| Self {
            payload_bytes: u32_at(bytes, 4),
            lsn: Lsn(lsn),
            epoch: u64_at(bytes, 16),
            kind: Kind::of(kind),
            side: Side::from_number(kind_and_side >> 8),
        })
    }

    /// Writes the record behind what is there and returns the checksum that the next one begins with.
    pub(super) fn write(&self, payload: &Payload, seed: u32, into: &mut Vec<u8>) -> u32 {
        let start = into.len();
        into.extend_from_slice(&[0; 4]);
        into.extend_from_slice(&self.payload_bytes.to_le_bytes());
        into.extend_from_slice(&self.lsn.0.to_le_bytes());
        into.extend_from_slice(&self.epoch.to_le_bytes());
        let side = self.side.map_or(0, Side::number);
        into.extend_from_slice(&(side << 8 | u64::from(self.kind.byte())).to_le_bytes());
        for part in payload.parts() {
            into.extend_from_slice(part);
        }
        into.resize(start + record_bytes(self.payload_bytes as usize), 0);
        seal(&mut into[start..], seed)
    }
}

/// The bytes of a whole record with its padding.
pub(super) fn record_bytes(payload_bytes: usize) -> usize {
    (HEAD_BYTES + payload_bytes).next_multiple_of(ALIGNMENT_BYTES)
}

/// Writes a record's checksum, which begins with the one before it, and returns it.
pub(super) fn seal(record: &mut [u8], seed: u32) -> u32 {
    let sum = checksum(record, seed);
    record[..4].copy_from_slice(&sum.to_le_bytes());
    sum
}

/// The checksum of a whole record: all of it but the checksum's own four bytes.
pub(super) fn checksum(record: &[u8], seed: u32) -> u32 {
    crc32c::crc32c_append(seed, &record[4..])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
