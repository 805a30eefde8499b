//! Owns what workers, the courier and operators share of the copies: the journal, the destinations, the budget for bodies under way.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::board::Board;
use super::destination::Destination;
use super::draft::Draft;
use super::gaps::Gaps;
use super::kept::Vault;
use super::marker::{KEY_BYTES, Marker};
use super::record::{Fence, Gap, Outcome};
use super::shed::Shed;
use super::tables::Tables;
use crate::journal::{Answer, Answers, AppendError, Durability, Journal, Kind, Lsn};

/// Bytes of bodies that all requests under way may keep together; above it writes are not copied.
const CAPTURE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bits of an epoch that are a generation; the others number the runs on a state directory.
const GENERATION_BITS: u32 = 40;
/// The file with the key of the mark, in the state directory.
const KEY_FILE: &str = "mirror.key";
/// The file with the number of the run, beside the journals.
const RUN_FILE: &str = "run";
/// The side tables, beside the journals.
const TABLES_FILE: &str = "tables.redb";

/// How copies are kept.
#[derive(Debug)]
pub struct MirrorPlan {
    /// The state directory.
    pub state: PathBuf,
    /// This router's name among the hops of copies.
    pub name: Box<str>,
    /// A key of 32 bytes that credentials are encrypted with.
    pub vault: Option<Vault>,
}

/// What all share of the copies.
#[derive(Debug)]
pub struct Mirror {
    journal: Journal,
    destinations: RwLock<HashMap<Box<str>, Arc<Destination>>>,
    captured_bytes: Arc<AtomicUsize>,
    marker: Marker,
    vault: Option<Vault>,
    run: u64,
    counts: Counts,
    tables: Tables,
    left: Gaps,
    shed: Shed,
    board: Board,
}

/// What the workers count.
#[derive(Debug, Default)]
pub struct Counts {
    /// Intents handed to the journal.
    pub intents: AtomicU64,
    /// Writes that were served and are not copied.
    pub gaps: AtomicU64,
    /// Copies that came back and were not copied again.
    pub loops: AtomicU64,
    /// Changes of sides that fenced older copies off.
    pub fences: AtomicU64,
    /// Writes that stayed on their side until older copies had arrived.
    pub drained: AtomicU64,
}

/// Part of the budget for bodies under way; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    all: Arc<AtomicUsize>,
    taken: usize,
}

