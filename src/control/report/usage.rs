//! Owns what is known about the use of flags over time: since when each rests, when it was last asked, since when it is watched.
//!
//! It compares the workers' counts from time to time, so the data plane does nothing for it. What is known is kept in the
//! state directory: thirty days are longer than most processes live.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Moment;
use super::stale::outcome;
use crate::flag::Flag;

/// The file's name in the state directory.
const NAME: &str = "flag-usage.json";
/// Between two writes; what a crash loses is at most so much.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// More is no file of ours: 100,000 flags come to some 20 MB.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is known about the use of one flag; times are the wall clock in milliseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FlagUse {
    /// What it gives to everybody, for people; `None` while it gives different things.
    pub rest: Option<String>,
    /// Since when it does.
    pub rests_since_unix_ms: Option<u64>,
    /// When somebody last asked it.
    pub asked_unix_ms: Option<u64>,
    /// Since when it is watched.
    pub watched_since_unix_ms: u64,
}

impl FlagUse {
    /// Whether it was seen to rest as the flag does.
    pub fn rests_as(&self, flag: &Flag) -> bool {
        self.rest.is_some() && self.rest == flag.rest().map(|rest| outcome(flag, rest))
    }
}

/// Remembers the use of flags.
#[derive(Debug)]
pub(in crate::control) struct Usage {
    file: Option<PathBuf>,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    flags: BTreeMap<String, FlagUse>,
    /// What the workers had counted at the last look.
    counted: HashMap<String, u64>,
    is_dirty: bool,
    saved: Option<Instant>,
}

/// Reads what a router has kept about the use of flags; nothing where it has kept nothing.
///
/// # Errors
/// When there is a file and it cannot be read or understood.
pub fn read_usage(state_dir: &Path) -> io::Result<BTreeMap<String, FlagUse>> {
    let path = state_dir.join(NAME);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Ok(about) if about.len() > BYTES_MAX => return Err(io::Error::other("it is too large")),
        _ => {}
    }
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

impl Usage {
    /// Takes over what an earlier process has kept; what cannot be read is watched anew.
    pub(in crate::control) fn new(state_dir: Option<&Path>) -> Self {
        let flags = state_dir.map(read_usage).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "{NAME} cannot be read: the use of flags is watched anew");
            None
        });
        let memory = Memory { flags: flags.unwrap_or_default(), counted: HashMap::new(), is_dirty: false, saved: None };
        Self { file: state_dir.map(|dir| dir.join(NAME)), memory: Mutex::new(memory) }
    }

    /// Compares what is in force and what was counted with the last look.
    pub(super) fn look(&self, moment: &Moment) {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for leg in &moment.legs {
            if let Some(flag) = &leg.flag {
                *counts.entry(flag).or_default() += leg.counts.requests;
            }
        }
        let mut memory = self.lock();
        let memory = &mut *memory;
        let known = memory.flags.len();
        memory.flags.retain(|key, _| moment.snapshot.rules.flag_ids.contains_key(key.as_str()));
        memory.is_dirty |= memory.flags.len() < known;
        for flag in &moment.snapshot.rules.flags {
            let entry = memory.flags.entry(flag.key.to_string()).or_default();
            let before = entry.clone();
            if entry.watched_since_unix_ms == 0 {
                entry.watched_since_unix_ms = moment.now_unix_ms;
            }
            // A kill of every flag says nothing about this one.
            let is_overridden = moment.book.flags.contains_key(&*flag.key);
            let rest = flag.rest().filter(|_| !is_overridden).map(|rest| outcome(flag, rest));
            if rest != entry.rest {
                entry.rests_since_unix_ms = rest.as_ref().map(|_| moment.now_unix_ms);
                entry.rest = rest;
            }
            let count = counts.get(&*flag.key).copied().unwrap_or_default();
            // Counts go down where legs leave the configuration; nobody has asked by that.
            if memory.counted.insert(flag.key.to_string(), count).unwrap_or_default() < count {
                entry.asked_unix_ms = Some(moment.now_unix_ms);
            }
            memory.is_dirty |= *entry != before;
        }
        memory.counted.retain(|key, _| memory.flags.contains_key(key));
    }

    /// Notes that somebody has asked a flag otherwise than by a request to a route.
    pub(super) fn note_asked(&self, flag: &str, now_unix_ms: u64) {
        let mut memory = self.lock();
        if let Some(entry) = memory.flags.get_mut(flag) {
            entry.asked_unix_ms = Some(now_unix_ms);
            memory.is_dirty = true;
        }
    }

    pub(super) fn of(&self, flag: &str) -> FlagUse {
        self.lock().flags.get(flag).cloned().unwrap_or_default()
    }

    /// Writes what has changed, unless that was done a short while ago.
    pub(super) fn save_if_due(&self) {
        let is_due = self.lock().saved.is_none_or(|saved| saved.elapsed() >= SAVE_INTERVAL);
        if is_due {
            self.save();
        }
    }

    /// Writes what has changed. A disk that does not take it is no trouble: the next write holds it too.
    pub(super) fn save(&self) {
        let mut memory = self.lock();
        let Some(file) = self.file.as_ref().filter(|_| memory.is_dirty) else { return };
        let text = serde_json::to_vec(&memory.flags).expect("strings and numbers have a JSON form");
        memory.saved = Some(Instant::now());
        memory.is_dirty = false;
        drop(memory);
        let next = file.with_extension("json.new");
        if let Err(error) = fs::write(&next, text).and_then(|()| fs::rename(&next, file)) {
            tracing::warn!(%error, "the use of flags could not be kept");
            self.lock().is_dirty = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
