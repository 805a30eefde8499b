//! Owns HTTP/2 towards clients: a connection's streams, each with a task and deadlines of its own.
//!
//! The framing is the h2 crate's. What it leaves open is held here: how much waits to be sent, how long a stream may
//! stand still, how many streams may be broken off, and when the connection ends.

mod connection;
mod date;
mod outbox;
mod stream;
mod tunnel;

pub(super) use connection::serve;
pub(super) use tunnel::StreamTunnel;
