//! Owns the look behind the place where the log breaks off: whole records there mean damage, and not a write that was cut short.

use std::io;

use super::record::{HEAD_BYTES, Head, Lsn, record_bytes, u32_at};
use super::segment::{Position, READ_ONE_BYTES, Segment, Step, Walk};

/// Bytes read at once.
const READ_BYTES: usize = 1024 * 1024;
/// Records begin at multiples of this many bytes.
const ALIGNMENT_BYTES: usize = 8;

/// A stretch in which no record begins.
const ZEROS: [u8; 4096] = [0; 4096];

/// The number behind the last whole record that follows on a break; `None` when there is none.
///
/// A record's checksum begins with that of the one before it, so two heads that fit together are proof; what an earlier
/// use of the segment left has lower numbers. After a power loss such records may never have been synced: nobody can tell,
/// and so they are reported.
pub(super) fn last_behind(segment: &Segment, end: Position) -> io::Result<Option<Lsn>> {
    let (mut last, mut offset) = (None, end.offset);
    // A segment holds no more records than this: other bytes that look like a head are hardly ever a number so low.
    let beyond = Lsn(end.lsn.0 + segment.bytes / HEAD_BYTES as u64);
    let mut buffer = vec![0; READ_BYTES];
    while offset + HEAD_BYTES as u64 <= segment.bytes {
        let read = segment.file.read_at(&mut buffer, offset)?;
        let Some(places) = read.checked_sub(HEAD_BYTES) else { break };
        let mut at = 0;
        while at <= places {
            // Most of a segment was never written to.
            if buffer[at..read].starts_with(&ZEROS) {
                at += ZEROS.len();
                continue;
            }
            let (head, sum) = (Head::read(&buffer[at..]), u32_at(&buffer[at..], 0));
            let found = head.filter(|head| (last.unwrap_or(end.lsn)..beyond).contains(&head.lsn));
            if let Some(head) = found {
                let next = offset + at as u64 + record_bytes(head.payload_bytes as usize) as u64;
                let behind = Position { offset: next, seed: sum, lsn: head.lsn.next() };
                last = follow(segment, behind)?.or(last);
            }
            at += ALIGNMENT_BYTES;
        }
        offset += at as u64;
    }
    Ok(last)
}

/// Walks on from behind a record that may be one; the number behind the last whole one.
fn follow(segment: &Segment, from: Position) -> io::Result<Option<Lsn>> {
    if from.offset >= segment.bytes {
        return Ok(None);
    }
    let mut walk = Walk::new(segment, from, segment.bytes, READ_ONE_BYTES);
    while matches!(walk.step()?, Step::Record(_)) {}
    let end = walk.position();
    Ok((end.lsn > from.lsn).then_some(end.lsn))
}
