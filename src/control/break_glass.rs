//! Owns the thread that looks for the file `KILL` and ends overrides in time; it needs no descriptor and no event.
//!
//! A look is one `stat` every 50 ms. Asking the kernel for events instead would need a descriptor and a watch, which are
//! what a machine in trouble runs out of (decision 0015).

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::operator::Operator;
use super::overrides::{Note, Source};
use super::scribe::Scribe;

/// The file's name in the state directory.
pub const NAME: &str = "KILL";
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// The most bytes of a reason that are read.
const WHY_BYTES_MAX: u64 = 1024;

/// What a look at the file has shown.
#[derive(Debug, PartialEq)]
pub(super) enum Look {
    There(Note),
    Gone,
    /// The directory cannot be looked into: what holds, holds.
    Unknown,
}

/// Looks at the file until the sender of `stop` is gone.
pub(super) fn run(operator: &Operator, scribe: &Scribe, state_dir: Option<PathBuf>, stop: &Receiver<()>) {
    let mut seen = None;
    loop {
        if let Some(dir) = &state_dir {
            look_again(operator, dir, &mut seen);
        }
        scribe.look();
        operator.end_overdue();
        match stop.recv_timeout(LOOK_INTERVAL) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Compares with the last look, so that a reason is read once.
fn look_again(operator: &Operator, dir: &Path, seen: &mut Option<Sight>) {
    let Some(now) = sight(dir) else { return };
    let before = seen.as_ref();
    let moved = before.is_some_and(|before| before.is_there && before.directory != now.directory);
    if moved && !now.is_there {
        // Another directory has taken its place, and nobody has removed the file: what holds, holds.
        return;
    }
    if before.is_none_or(|before| before.is_there != now.is_there) {
        match look(dir) {
            Look::There(note) => operator.break_glass(Some(note)),
            Look::Gone => operator.break_glass(None),
            Look::Unknown => return,
        }
    }
    *seen = Some(now);
}

/// What a look shows at the least cost.
struct Sight {
    is_there: bool,
    /// The directory's device and inode.
    directory: (u64, u64),
}

/// Looks; `None` where nothing can be told, as when the directory is gone.
fn sight(state_dir: &Path) -> Option<Sight> {
    let is_there = exists(state_dir)?;
    let about = fs::metadata(state_dir).ok()?;
    Some(Sight { is_there, directory: (about.dev(), about.ino()) })
}

/// Looks whether the file is there, and what it says.
pub(super) fn look(state_dir: &Path) -> Look {
    match exists(state_dir) {
        None => Look::Unknown,
        Some(false) => Look::Gone,
        Some(true) => {
            let path = state_dir.join(NAME);
            let who =
                fs::symlink_metadata(&path).map_or_else(|_| NAME.to_owned(), |about| format!("uid {}", about.uid()));
            // A file that cannot be read kills all the same.
            let why = read(&path).unwrap_or_else(|error| format!("the file KILL is there ({error})"));
            let why = if why.is_empty() { "the file KILL is there".to_owned() } else { why };
            Look::There(Note::now(&who, &why, Source::BreakGlass, None))
        }
    }
}

/// Whether the file is there; `None` where that cannot be told. A directory that is gone tells nothing.
fn exists(state_dir: &Path) -> Option<bool> {
    match fs::symlink_metadata(state_dir.join(NAME)) {
        Ok(_) => Some(true),
        Err(error) if error.kind() == ErrorKind::NotFound => fs::metadata(state_dir).ok().map(|_| false),
        Err(_) => None,
    }
}

fn read(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for a writer, and a device is no reason.
    if !fs::metadata(path)?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(WHY_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
