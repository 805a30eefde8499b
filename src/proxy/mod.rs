//! Owns the data plane: workers, connections, and the handler that reads as the list of the stages.
//!
//! One thread a worker, each with its own runtime, listeners and pools. Workers share the snapshot and the counters;
//! nothing is locked per request.

mod accept;
mod announcement;
mod answer;
mod arrival;
mod carrier;
mod choice;
mod connection;
mod copied;
mod copying;
mod discard;
mod exchange;
mod handler;
mod http2;
mod interim;
mod io;
mod outbound;
mod outgoing;
mod preface;
mod stream_state;
mod tunnel;
mod underway;
mod view;
mod worker;

pub use worker::{Options, Workers, start};
