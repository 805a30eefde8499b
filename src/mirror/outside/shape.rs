//! Owns the forms in which copies are shown; names are those of the JSON.

use serde::Serialize;

use crate::mirror::board::Ended;

/// How all copies stand.
#[derive(Debug, Clone, Serialize)]
pub struct CopiesStatus {
    /// By destination.
    pub destinations: Vec<DestinationStatus>,
    /// The journal.
    pub journal: JournalStatus,
}

/// How the copies for one destination stand.
#[derive(Debug, Clone, Serialize)]
pub struct DestinationStatus {
    /// The upstream.
    pub name: Box<str>,
    /// Copies that have not come to their end.
    pub pending: u64,
    /// Copies that are set aside.
    pub parked: u64,
    /// Writes that were not copied, over all runs, and are not known to be mended.
    pub gaps: u64,
    /// Gaps that were mended.
    pub gaps_mended: u64,
    /// How long the oldest that has not come to its end has been waiting, in milliseconds; 0 without one.
    pub oldest_ms: u64,
    /// Their bytes, as far as the courier has read.
    pub bytes: u64,
    /// Whether nothing is sent because it lets nobody in.
    pub paused: bool,
    /// `closed`, `open`, `half-open` or `paused`.
    pub breaker: &'static str,
    /// Why nothing goes, where that is so.
    pub trouble: Option<String>,
    /// Copies that have come to their end since the start.
    pub ended: Ended,
    /// Attempts that failed since the start.
    pub failed_attempts: u64,
}

/// How the journal stands.
#[derive(Debug, Clone, Serialize)]
pub struct JournalStatus {
    /// Bytes that it takes.
    pub bytes: u64,
    /// Bytes from which on writes are not copied.
    pub high_water_bytes: u64,
    /// Bytes that it may take.
    pub bytes_max: u64,
    /// Half of all fsyncs took no longer, in milliseconds, as far as buckets tell; `None` before the first.
    pub fsync_p50_ms: Option<f64>,
    /// 99 of 100 fsyncs took no longer.
    pub fsync_p99_ms: Option<f64>,
    /// Whether its disk fails.
    pub failing: bool,
}

/// Parked copies that belong together.
#[derive(Debug, Clone, Serialize)]
pub struct ParkedGroup {
    /// Its name.
    pub group: String,
    /// The upstream.
    pub destination: Box<str>,
    /// The route.
    pub route: Box<str>,
    /// In a word.
    pub reason: Box<str>,
    /// The status or fault.
    pub came: Box<str>,
    /// What the destination says, without what differs from copy to copy.
    pub shape: Box<str>,
    /// How many.
    pub count: u64,
    /// When the first and the last were parked, in milliseconds since the epoch.
    pub first_unix_ms: u64,
    /// See `first_unix_ms`.
    pub last_unix_ms: u64,
    /// One of them.
    pub example: String,
}

/// A parked copy in a list.
#[derive(Debug, Clone, Serialize)]
pub struct ParkedEntry {
    /// Its name.
    pub id: String,
    /// Its group.
    pub group: String,
    /// The upstream.
    pub destination: Box<str>,
    /// The route.
    pub route: Box<str>,
    /// The method.
    pub method: Box<str>,
    /// Path and query.
    pub target: Box<str>,
    /// What it is about.
    pub entity: Option<Box<str>>,
    /// The id that the primary gave to what was created.
    pub created: Option<Box<str>>,
    /// In a word.
    pub reason: Box<str>,
    /// The status or fault.
    pub came: Box<str>,
    /// What the destination said.
    pub said: Box<str>,
    /// Attempts.
    pub attempts: u32,
    /// When it was parked, in milliseconds since the epoch.
    pub unix_ms: u64,
    /// Its idempotency key.
    pub key: Box<str>,
}

/// A parked copy as a whole.
#[derive(Debug, Clone, Serialize)]
pub struct ParkedCopy {
    /// What a list shows.
    #[serde(flatten)]
    pub entry: ParkedEntry,
    /// Who served the write.
    pub primary: Box<str>,
    /// How: the status, 0 without one.
    pub primary_status: u16,
    /// When the write was admitted, in milliseconds since the epoch.
    pub admitted_unix_ms: u64,
    /// The headers; credentials are not shown.
    pub headers: Vec<(Box<str>, String)>,
    /// The body as text, as far as it is shown.
    pub body: String,
    /// How long it is, in bytes.
    pub body_bytes: usize,
}

/// A write that was served and not copied.
#[derive(Debug, Clone, Serialize)]
pub struct GapEntry {
    /// The upstream that misses it.
    pub destination: Box<str>,
    /// The route.
    pub route: Box<str>,
    /// What it is about.
    pub entity: Option<Box<str>>,
    /// The method.
    pub method: Box<str>,
    /// Path and query.
    pub target: Box<str>,
    /// Why.
    pub reason: Box<str>,
    /// When, in milliseconds since the epoch.
    pub unix_ms: u64,
}
