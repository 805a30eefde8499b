//! Owns reading the history from its directory, with or without a router that runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::entry::Entry;

/// The folder in the state directory.
pub(super) const DIRECTORY: &str = "history";

/// What could be read of a history.
#[derive(Debug, Default)]
pub struct ReadHistory {
    /// The entries, the oldest first.
    pub entries: Vec<Entry>,
    /// Lines that could not be read; a torn last one, which is being written, does not count.
    pub unreadable: usize,
}

/// Reads the whole history of a state directory; no history is an empty one.
///
/// # Errors
/// When the directory or a file of it cannot be read.
pub fn read_history(state_dir: &Path) -> io::Result<ReadHistory> {
    let mut read = ReadHistory::default();
    for (_, path) in segments(&state_dir.join(DIRECTORY))? {
        let text = match fs::read(path) {
            Ok(text) => text,
            // Rotated away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            match serde_json::from_slice(line) {
                Ok(entry) => read.entries.push(entry),
                Err(_) => read.unreadable += 1,
            }
        }
    }
    Ok(read)
}

/// Reads backwards: the latest entries before a number, of one flag or of all, the latest first.
pub(in crate::control) fn entries_before(
    state_dir: &Path,
    before: Option<u64>,
    flag: Option<&str>,
    limit: usize,
) -> io::Result<Vec<Entry>> {
    let before = before.unwrap_or(u64::MAX);
    let mut found = Vec::new();
    for (_, path) in segments(&state_dir.join(DIRECTORY))?.into_iter().rev().filter(|(first, _)| *first < before) {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text?,
        };
        let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let mut entries: Vec<Entry> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        entries.retain(|entry| entry.number < before && flag.is_none_or(|flag| entry.flag.as_deref() == Some(flag)));
        found.extend(entries.into_iter().rev());
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// The segments, the oldest first, each with the number of its first entry, which is its name.
pub(super) fn segments(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let listed = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut found = Vec::new();
    for item in listed {
        let path = item?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jsonl"));
        if let Some(first) = name.and_then(|name| name.parse().ok()) {
            found.push((first, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}
