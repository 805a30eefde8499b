//! Owns what stands from before a start: overrides in the state directory, and the file `KILL`.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::break_glass::{Look, look};
use super::overrides::{Book, FileId, Note, OverrideFile, Source, bind};
use crate::snapshot::Snapshot;

/// Overrides that were given before this process began.
#[derive(Debug, Default)]
pub struct Standing {
    pub(super) book: Book,
    pub(super) glass: Option<Note>,
    /// What is on disk, and in which file.
    pub(super) on_disk: Book,
    pub(super) id: Option<FileId>,
    /// The book is not what is on disk.
    pub(super) is_owed: bool,
}

impl Standing {
    /// Reads what stands in a state directory.
    ///
    /// # Errors
    /// When the file of overrides is there and cannot be read or understood.
    pub fn read(state_dir: &Path) -> io::Result<Self> {
        let (book, id) = OverrideFile::new(state_dir).load()?;
        Ok(Self { on_disk: book.clone(), id, book, glass: Self::look(state_dir), is_owed: false })
    }

    /// What stands where the overrides cannot be read: they may hold a kill, so every flag is killed (decision 0015).
    ///
    /// The unreadable file is kept beside the new one.
    pub fn unreadable(state_dir: &Path, why: &io::Error) -> Self {
        let file = OverrideFile::new(state_dir);
        if let Err(error) = file.set_aside() {
            tracing::warn!(%error, "the unreadable file of overrides could not be copied");
        }
        let why = format!("overrides.json could not be read: {why}");
        let book = Book { kill_all: Some(Note::now("banyan", &why, Source::Router, None)), ..Book::default() };
        Self { book, glass: Self::look(state_dir), on_disk: Book::default(), id: file.identity(), is_owed: true }
    }

    /// Lays it over a snapshot that is not in force yet.
    pub fn lay_over(&self, snapshot: Snapshot) -> Snapshot {
        let mut book = self.book.clone();
        // What ended while no router ran must not be in force for a moment; its end is noted later.
        book.end(Instant::now());
        let bound = bind(&book, self.glass.is_some(), &snapshot.rules);
        Snapshot { overrides: Arc::new(bound.overrides), ..snapshot }
    }

    fn look(state_dir: &Path) -> Option<Note> {
        match look(state_dir) {
            Look::There(note) => Some(note),
            Look::Gone | Look::Unknown => None,
        }
    }
}
