//! Owns writing the history: segments of JSON lines, rotated by size and count, repaired at start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::entry::{Entry, Event};
use super::reader::{DIRECTORY, segments};

/// A segment that has reached this many bytes is followed by a new one: some 10,000 entries.
const SEGMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How many segments are kept, which bounds the history to 64 MiB.
const SEGMENTS_MAX: usize = 16;

/// The history, open for appending; one process writes it at a time, or two during a hand-over.
#[derive(Debug)]
pub(in crate::control) struct HistoryLog {
    dir: PathBuf,
    open: Option<Segment>,
}

#[derive(Debug)]
struct Segment {
    file: File,
    bytes: u64,
    /// The number of the last entry.
    last: u64,
}

impl HistoryLog {
    /// Makes a log that opens its file when there is something to write.
    pub(in crate::control) fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.join(DIRECTORY), open: None }
    }

    /// Appends events; gives the number of the first. All of them are on disk then, or none is counted as written.
    pub(in crate::control) fn append(&mut self, events: &[Event]) -> io::Result<u64> {
        let appended = self.try_append(events);
        if appended.is_err() {
            // What the file looks like now is found out when it is opened again.
            self.open = None;
        }
        appended
    }

    fn try_append(&mut self, events: &[Event]) -> io::Result<u64> {
        let mut segment = match self.open.take() {
            Some(segment) if segment.file.metadata()?.len() == segment.bytes => segment,
            // Another process has written, too.
            _ => self.open_last()?,
        };
        if segment.bytes >= SEGMENT_BYTES_MAX {
            segment = self.begin(segment.last)?;
        }
        let first = segment.last + 1;
        let mut text = Vec::new();
        for (number, event) in (first..).zip(events) {
            serde_json::to_writer(&mut text, &event.numbered(number)).map_err(io::Error::other)?;
            text.push(b'\n');
            segment.last = number;
        }
        if let Err(error) = segment.file.write_all(&text).and_then(|()| segment.file.sync_data()) {
            // What is tried again must not stand there twice; a tail that cannot be cut now is cut at the next opening.
            let _ = segment.file.set_len(segment.bytes);
            return Err(error);
        }
        segment.bytes += text.len() as u64;
        self.open = Some(segment);
        Ok(first)
    }

    /// Opens the last segment and cuts what a crash has left half written.
    fn open_last(&self) -> io::Result<Segment> {
        // Not the state directory itself: one that has vanished is trouble to be told of, not to be covered.
        match fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let Some((first, path)) = segments(&self.dir)?.pop() else {
            return self.begin(0);
        };
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let (mut whole, mut last) = (0, first.saturating_sub(1));
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match serde_json::from_slice::<Entry>(line).ok().filter(|_| line.ends_with(b"\n")) {
                Some(entry) => last = last.max(entry.number),
                // A torn tail; a broken line before a whole one stays, as it may be another version's.
                None if whole + line.len() == text.len() => break,
                None => {}
            }
            whole += line.len();
        }
        if whole < text.len() {
            tracing::warn!(bytes = text.len() - whole, "the end of the history was half written and is cut");
            file.set_len(whole as u64)?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Segment { file, bytes: whole as u64, last })
    }

    /// Begins a segment, and removes the oldest beyond what is kept.
    fn begin(&self, last: u64) -> io::Result<Segment> {
        let path = self.dir.join(format!("{:012}.jsonl", last + 1));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        File::open(&self.dir)?.sync_all()?;
        let kept = segments(&self.dir)?;
        for (_, path) in kept.iter().take(kept.len().saturating_sub(SEGMENTS_MAX)) {
            fs::remove_file(path)?;
        }
        Ok(Segment { file, bytes, last })
    }
}

#[cfg(test)]
mod tests;
