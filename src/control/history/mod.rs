//! Owns the history: one entry for every publication, override, rejection, end and restore, append-only on disk.
//!
//! It never decides anything: an entry says what has happened.

mod changes;
mod entry;
mod log;
mod reader;

pub use entry::{Action, Entry};
pub use reader::{ReadHistory, read_history};

pub(super) use changes::changes;
pub(super) use entry::Event;
pub(super) use log::HistoryLog;
pub(super) use reader::entries_before;
