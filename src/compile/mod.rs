//! Owns the way from documents to a snapshot: cross-check and compile; it never publishes.

mod flag_warnings;
mod flags;
mod rule;
mod rule_fractional;
mod rule_results;
mod suggestion;

pub use flags::{FlagSet, compile_flags};
