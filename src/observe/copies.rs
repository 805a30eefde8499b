//! Owns the form in which copies and their journal are shown; what they are comes from elsewhere.

use super::exposition::Page;
use super::names;

/// Tells how copies stand when metrics are rendered.
pub trait CopiesSource: std::fmt::Debug + Send + Sync {
    /// How they stand.
    fn figures(&self) -> CopiesFigures;
}

/// How copies stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CopiesFigures {
    /// By destination.
    pub destinations: Vec<DestinationFigures>,
    /// The journal.
    pub journal: JournalFigures,
    /// Gap records that wait in memory for room on the disk.
    pub gaps_waiting: u64,
    /// Copied writes, by what was noted of them.
    pub noted: Vec<(&'static str, u64)>,
}

/// How the copies for one destination stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DestinationFigures {
    /// The upstream.
    pub name: Box<str>,
    /// Copies that have not come to their end.
    pub pending: u64,
    /// How long the oldest of them has been there, in seconds.
    pub oldest_s: f64,
    /// Their bytes, as far as the courier has read.
    pub bytes: u64,
    /// Copies that are set aside.
    pub parked: u64,
    /// Writes that were served and not copied, over all runs.
    pub gaps: u64,
    /// Whether nothing is sent because it lets nobody in.
    pub paused: bool,
    /// Whether nothing is sent because it fails.
    pub failing: bool,
    /// Copies that have come to their end, by how.
    pub ended: Vec<(&'static str, u64)>,
    /// Attempts that failed.
    pub failures: u64,
}

/// How the journal stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JournalFigures {
    /// Bytes that it takes.
    pub bytes: u64,
    /// Bytes that it may take.
    pub bytes_max: u64,
    /// Records written.
    pub records: u64,
    /// Records that were refused at once or could not be written.
    pub refused: u64,
    /// File operations that failed.
    pub disk_errors: u64,
    /// Whether its disk is failing now.
    pub failing: bool,
    /// Upper bounds of the buckets of the times of fsync, in seconds.
    pub fsync_bounds: Vec<f64>,
    /// How many fell into each, not summed up, and above the last.
    pub fsync_counts: Vec<u64>,
    /// Their sum in seconds.
    pub fsync_sum_s: f64,
}

/// One figure of a destination.
type Figure = fn(&DestinationFigures) -> f64;

pub(super) fn copies(page: &mut Page, figures: &CopiesFigures) {
    let figures_of_each: [(names::Family, Figure); 8] = [
        (names::COPIES_PENDING, |one| one.pending as f64),
        (names::COPIES_OLDEST, |one| one.oldest_s),
        (names::COPIES_BYTES, |one| one.bytes as f64),
        (names::COPIES_PARKED, |one| one.parked as f64),
        (names::COPIES_GAPS, |one| one.gaps as f64),
        (names::COPIES_PAUSED, |one| f64::from(u8::from(one.paused))),
        (names::COPIES_FAILING, |one| f64::from(u8::from(one.failing))),
        (names::COPIES_FAILURES, |one| one.failures as f64),
    ];
    for (family, of) in figures_of_each {
        page.family(family);
        for one in &figures.destinations {
            page.sample(family, "", &[("destination", &one.name)], of(one));
        }
    }
    page.family(names::COPIES_ENDED);
    for one in &figures.destinations {
        for (how, count) in &one.ended {
            page.sample(names::COPIES_ENDED, "", &[("destination", &one.name), ("how", how)], count);
        }
    }
    page.single(names::COPIES_GAPS_WAITING, &[], figures.gaps_waiting);
    page.family(names::COPIES_NOTED);
    for (what, count) in &figures.noted {
        page.sample(names::COPIES_NOTED, "", &[("what", what)], count);
    }
    journal(page, &figures.journal);
}

fn journal(page: &mut Page, journal: &JournalFigures) {
    page.single(names::JOURNAL_BYTES, &[], journal.bytes);
    page.single(names::JOURNAL_BYTES_MAX, &[], journal.bytes_max);
    page.single(names::JOURNAL_RECORDS, &[], journal.records);
    page.single(names::JOURNAL_REFUSED, &[], journal.refused);
    page.single(names::JOURNAL_DISK_ERRORS, &[], journal.disk_errors);
    page.single(names::JOURNAL_FAILING, &[], u8::from(journal.failing));
    page.family(names::JOURNAL_FSYNC);
    let mut below = 0;
    let bounds = journal.fsync_bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(&journal.fsync_counts) {
        below += count;
        page.sample(names::JOURNAL_FSYNC, "_bucket", &[("le", &bound)], below);
    }
    page.sample(names::JOURNAL_FSYNC, "_sum", &[], journal.fsync_sum_s);
    page.sample(names::JOURNAL_FSYNC, "_count", &[], below);
}
