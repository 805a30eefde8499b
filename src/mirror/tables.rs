//! Owns the side tables of the journal: parked copies, gaps, and the map of ids. Every change is durable when it returns, and every
//! call blocks the thread for a disk.

mod gaps;
mod later;
mod walk;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redb::{
    Builder, ConcurrencyMode, Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use super::record::{CopyId, Intent};

pub use gaps::GAPS_MAX;
pub use later::{Arrival, Later};
pub use walk::{Page, Position};

/// Copies of writes that are set aside, by destination and name: the story as JSON behind its length, then the intent.
const PARKED: TableDefinition<'_, (&str, u128), &[u8]> = TableDefinition::new("parked");
/// The id on one side by the id on the other: route, the side that is known, the other side, the id that is known.
const IDS: TableDefinition<'_, (&str, &str, &str, &str), &str> = TableDefinition::new("ids");

/// Between a failure and the next try to use the file.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes of memory for pages.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Copies that may be parked, over all destinations; when there are more, nothing is parked and the courier waits.
pub const PARKED_MAX: u64 = 100_000;
/// Bytes that parked copies may take, bodies included.
pub const PARKED_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Why a copy was parked, for the person who is to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// In a word: `refused`, `attempts`, `conflict`, `superseded`, `unknown_outcome`, `unreadable`.
    pub reason: Box<str>,
    /// The status or fault of the last attempt; empty without one.
    pub came: Box<str>,
    /// What the destination said, shortened.
    pub said: Box<str>,
    /// The same with what differs from copy to copy left out.
    pub shape: Box<str>,
    /// Attempts that counted.
    pub attempts: u32,
    /// When, in milliseconds since the epoch.
    pub unix_ms: u64,
    /// The primary's status; 0 where it gave none.
    pub primary_status: u16,
    /// The id that the primary gave to what was created.
    pub created: Option<Box<str>>,
}

/// A parked copy.
#[derive(Debug, Clone)]
pub struct Parked {
    /// Why.
    pub story: Story,
    /// The write, its body included.
    pub intent: Intent,
}

impl Parked {
    /// Names what belongs together: the same route, answer and shape of error at the same destination.
    pub fn group(&self) -> String {
        let Story { reason, came, shape, .. } = &self.story;
        let text = [&*self.intent.destination, &*self.intent.route, reason, came, shape].join("\n");
        format!("{:016x}", super::lane(&text))
    }

    fn encode(&self) -> Vec<u8> {
        let story = serde_json::to_vec(&self.story).unwrap_or_default();
        let mut bytes = u32::try_from(story.len()).unwrap_or(0).to_le_bytes().to_vec();
        bytes.extend_from_slice(&story);
        for part in self.intent.encode() {
            bytes.extend_from_slice(&part);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (story, intent) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let intent = Intent::decode(&bytes::Bytes::copy_from_slice(intent)).ok()?;
        Some(Self { story: serde_json::from_slice(story).ok()?, intent })
    }
}

/// Why the tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be opened, read or written.
    #[error("the journal's tables: {0}")]
    Redb(Box<redb::Error>),
    /// So many copies are parked that no more fit.
    #[error("{PARKED_MAX} copies are parked, or their bodies take {PARKED_BYTES_MAX} bytes; replay or drop some")]
    Full,
    /// Something failed a moment ago; they are opened again in a second at most.
    #[error("the journal's tables failed and are opened again in a moment")]
    Failing,
}

impl<E: Into<redb::Error>> From<E> for TableError {
    fn from(error: E) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}

/// The side tables.
#[derive(Debug)]
pub struct Tables {
    path: PathBuf,
    state: Mutex<State>,
}

/// The open file. redb takes nothing more after an operation failed, so it is opened again then.
#[derive(Debug, Default)]
struct State {
    database: Option<Database>,
    /// When it is opened again; `None` while all is well.
    retry_at: Option<Instant>,
    sums: Sums,
}

/// What would take a walk over the tables to know.
#[derive(Debug, Default)]
struct Sums {
    parked: HashMap<Box<str>, u64>,
    parked_bytes: u64,
    gaps: HashMap<Box<str>, u64>,
    mended: HashMap<Box<str>, u64>,
    /// Copies whose entity is watched, by destination.
    watched: HashMap<Box<str>, u64>,
    /// Whether any ids are paired; found out when the first is asked for, because an earlier process may pair some until then.
    has_ids: Option<bool>,
}

impl State {
    fn open(path: &Path) -> Result<Self, TableError> {
        // Bodies of writes are for their owner alone.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        made.map_err(redb::Error::from)?;
        // While this process hands over, the one that takes over has them open, too.
        let mode = ConcurrencyMode::MultiWriter;
        let database = Builder::new().set_cache_size(CACHE_BYTES).set_concurrency_mode(mode).create(path)?;
        let begun = database.begin_write()?;
        begun.open_table(PARKED)?;
        begun.open_table(IDS)?;
        gaps::make(&begun)?;
        later::make(&begun)?;
        begun.commit()?;
        // What is in a file is durable once its name is.
        let named = File::open(path.parent().unwrap_or(path)).and_then(|dir| dir.sync_all());
        named.map_err(redb::Error::from)?;
        let mut sums = Sums::default();
        let reading = database.begin_read()?;
        for entry in reading.open_table(PARKED)?.iter()? {
            let (key, value) = entry?;
            *sums.parked.entry(key.value().0.into()).or_default() += 1;
            sums.parked_bytes += value.value().len() as u64;
        }
        gaps::sum(&reading, &mut sums)?;
        later::sum(&reading, &mut sums)?;
        Ok(Self { database: Some(database), retry_at: None, sums })
    }

