//! Owns the form of HTTP/1.1 messages towards upstreams: heads and chunks as bytes.
//!
//! Pure functions on bytes and `http` types: no I/O, no clock, no buffer that outlives a call. What is lenient for a reason
//! is held against hyper's client by `forward/tests/oracle.rs`.

pub mod chunks;
pub mod request;
pub mod response;

/// Says that an upstream's bytes are no HTTP/1.1 message with one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed: {0}")]
pub struct Malformed(&'static str);
