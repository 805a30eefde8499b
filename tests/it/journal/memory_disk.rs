//! Owns a disk in memory that fails when told to and forgets at a power loss what was not synced.
//!
//! It is as unkind as a real one: a failed write leaves a part behind, a failed sync forgets that pages were dirty, a
//! power loss keeps any sectors of what was not synced and any first part of the changes to names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use banyan::journal::{Disk, DiskFile, Lock};

const SECTOR_BYTES: usize = 512;

/// Which operations fail, counted from 0 over all files.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    pub(super) writes: Range<u64>,
    pub(super) syncs: Range<u64>,
    /// Syncs report success and do nothing: the bug that the checks have to see.
    pub(super) syncs_lie: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<PathBuf, Arc<Mutex<Contents>>>,
    /// The names as they were synced, and what was changed since.
    durable_names: BTreeMap<PathBuf, Arc<Mutex<Contents>>>,
    changes: Vec<Change>,
    locks: BTreeSet<PathBuf>,
    faults: Faults,
    writes: u64,
    syncs: u64,
}

#[derive(Debug, Clone)]
enum Change {
    Add(PathBuf, Arc<Mutex<Contents>>),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    contents: Arc<Mutex<Contents>>,
}

fn apply(names: &mut BTreeMap<PathBuf, Arc<Mutex<Contents>>>, change: Change) -> io::Result<()> {
    let absent = || io::Error::from(io::ErrorKind::NotFound);
    match change {
        Change::Add(path, contents) => drop(names.insert(path, contents)),
        Change::Remove(path) => drop(names.remove(&path).ok_or_else(absent)?),
        Change::Rename(from, to) => {
            let contents = names.remove(&from).ok_or_else(absent)?;
            names.insert(to, contents);
        }
    }
    Ok(())
}

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// From now on these operations fail; counting starts anew.
    pub(super) fn fail(&self, faults: Faults) {
        let mut state = self.state();
        (state.faults, state.writes, state.syncs) = (faults, 0, 0);
    }

    /// What a power loss at this moment leaves; this disk lives on without it.
    pub(super) fn after_power_loss(&self, chance: &mut fastrand::Rng) -> Self {
        let state = self.state();
        let mut names = state.durable_names.clone();
        for change in state.changes.iter().take(chance.usize(0..=state.changes.len())) {
            apply(&mut names, change.clone()).unwrap();
        }
        let kept = |contents: &Arc<Mutex<Contents>>, chance: &mut fastrand::Rng| {
            let contents = contents.lock().unwrap();
            let mut left = contents.durable.clone();
            let share = [0, 50, 90, 100][chance.usize(0..4)];
            for &sector in contents.dirty.iter().filter(|_| chance.u32(0..100) < share) {
                let range = sector * SECTOR_BYTES..((sector + 1) * SECTOR_BYTES).min(contents.now.len());
                left.resize(left.len().max(range.end), 0);
                left[range.clone()].copy_from_slice(&contents.now[range]);
            }
            left
        };
        Self::of(names.iter().map(|(path, contents)| (path.clone(), kept(contents, chance))).collect())
    }

    /// What a kill of the process at this moment leaves: all that was written.
    pub(super) fn after_kill(&self) -> Self {
        Self::of(self.files())
    }

    /// The files and their bytes as a process sees them.
    pub(super) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        state.names.iter().map(|(path, contents)| (path.clone(), contents.lock().unwrap().now.clone())).collect()
    }

    /// A disk with these files, all of them durable.
    pub(super) fn of(files: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let contents = |bytes: Vec<u8>| {
            Arc::new(Mutex::new(Contents { now: bytes.clone(), durable: bytes, dirty: BTreeSet::new() }))
        };
        let names: BTreeMap<_, _> = files.into_iter().map(|(path, bytes)| (path, contents(bytes))).collect();
        Self(Arc::new(Mutex::new(State { durable_names: names.clone(), names, ..State::default() })))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.state();
        apply(&mut state.names, change.clone())?;
        state.changes.push(change);
        Ok(())
    }

    /// Counts a sync and says whether it does anything.
    fn sync(&self) -> io::Result<bool> {
        let mut state = self.state();
        state.syncs += 1;
        if state.faults.syncs.contains(&(state.syncs - 1)) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(!state.faults.syncs_lie)
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        if !self.state().locks.insert(path.to_owned()) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        Ok(Box::new(Held(self.clone(), path.to_owned())))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let found = self.state().names.get(path).cloned();
        let contents = match (found, create) {
            (Some(contents), false) => contents,
            (None, true) => {
                let contents = Arc::<Mutex<Contents>>::default();
                self.change(Change::Add(path.to_owned(), contents.clone()))?;
                contents
            }
            (Some(_), true) => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
            (None, false) => return Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        Ok(Arc::new(MemoryFile { disk: self.clone(), contents }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(Change::Remove(path.to_owned()))
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        if self.sync()? {
            let mut state = self.state();
            state.durable_names = state.names.clone();
            state.changes.clear();
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Held(MemoryDisk, PathBuf);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().locks.remove(&self.1);
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.contents.lock().unwrap();
        let from = (offset as usize).min(contents.now.len());
        let bytes = into.len().min(contents.now.len() - from);
        into[..bytes].copy_from_slice(&contents.now[from..from + bytes]);
        Ok(bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.writes += 1;
        let fails = state.faults.writes.contains(&(state.writes - 1));
        drop(state);
        // A full disk takes some of it.
        let bytes = if fails { &bytes[..bytes.len() / 2] } else { bytes };
        let mut contents = self.contents.lock().unwrap();
        let range = offset as usize..offset as usize + bytes.len();
        let length = contents.now.len().max(range.end);
        contents.now.resize(length, 0);
        contents.now[range.clone()].copy_from_slice(bytes);
        contents.dirty.extend(range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES));
        if fails { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let done = self.disk.sync();
        let mut contents = self.contents.lock().unwrap();
        match done {
            Ok(true) => {
                contents.durable = contents.now.clone();
                contents.dirty.clear();
            }
            Ok(false) => {}
            // The kernel takes the pages for clean, and they never reach the disk.
            Err(_) => contents.dirty.clear(),
        }
        done.map(drop)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.contents.lock().unwrap().now.len() as u64)
    }
}
