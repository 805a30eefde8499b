//! Owns reading a directory of documents: which files count, how large they may be, what identifies their content.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::listing::{Listing, Stamp, about_directory};
use super::{Diagnostic, Place, Report};

/// The largest file in bytes; 100,000 flags fit (rule C1).
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The most bytes of a set, so that a stray directory of data cannot exhaust the memory.
const SET_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How often a directory that changes is read before it is given up until the next look.
const ATTEMPTS_MAX: usize = 5;

/// A file as read.
#[derive(Debug)]
pub struct ConfigFile {
    /// The path as it is shown.
    pub path: PathBuf,
    /// The content.
    pub text: String,
}

/// What a directory of documents held at one moment.
#[derive(Debug)]
pub struct FileSet {
    /// The directory.
    pub dir: PathBuf,
    /// The files that could be read, sorted by path.
    pub files: Vec<Arc<ConfigFile>>,
    /// Identifies names and bytes, unreadable ones included; equal within this process while nothing changed.
    pub hash: u64,
    /// What is wrong with the directory or with files that could not be read.
    pub report: Report,
}

impl FileSet {
    /// Reads every `*.yaml`, `*.yml` and `*.json` file under a directory.
    ///
    /// Names that begin with a dot are left out: editors' and Kubernetes' own (`..data`). Symbolic links are followed.
    /// The set is what the directory held at one moment: one that changes meanwhile, such as a ConfigMap that is
    /// swapped, is read again. Never fails: what cannot be read is a finding, and the finding makes the set one that is refused.
    pub fn read(dir: &Path) -> Self {
        let mut listing = Listing::of(dir);
        for _ in 0..ATTEMPTS_MAX {
            let set = Self::read_listed(dir, &listing);
            let after = Listing::of(dir);
            match set {
                Some(set) if after.stamps == listing.stamps => return set,
                _ => listing = after,
            }
        }
        let mut reading = Reading::default();
        // Never the hash of what is there once it is quiet, so that a look at hashes reads it again.
        listing.stamps.hash(&mut reading.hasher);
        reading.report.push(about_directory("half-written", dir, "changes while it is read"));
        reading.finish(dir)
    }

    /// Reads what was listed; `None` when a file is not the listed one any more.
    fn read_listed(dir: &Path, listing: &Listing) -> Option<Self> {
        let mut reading = Reading { report: listing.report.clone(), ..Reading::default() };
        for (path, listed) in &listing.stamps {
            let found = reading.read(path.clone());
            if found.is_some_and(|found| *listed != Some(found)) {
                return None;
            }
        }
        if reading.files.is_empty() && !reading.report.has_errors() {
            reading.report.push(about_directory("no-files", dir, "holds no *.yaml, *.yml or *.json file"));
        }
        Some(reading.finish(dir))
    }

    /// Reads one file, whatever its name.
    pub fn read_file(path: &Path) -> Self {
        let mut reading = Reading::default();
        reading.read(path.to_owned());
        reading.finish(path)
    }

    /// The same set with new texts for some of its files.
    pub fn with(&self, changed: &[Arc<ConfigFile>]) -> Self {
        let mut reading = Reading { report: self.report.clone(), ..Reading::default() };
        for file in &self.files {
            let file = changed.iter().find(|changed| changed.path == file.path).unwrap_or(file);
            reading.keep(file.path.clone(), file.text.clone().into_bytes());
        }
        reading.finish(&self.dir)
    }

    /// Makes a set from texts, for callers that have no directory.
    pub fn from_texts<'t>(dir: &str, texts: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        let mut reading = Reading::default();
        for (name, text) in texts {
            reading.keep(Path::new(dir).join(name), text.as_bytes().to_vec());
        }
        reading.finish(Path::new(dir))
    }
}

/// A set in the making.
#[derive(Default)]
struct Reading {
    files: Vec<Arc<ConfigFile>>,
    hasher: DefaultHasher,
    bytes: u64,
    report: Report,
}

impl Reading {
    fn finish(self, dir: &Path) -> FileSet {
        FileSet { dir: dir.to_owned(), files: self.files, hash: self.hasher.finish(), report: self.report }
    }

    /// Reads a file; returns which one it was, if it could be read.
    fn read(&mut self, path: PathBuf) -> Option<Stamp> {
        match read_bytes(&path) {
            Ok((bytes, stamp)) => {
                self.keep(path, bytes);
                Some(stamp)
            }
            Err(unread) => {
                self.identify(&path, unread.message.as_bytes());
                self.file(unread.code, path, String::new(), 0, unread.message, unread.help);
                None
            }
        }
    }

    fn keep(&mut self, path: PathBuf, bytes: Vec<u8>) {
        self.identify(&path, &bytes);
        let before = self.bytes;
        self.bytes += bytes.len() as u64;
        if self.bytes > SET_BYTES_MAX {
            if before <= SET_BYTES_MAX {
                let message = format!("all files together are larger than {SET_BYTES_MAX} bytes");
                self.file("too-large", path, String::new(), 0, message, "split what one router serves");
            }
            return;
        }
        let help = "write the file whole, then rename it into place";
        if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
            let text = String::from_utf8_lossy(&bytes[..at]).into_owned();
            let end = text.len();
            return self.file("nul-byte", path, text, end, "a NUL byte: half-written, or not a text file", help);
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.files.push(Arc::new(ConfigFile { path, text })),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                self.file("not-utf8", path, text, at, "not UTF-8: half-written, or not a text file", help);
            }
        }
    }

    fn identify(&mut self, path: &Path, bytes: &[u8]) {
        let name = path.as_os_str().as_encoded_bytes();
        for part in [name, bytes] {
            // The lengths keep `ab` + `c` from being taken for `a` + `bc`.
            self.hasher.write_usize(part.len());
            self.hasher.write(part);
        }
    }

    fn file(
        &mut self,
        code: &'static str,
        path: PathBuf,
        text: String,
        at: usize,
        message: impl Into<String>,
        help: &str,
    ) {
        let place = Place { file: Arc::new(ConfigFile { path, text }), start: at, end: at };
        self.report.push(Diagnostic::error(code, &place, message).help(help));
    }
}

/// Why a file's bytes could not be had.
struct Unread {
    code: &'static str,
    message: String,
    help: &'static str,
}

fn read_bytes(path: &Path) -> Result<(Vec<u8>, Stamp), Unread> {
    let unreadable = |error: std::io::Error| Unread {
        code: "unreadable",
        message: format!("cannot be read: {error}"),
        help: "make it readable, or remove it",
    };
    let about = fs::metadata(path).map_err(unreadable)?;
    // Opening a pipe or a device could wait for ever.
    if !about.is_file() {
        return Err(Unread {
            code: "unreadable",
            message: "not a regular file".into(),
            help: "put a regular file in its place",
        });
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    (&file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Unread {
            code: "too-large",
            message: format!("larger than {FILE_BYTES_MAX} bytes"),
            help: "split the file",
        });
    }
    let about = file.metadata().map_err(unreadable)?;
    if about.len() != bytes.len() as u64 {
        return Err(Unread {
            code: "half-written",
            message: "the file changed while it was read".into(),
            help: "write the file whole, then rename it into place",
        });
    }
    Ok((bytes, Stamp::of(&about)))
}
