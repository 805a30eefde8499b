//! Owns the journal's limits and whether they fit together.

use std::path::PathBuf;
use std::time::Duration;

use super::error::OpenError;
use super::record::record_bytes;
use super::segment::HEADER_BYTES;

const MIB: u64 = 1024 * 1024;
/// One to write, one prepared, one that is trimmed, and one that a failed one moves on to.
const SEGMENTS_MIN: u64 = 4;

/// Where a journal is and how much it may take.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its directory; made when it is not there.
    pub dir: PathBuf,
    /// Bytes of a segment's file, preallocated.
    pub segment_bytes: u64,
    /// Bytes of all files together.
    pub bytes_max: u64,
    /// The share of `bytes_max` from which on intents are refused; the rest is for outcomes and deliveries.
    pub high_water_percent: u8,
    /// Bytes that may wait to be written, in memory.
    pub queue_bytes_max: usize,
    /// Bytes of a payload in a record.
    pub record_bytes_max: usize,
    /// Bytes of a body in a side file.
    pub side_file_bytes_max: usize,
    /// How long a process that is going away is waited for.
    pub lock_wait: Duration,
    /// The first pause after the disk failed twice in a row; it doubles up to 32 times this.
    pub back_off: Duration,
}

impl Options {
    /// The usual limits: 4 GiB in segments of 64 MiB, bodies up to 1 MiB in records and 16 MiB in side files.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 * MIB,
            bytes_max: 4096 * MIB,
            high_water_percent: 90,
            queue_bytes_max: 64 * MIB as usize,
            // A body of 1 MiB and the head of its request.
            record_bytes_max: (MIB + 64 * 1024) as usize,
            side_file_bytes_max: 16 * MIB as usize,
            lock_wait: Duration::from_secs(10),
            back_off: Duration::from_secs(1),
        }
    }

    /// From here on intents are refused.
    pub(super) fn high_water_bytes(&self) -> u64 {
        self.bytes_max / 100 * u64::from(self.high_water_percent)
    }

    pub(super) fn segments_max(&self) -> usize {
        (self.bytes_max / self.segment_bytes) as usize
    }

    /// # Errors
    /// When the limits contradict each other.
    pub(super) fn validate(&self) -> Result<(), OpenError> {
        let refuse = |why: String| Err(OpenError::Options(why));
        let room = self.segment_bytes.saturating_sub(HEADER_BYTES);
        if record_bytes(self.record_bytes_max) as u64 > room {
            return refuse(format!(
                "a record of {} bytes does not fit into a segment of {}: raise segment_bytes or lower record_bytes_max",
                self.record_bytes_max, self.segment_bytes
            ));
        }
        if self.bytes_max / self.segment_bytes < SEGMENTS_MIN {
            return refuse(format!(
                "bytes_max is {} and must be at least {SEGMENTS_MIN} segments of {} bytes",
                self.bytes_max, self.segment_bytes
            ));
        }
        if self.segment_bytes > u64::from(u32::MAX) || self.side_file_bytes_max as u64 > u64::from(u32::MAX) {
            return refuse("segments and side files are below 4 GiB".to_owned());
        }
        if !(1..=100).contains(&self.high_water_percent) {
            return refuse(format!("high_water_percent is {}, not from 1 to 100", self.high_water_percent));
        }
        Ok(())
    }
}
