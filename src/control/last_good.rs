//! Owns the copy of the files that were last in force, for a start when those on disk have errors (rule C5).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::config::FileSet;

/// The link to the copy; its target is replaced in one step.
const LINK: &str = "last-good";
const FLAGS: &str = "flags";
const ROUTES: &str = "routes";

/// Finds the kept copy: its directory of flags and its directory of routes.
pub fn last_good(state_dir: &Path) -> Option<(PathBuf, PathBuf)> {
    let copy = fs::canonicalize(state_dir.join(LINK)).ok()?;
    Some((copy.join(FLAGS), copy.join(ROUTES)))
}

/// Keeps a copy of both sets; at any moment there is one whole copy, the earlier or this one.
pub(super) fn save(state_dir: &Path, flags: &FileSet, routes: &FileSet) -> io::Result<()> {
    let earlier = fs::read_link(state_dir.join(LINK)).ok();
    // Two names take turns, so that a crash leaves no more than one copy too many.
    let name = if earlier.as_deref() == Some(Path::new("last-good.a")) { "last-good.b" } else { "last-good.a" };
    let copy = state_dir.join(name);
    remove(&copy)?;
    // Not the state directory itself: one that has vanished is trouble to be told of, not to be covered.
    fs::create_dir(&copy)?;
    write(&copy.join(FLAGS), flags)?;
    write(&copy.join(ROUTES), routes)?;

    let next = state_dir.join("last-good.next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => symlink(name, &next)?,
    }
    fs::rename(&next, state_dir.join(LINK))?;
    earlier.map_or(Ok(()), |earlier| remove(&state_dir.join(earlier)))
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(dir: &Path, set: &FileSet) -> io::Result<()> {
    fs::create_dir(dir)?;
    for file in &set.files {
        let relative = file.path.strip_prefix(&set.dir).map_err(io::Error::other)?;
        let path = dir.join(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::File::create(&path).and_then(|mut copy| {
            io::Write::write_all(&mut copy, file.text.as_bytes())?;
            copy.sync_all()
        })?;
    }
    Ok(())
}
