//! Owns overrides as operators give them: commands, the book that keeps them, its file, and laying it over rules.
//!
//! It never publishes; what is in force is the publications' (decision 0015).

mod apply;
mod bind;
mod book;
mod command;
mod lasts;
mod merge;
mod store;

pub use book::Source;
pub use command::{Command, Durable, Order, Receipt, Refusal, Uncopied};
pub use lasts::parse_lasts;

pub(super) use apply::apply;
pub(super) use bind::{Bound, Misfit, bind};
pub(super) use book::{Book, Note, unix_ms};
pub(super) use merge::merge;
pub(super) use store::{FileId, OverrideFile};
