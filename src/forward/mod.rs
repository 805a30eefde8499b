//! Owns the way from a decision to an upstream's response head: endpoints, pools, deadlines.
//!
//! Nothing that may have reached an upstream is sent twice.

pub mod wire;

mod attempt;
mod body;
mod choice;
mod client_body;
mod connection;
mod dial;
mod endpoint;
mod http1;
mod http2;
mod pool;
mod request;
mod rewrite;
mod stream;

#[cfg(test)]
mod tests;

pub use body::{BodyProgress, RequestBody, Tap};
pub use client_body::{ClientBody, StreamBody};
pub use connection::{ResponseBody, ResponseCut};
pub use endpoint::Lease;
pub use pool::{Exchanged, Exchanging, ForwardError, Pool};
pub use request::UpstreamRequest;
pub use rewrite::rewrite;
pub use stream::Tunnel;
