//! Owns the rules for message heads: what is refused, and what is rewritten on the way through.
//!
//! Pure functions on `http` types: no I/O, no clock, no hyper. Each side walks a head once (`admit`), notes what it
//! saw, and `prepare` touches only what was seen. The rule numbers (F1, H2, P9, ...) are those of docs/security.md.

pub mod answer;
pub mod http2;
pub mod names;
pub mod policy;
pub mod request;
pub mod response;
pub mod trailers;
pub mod websocket;

mod added;
mod connection;
mod forwarded;
mod host;
mod prepare;
mod scan;
mod seen;
mod trace;
mod via;

#[cfg(test)]
mod tests;

pub use added::Added;
pub use forwarded::client_address;
pub use policy::{Peer, Policy, Pseudonym, TraceMode};
pub use request::{Admitted, BodyKind, Facts, ForwardContext, Upgrade};