    /// Opens the file again where something failed, once a second at most.
    fn mend(&mut self, path: &Path) -> Result<(), TableError> {
        let Some(at) = self.retry_at else { return Ok(()) };
        if Instant::now() < at {
            return Err(TableError::Failing);
        }
        // Two that are open would wait for each other's locks. The sums stay as they are until they are known again.
        self.database = None;
        match Self::open(path) {
            Ok(opened) => *self = opened,
            Err(error) => {
                self.retry_at = Some(Instant::now() + RETRY);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Notes whether something failed: what is in the file then is known only when it is open again.
    fn note<T>(&mut self, done: Result<T, TableError>) -> Result<T, TableError> {
        if let Err(TableError::Redb(_)) = &done {
            self.retry_at = Some(Instant::now() + RETRY);
        }
        done
    }
}

impl Tables {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When it is damaged, another process has it, or the disk fails.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        Ok(Self { path: path.to_owned(), state: Mutex::new(State::open(path)?) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tables and the sums, both or none: where the change fails, both are read anew.
    fn write<T>(
        &self,
        change: impl FnOnce(&WriteTransaction, &mut Sums) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        let mut state = self.state();
        state.mend(&self.path)?;
        let State { database: Some(database), sums, .. } = &mut *state else { return Err(TableError::Failing) };
        let write = || {
            let begun = database.begin_write()?;
            let done = change(&begun, sums)?;
            begun.commit()?;
            Ok(done)
        };
        let done = write();
        state.note(done)
    }

    fn reading(&self) -> Result<ReadTransaction, TableError> {
        let mut state = self.state();
        state.mend(&self.path)?;
        let Some(database) = &state.database else { return Err(TableError::Failing) };
        let begun = database.begin_read().map_err(TableError::from);
        state.note(begun)
    }

    /// Every destination of which something is kept.
    pub fn destinations(&self) -> Vec<Box<str>> {
        let state = self.state();
        state.sums.parked.keys().chain(state.sums.gaps.keys()).cloned().collect()
    }

    /// Copies parked of a destination.
    pub fn parked_count(&self, destination: &str) -> u64 {
        self.state().sums.parked.get(destination).copied().unwrap_or(0)
    }

    /// Sets a copy aside; one of the same name is replaced.
    ///
    /// # Errors
    /// When there is no room or the disk fails.
    pub fn park(&self, parked: &Parked) -> Result<(), TableError> {
        let bytes = parked.encode();
        let key = (&*parked.intent.destination, parked.intent.id.0);
        self.write(|begun, sums| {
            let (count, sum) = (sums.parked.values().sum::<u64>(), sums.parked_bytes + bytes.len() as u64);
            if count >= PARKED_MAX || sum > PARKED_BYTES_MAX {
                return Err(TableError::Full);
            }
            let before = begun.open_table(PARKED)?.insert(key, &*bytes)?.map(|before| before.value().len() as u64);
            sums.parked_bytes = sum.saturating_sub(before.unwrap_or(0));
            *sums.parked.entry(key.0.into()).or_default() += u64::from(before.is_none());
            later::watch(begun, sums, &parked.intent)
        })
    }

    /// Takes a copy out; says whether it was there.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn unpark(&self, destination: &str, id: CopyId) -> Result<bool, TableError> {
        if self.parked_count(destination) == 0 {
            return Ok(false);
        }
        self.write(|begun, sums| {
            let mut parked = begun.open_table(PARKED)?;
            let before = parked.remove((destination, id.0))?.map(|before| before.value().len() as u64);
            let Some(bytes) = before else { return Ok(false) };
            sums.parked_bytes = sums.parked_bytes.saturating_sub(bytes);
            less(&mut sums.parked, destination);
            Ok(true)
        })
    }

    /// Walks over the parked copies, by destination and name, until `visit` says stop.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn each_parked(&self, mut visit: impl FnMut(Parked) -> bool) -> Result<(), TableError> {
        for entry in self.reading()?.open_table(PARKED)?.iter()? {
            // What another version wrote stays for that one.
            if let Some(parked) = Parked::decode(entry?.1.value())
                && !visit(parked)
            {
                break;
            }
        }
        Ok(())
    }

    /// The parked copies of this name; a write may have more than one destination.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn parked(&self, id: CopyId) -> Result<Vec<Parked>, TableError> {
        let names: Vec<Box<str>> = self.state().sums.parked.keys().cloned().collect();
        let table = self.reading()?.open_table(PARKED)?;
        let mut found = Vec::new();
        for name in &names {
            found.extend(table.get((&**name, id.0))?.and_then(|value| Parked::decode(value.value())));
        }
        Ok(found)
    }

    /// Notes that what one side calls `here` the other calls `there`, both ways.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn pair_ids(&self, route: &str, here: (&str, &str), there: (&str, &str)) -> Result<(), TableError> {
        self.write(|begun, sums| {
            let mut ids = begun.open_table(IDS)?;
            ids.insert((route, here.0, there.0, here.1), there.1)?;
            ids.insert((route, there.0, here.0, there.1), here.1)?;
            sums.has_ids = Some(true);
            Ok(())
        })
    }

    /// What the side `to` calls what the side `from` calls `id`; `None` when nothing else is known.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn id_at(&self, route: &str, from: &str, to: &str, id: &str) -> Result<Option<String>, TableError> {
        if self.state().sums.has_ids == Some(false) {
            return Ok(None);
        }
        let table = self.reading()?.open_table(IDS)?;
        self.state().sums.has_ids.get_or_insert(!table.is_empty()?);
        Ok(table.get((route, from, to, id))?.map(|there| there.value().to_owned()))
    }
}

/// One less of a destination.
fn less(counts: &mut HashMap<Box<str>, u64>, destination: &str) {
    if let Some(count) = counts.get_mut(destination) {
        *count = count.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests;