impl Mirror {
    /// Wraps an open journal; `dir` is where the number of the run is kept.
    ///
    /// # Errors
    /// When the key of the mark cannot be read or made.
    pub fn new(journal: Journal, dir: &Path, plan: MirrorPlan) -> io::Result<Arc<Self>> {
        let key = key(&plan.state)?;
        Ok(Arc::new(Self {
            journal,
            destinations: RwLock::default(),
            captured_bytes: Arc::default(),
            marker: Marker::new(&key, &plan.name),
            vault: plan.vault,
            run: next_run(dir)?,
            counts: Counts::default(),
            tables: Tables::open(&dir.join(TABLES_FILE)).map_err(io::Error::other)?,
            left: Gaps::default(),
            shed: Shed::default(),
            board: Board::default(),
        }))
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The side tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Gaps that are not kept yet.
    pub fn left(&self) -> &Gaps {
        &self.left
    }

    /// Writes that are not copied.
    pub(super) fn shed(&self) -> &Shed {
        &self.shed
    }

    /// Where courier and operators meet.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Makes and checks marks.
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    /// What credentials are encrypted with.
    pub fn vault(&self) -> Option<&Vault> {
        self.vault.as_ref()
    }

    /// What the workers have counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is known of a destination; made when it is first asked for.
    pub fn destination(&self, name: &str) -> Arc<Destination> {
        let known = self.destinations.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone);
        known.unwrap_or_else(|| {
            let mut all = self.destinations.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(name.into()).or_insert_with(|| Arc::new(Destination::new(name))))
        })
    }

    /// Every destination that was ever asked for.
    pub fn destinations(&self) -> Vec<Arc<Destination>> {
        self.destinations.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// The epoch of a generation: greater than that of every earlier one, of earlier runs too.
    pub fn epoch(&self, generation: u64) -> u64 {
        self.run << GENERATION_BITS | (generation & ((1 << GENERATION_BITS) - 1))
    }

    /// Milliseconds since the epoch.
    pub fn unix_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the journal takes no more writes.
    pub fn is_full(&self) -> bool {
        self.journal.is_above_high_water()
    }

    pub(super) fn room(&self) -> Room {
        Room { all: Arc::clone(&self.captured_bytes), taken: 0 }
    }

    pub(super) fn append_intent(
        &self,
        answers: &Answers,
        epoch: u64,
        intent: Vec<Bytes>,
    ) -> Result<Answer, AppendError> {
        self.counts.intents.fetch_add(1, Ordering::Relaxed);
        self.journal.append_for(answers, Kind::Intent, epoch, intent, Durability::Synced)
    }

    pub(super) fn append_outcome(&self, answers: &Answers, outcome: &Outcome) -> Result<Answer, AppendError> {
        self.journal.append_for(answers, Kind::Outcome, self.epoch(0), outcome.encode(), Durability::Synced)
    }

    pub(super) fn note_intent(&self, epoch: u64, intent: Vec<Bytes>) -> Result<(), AppendError> {
        self.counts.intents.fetch_add(1, Ordering::Relaxed);
        self.journal.note(Kind::Intent, epoch, intent)
    }

    /// Stores a body in a side file, then the intent that names it.
    pub(super) async fn append_large(
        &self,
        intent: Draft,
        body: Bytes,
        durability: Durability,
    ) -> Result<(), AppendError> {
        self.counts.intents.fetch_add(1, Ordering::Relaxed);
        let (epoch, intent) = (intent.epoch, intent.with_side(body.len() as u64));
        let side = self.journal.store_side(body)?.await?;
        self.journal.append_naming(side, Kind::Intent, epoch, intent, durability)?.await.map(drop)
    }

    pub(super) fn note_outcome(&self, outcome: &Outcome) -> Result<(), AppendError> {
        self.journal.note(Kind::Outcome, self.epoch(0), outcome.encode())
    }

    /// Leaves a record of a write that is not copied.
    pub fn leave_gap(&self, gap: &Gap) {
        self.counts.gaps.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(destination = &*gap.destination, target = &*gap.target, reason = &*gap.reason, "not copied");
        self.shed.tell(gap);
        self.left.leave(&self.journal, gap.encode());
    }

    /// Tries to bring gaps that the disk had no room for to it; blocks for the disk where there are some.
    pub(super) fn bring_gaps(&self, now_ms: u64) {
        self.left.bring(&self.journal, &self.tables, now_ms);
    }

    /// The same for the last time: what is left then is lost.
    pub(super) fn end_gaps(&self) {
        self.left.end(&self.journal, &self.tables);
    }

    /// Whether the journal is to keep what it has, for gaps that the tables have no room for. One that is full cannot.
    pub(super) fn keeps_for_gaps(&self) -> bool {
        self.left.need_journal() && !self.is_full() && self.journal.stats().failing.load(Ordering::Relaxed) == 0
    }

    /// Makes a change of sides durable: what is older and on its way to the entity's new side will not arrive.
    ///
    /// # Errors
    /// When the journal does not take it.
    pub async fn append_fence(&self, fence: &Fence) -> Result<Lsn, AppendError> {
        self.counts.fences.fetch_add(1, Ordering::Relaxed);
        self.journal.append(Kind::Epoch, fence.epoch, fence.encode(), Durability::Synced)?.await
    }
}

impl Room {
    /// Takes more of the budget; false when there is no more.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if self.all.fetch_add(bytes, Ordering::Relaxed) + bytes > CAPTURE_BYTES_MAX {
            self.all.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.taken += bytes;
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

/// The key of the mark; made once for a state directory, readable by its owner alone.
fn key(state: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = state.join(KEY_FILE);
    let mut key = [0; KEY_BYTES];
    match fs::File::open(&path) {
        Ok(mut file) => {
            file.read_exact(&mut key)?;
            return Ok(key);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let fresh = state.join(format!("{KEY_FILE}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    fs::File::open(state)?.sync_all()?;
    Ok(key)
}

/// The number of this run on the journal's directory, one more than that of the last.
fn next_run(dir: &Path) -> io::Result<u64> {
    let path = dir.join(RUN_FILE);
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(io::Error::other)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0_u64,
        Err(error) => return Err(error),
    };
    let fresh = dir.join(format!("{RUN_FILE}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{}", last + 1)?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    fs::File::open(dir)?.sync_all()?;
    Ok(last + 1)
}
