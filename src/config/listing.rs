//! Owns which files of a directory count, and the stamps by which a change under a reader is seen.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Diagnostic, Report, Severity};

/// The most files of a set.
const FILES_MAX: usize = 10_000;
/// How deep directories may nest; a symbolic link that leads back runs into it.
const DIRECTORIES_MAX: usize = 8;

/// Tells a file from its successors: device, inode, length and time of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stamp(u64, u64, u64, i64, i64);

impl Stamp {
    /// The stamp of a file.
    pub(super) fn of(about: &fs::Metadata) -> Self {
        Self(about.dev(), about.ino(), about.len(), about.mtime(), about.mtime_nsec())
    }
}

/// The files of a directory at one moment.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files that count and their stamps, sorted by path; a dangling link has none.
    pub(super) stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// What is wrong with the directory itself.
    pub(super) report: Report,
}

impl Listing {
    /// Lists a directory.
    pub(super) fn of(dir: &Path) -> Self {
        let mut listing = Self::default();
        match fs::metadata(dir) {
            Ok(about) if about.is_dir() => listing.list(dir, 1),
            Ok(_) => listing.report.push(about_directory("not-a-directory", dir, "is not a directory")),
            Err(error) => listing.unreadable(dir, &error),
        }
        listing.stamps.sort_unstable();
        listing
    }

    fn list(&mut self, dir: &Path, depth: usize) {
        if depth > DIRECTORIES_MAX {
            return self.report.push(about_directory(
                "too-deep",
                dir,
                "nests too deep; does a symbolic link lead back?",
            ));
        }
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(dir, &error),
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(entry.path(), depth),
                Err(error) => self.unreadable(dir, &error),
            }
        }
    }

    fn entry(&mut self, path: PathBuf, depth: usize) {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            return;
        }
        // Follows links: every file of a mounted ConfigMap is one.
        let about = fs::metadata(&path).ok();
        if about.as_ref().is_some_and(fs::Metadata::is_dir) {
            return self.list(&path, depth + 1);
        }
        if !is_document(&path) {
            return;
        }
        if self.stamps.len() < FILES_MAX {
            let stamp = about.as_ref().map(Stamp::of);
            self.stamps.push((path, stamp));
        } else if !self.report.has_errors() {
            let message = format!("is one file too many; {FILES_MAX} are read");
            self.report.push(about_directory("too-large", &path, &message));
        }
    }

    fn unreadable(&mut self, dir: &Path, error: &std::io::Error) {
        self.report.push(about_directory("no-directory", dir, &format!("cannot be read: {error}")));
    }
}

/// A finding about a directory as a whole.
pub(super) fn about_directory(code: &'static str, dir: &Path, message: &str) -> Diagnostic {
    let message = format!("`{}` {message}", dir.display());
    let found = Diagnostic::new(Severity::Error, code, None, message);
    found.help("nothing is published until all files can be read; see --flags and --routes")
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end.eq_ignore_ascii_case(known)))
}
