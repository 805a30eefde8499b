//! Owns the way from a decision to an upstream's response head: endpoints, pools, deadlines.
//!
//! Nothing that may have reached an upstream is sent twice.

pub mod wire;

mod body;
mod choice;
mod client_body;
mod connection;
mod dial;
mod endpoint;
mod http1;
mod http2;
mod pool;
mod stream;

#[cfg(test)]
mod tests;

pub use body::{BodyProgress, RequestBody};
pub use client_body::{ClientBody, StreamBody};
pub use connection::{ResponseBody, ResponseCut};
pub use endpoint::Lease;
pub use pool::{Exchanged, ForwardError, Pool};
pub use stream::Tunnel;
