//! Owns gaps between the moment when they are left and the moment when they are kept. What neither the journal nor the tables take
//! waits in memory, within limits, and is tried again; it is lost only with the process, or when too many wait.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::tables::Tables;
use crate::journal::{AppendError, Durability, Journal, Kind, Ticket};

/// Gaps that wait in memory at most; what comes then is lost, and counted.
pub const GAPS_WAITING_MAX: usize = 65_536;
/// Bytes that they may take.
pub const GAPS_WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Gaps that the tables are given at once.
const GAPS_AT_ONCE: usize = 1_024;
/// Between two tries while there is no room, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Gaps on their way to where they are kept.
#[derive(Debug, Default)]
pub struct Gaps {
    line: Mutex<Line>,
    /// Those that stand nowhere but in memory.
    waiting: AtomicUsize,
    /// Those that stand in the journal and not in the tables yet.
    untabled: AtomicUsize,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Line {
    /// On their way to the journal, in its order.
    sent: VecDeque<(Bytes, Ticket)>,
    /// Nothing took them.
    waiting: VecDeque<Bytes>,
    /// In the journal; the tables did not take them.
    untabled: VecDeque<Bytes>,
    bytes: usize,
    /// Whether the journal refused the last one.
    is_refused: bool,
    /// Nothing is tried before.
    retry_at_ms: u64,
}

impl Line {
    /// Whether there is room for one more where so many are.
    fn has_room(&self, gaps: usize, bytes: usize) -> bool {
        gaps < GAPS_WAITING_MAX && self.bytes + bytes <= GAPS_WAITING_BYTES_MAX
    }
}

impl Gaps {
    /// Gaps that wait in memory for room on the disk.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Gaps that are lost: too many waited, or the process ended.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether the journal holds gaps that are not in the tables yet.
    pub(super) fn need_journal(&self) -> bool {
        self.untabled.load(Ordering::Relaxed) > 0
    }

    /// Hands a gap to the journal, and keeps it in memory until that has it.
    pub(super) fn leave(&self, journal: &Journal, gap: Bytes) {
        let mut line = self.line();
        if !line.has_room(line.sent.len().max(line.waiting.len()), gap.len()) {
            return self.lose(1, "too many gaps wait for room on the disk: some are lost; reconcile");
        }
        line.bytes += gap.len();
        line.waiting.push_back(gap);
        if !line.is_refused {
            send_again(&mut line, journal, GAPS_WAITING_MAX);
        }
        self.note(&line);
    }

    /// Keeps gaps of the journal that the tables did not take.
    pub(super) fn keep_for_tables(&self, gaps: Vec<Bytes>) {
        let mut line = self.line();
        for gap in gaps {
            if !line.has_room(line.untabled.len(), gap.len()) {
                self.lose(1, "too many gaps wait for the tables: some are lost; reconcile");
                continue;
            }
            line.bytes += gap.len();
            line.untabled.push_back(gap);
        }
        self.note(&line);
    }

    /// Tries to bring what waits to the disk, and waits for that; the courier calls it at each tick.
    pub(super) fn bring(&self, journal: &Journal, tables: &Tables, now_ms: u64) {
        let mut line = self.line();
        self.hear(&mut line);
        if line.retry_at_ms <= now_ms && line.waiting.len() + line.untabled.len() > 0 {
            if !line.is_refused {
                send_again(&mut line, journal, GAPS_WAITING_MAX);
            }
            line = self.table_some(line, journal, tables, now_ms);
        }
        self.note(&line);
    }

