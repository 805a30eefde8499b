//! Owns explaining: what a snapshot does with one request, and why, for the command line and the control plane.
//!
//! It reads a request by the rules of the wire and decides as the data plane does; it never sends or changes anything.

mod question;
mod report;

pub use crate::decision::Certificate;
pub use question::{Question, header, method, url};
pub use report::{Answer, Asked, Copy, KeyOrigin, Other, Slot, Step};
