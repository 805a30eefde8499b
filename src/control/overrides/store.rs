//! Owns `overrides.json` in the state directory: read at start, replaced whole in one step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::book::Book;

/// The file's name in the state directory.
const NAME: &str = "overrides.json";
/// Where an unreadable file is kept for a person to look at.
const ASIDE: &str = "overrides.json.unreadable";
/// The format's version; a file of another one counts as unreadable.
const VERSION: u32 = 1;
/// More is no file of ours: 10,000 flags with overrides come to some 3 MB.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The file that keeps the book.
#[derive(Debug)]
pub(in crate::control) struct OverrideFile {
    dir: PathBuf,
}

/// Tells one written file from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) struct FileId {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// What stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    overrides: Book,
}

impl OverrideFile {
    pub(in crate::control) fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.to_owned() }
    }

    pub(in crate::control) fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    /// Which file is there now; `None` when there is none, or that cannot be told.
    pub(in crate::control) fn identity(&self) -> Option<FileId> {
        fs::metadata(self.path()).ok().map(|about| FileId::of(&about))
    }

    /// Keeps other processes from writing until the result is dropped.
    pub(in crate::control) fn lock(&self) -> io::Result<File> {
        let dir = File::open(&self.dir)?;
        rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(dir)
    }

    /// Reads the book and which file it stands in; no file is an empty book.
    ///
    /// # Errors
    /// When there is a file and it cannot be read or understood: it may hold a kill.
    pub(in crate::control) fn load(&self) -> io::Result<(Book, Option<FileId>)> {
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Book::default(), None)),
            Err(error) => return Err(error),
        };
        let id = FileId::of(&file.metadata()?);
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text)?;
        let Written { version, mut overrides } = serde_json::from_str(&text).map_err(io::Error::other)?;
        if version != VERSION {
            return Err(io::Error::other(format!("its version is {version}, this banyan knows {VERSION}")));
        }
        overrides.start_clocks();
        Ok((overrides, Some(id)))
    }

    /// Keeps a copy of a file that cannot be understood, as the next save replaces it.
    pub(in crate::control) fn set_aside(&self) -> io::Result<()> {
        fs::copy(self.path(), self.dir.join(ASIDE)).map(|_| ())
    }

    /// What [`OverrideFile::save`] is to write of a book.
    pub(in crate::control) fn render(book: &Book) -> Vec<u8> {
        let written = Written { version: VERSION, overrides: book.clone() };
        serde_json::to_vec_pretty(&written).expect("strings and numbers have a JSON form")
    }

    /// Replaces the file and says which it is; when it returns well, the change survives a crash of the machine.
    ///
    /// At any moment there is one whole file, the earlier or this one, mode 0600.
    pub(in crate::control) fn save(&self, text: &[u8]) -> io::Result<FileId> {
        let next = self.dir.join("overrides.json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(text)?;
        file.sync_all()?;
        let id = FileId::of(&file.metadata()?);
        fs::rename(&next, self.path())?;
        File::open(&self.dir)?.sync_all()?;
        Ok(id)
    }
}

impl FileId {
    fn of(about: &fs::Metadata) -> Self {
        let (device, inode, bytes) = (about.dev(), about.ino(), about.len());
        Self { device, inode, bytes, modified: (about.mtime(), about.mtime_nsec()) }
    }
}