    /// Gives the tables what the journal refuses, and what it has and they have not.
    fn table_some<'g>(
        &'g self,
        mut line: MutexGuard<'g, Line>,
        journal: &Journal,
        tables: &Tables,
        now_ms: u64,
    ) -> MutexGuard<'g, Line> {
        let (of_waiting, some) = take_some(&mut line);
        if some.is_empty() {
            return line;
        }
        drop(line);
        // Nobody who leaves a gap waits for the tables meanwhile.
        let kept = tables.add_gaps(&some).is_ok();
        line = self.line();
        if kept {
            line.bytes -= some.iter().map(Bytes::len).sum::<usize>();
            line.is_refused &= !line.waiting.is_empty();
        } else {
            line.retry_at_ms = now_ms + RETRY_MS;
            put_back(&mut line, of_waiting, some);
            // One shows whether the journal takes them again.
            send_again(&mut line, journal, 1);
        }
        line
    }

    /// Makes the last attempts and says what is lost with the process.
    pub(super) fn end(&self, journal: &Journal, tables: &Tables) {
        let left = || self.waiting() + usize::from(self.need_journal());
        let mut before = usize::MAX;
        while left() > 0 && left() < before {
            before = left();
            self.line().retry_at_ms = 0;
            self.bring(journal, tables, 0);
        }
        if self.waiting() > 0 {
            self.lose(self.waiting() as u64, "gaps are lost with the process: the disk has no room; reconcile");
        }
    }

    /// Hears what became of those that were sent: in the order in which they were.
    fn hear(&self, line: &mut Line) {
        while let Some(answer) = line.sent.front_mut().and_then(|(_, ticket)| ticket.answer()) {
            let Some((gap, _)) = line.sent.pop_front() else { return };
            match answer {
                Ok(_) => {
                    line.bytes -= gap.len();
                    line.is_refused = false;
                }
                Err(_) => {
                    line.waiting.push_back(gap);
                    line.is_refused = true;
                }
            }
        }
    }

    fn lose(&self, gaps: u64, why: &str) {
        // Once is enough: the metric says how many.
        if self.lost.fetch_add(gaps, Ordering::Relaxed) == 0 {
            tracing::error!(gaps, "{why}");
        }
    }

    fn note(&self, line: &Line) {
        let before = self.waiting.swap(line.waiting.len(), Ordering::Relaxed);
        self.untabled.store(line.untabled.len(), Ordering::Relaxed);
        if before == 0 && !line.waiting.is_empty() {
            tracing::warn!("the disk has no room for gap records: they wait in memory");
        } else if before > 0 && line.waiting.is_empty() {
            tracing::info!("gap records that waited for the disk are on it");
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(journal: &Journal, gap: &Bytes) -> Result<Ticket, AppendError> {
    journal.append(Kind::Gap, 0, gap.clone(), Durability::Written)
}

/// Hands the journal as many as it takes.
fn send_again(line: &mut Line, journal: &Journal, gaps_max: usize) {
    for _ in 0..gaps_max {
        let Some(gap) = line.waiting.front().filter(|_| line.sent.len() < GAPS_WAITING_MAX) else { return };
        let Ok(ticket) = append(journal, gap) else {
            line.is_refused = true;
            return;
        };
        let gap = line.waiting.pop_front().unwrap_or_default();
        line.sent.push_back((gap, ticket));
    }
}

/// Takes some for the tables; says how many of them the journal has not.
fn take_some(line: &mut Line) -> (usize, Vec<Bytes>) {
    let of_waiting = if line.is_refused { line.waiting.len().min(GAPS_AT_ONCE) } else { 0 };
    let of_untabled = line.untabled.len().min(GAPS_AT_ONCE - of_waiting);
    let mut some: Vec<Bytes> = line.waiting.drain(..of_waiting).collect();
    some.extend(line.untabled.drain(..of_untabled));
    (of_waiting, some)
}

fn put_back(line: &mut Line, of_waiting: usize, mut some: Vec<Bytes>) {
    let untabled = some.split_off(of_waiting);
    some.into_iter().rev().for_each(|gap| line.waiting.push_front(gap));
    untabled.into_iter().rev().for_each(|gap| line.untabled.push_front(gap));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Options;
    use crate::mirror::record::Gap;

    fn gap(number: usize) -> Bytes {
        let (destination, route, method) = ("modern".into(), "orders".into(), "PUT".into());
        let (target, reason) = (format!("/orders/{number}").into(), "high_water".into());
        Gap { destination, route, entity: None, method, target, reason, unix_ms: 1 }.encode()
    }

    #[test]
    fn what_the_journal_refuses_waits_within_a_limit_and_goes_to_the_tables() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(Options::new(directory.path().join("journal"))).unwrap();
        let tables = Tables::open(&directory.path().join("tables")).unwrap();
        journal.close();
        let gaps = Gaps::default();
        for number in 0..GAPS_WAITING_MAX + 5 {
            gaps.leave(&journal, gap(number));
        }
        assert_eq!((gaps.waiting(), gaps.lost()), (GAPS_WAITING_MAX, 5));
        gaps.bring(&journal, &tables, 0);
        assert_eq!(gaps.waiting(), GAPS_WAITING_MAX - GAPS_AT_ONCE);
        assert_eq!(tables.gap_count("modern"), GAPS_AT_ONCE as u64);
        // There is room again.
        gaps.leave(&journal, gap(GAPS_WAITING_MAX + 5));
        assert_eq!(gaps.lost(), 5);
    }

    #[test]
    fn what_the_journal_takes_waits_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(Options::new(directory.path().join("journal"))).unwrap();
        let tables = Tables::open(&directory.path().join("tables")).unwrap();
        let gaps = Gaps::default();
        gaps.leave(&journal, gap(1));
        journal.close();
        gaps.bring(&journal, &tables, 0);
        assert_eq!((gaps.waiting(), gaps.lost(), gaps.need_journal()), (0, 0, false));
        assert_eq!(journal.stats().records_failed.load(Ordering::Relaxed), 0);
        // What it has and the tables did not take is tried again.
        gaps.keep_for_tables(vec![gap(1)]);
        assert!(gaps.need_journal());
        gaps.bring(&journal, &tables, 0);
        assert!(!gaps.need_journal());
        assert_eq!(tables.gap_count("modern"), 1);
    }
}
