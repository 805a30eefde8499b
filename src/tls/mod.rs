//! Owns TLS on both sides: certificates, keys, trust, handshakes; the one place that knows `rustls`.
//!
//! It reads the files that it is pointed at and nothing else; who is told of a failure, and what is counted, is for
//! its callers.

mod certificate;
pub mod client;
mod files;
mod handshake;
pub mod server;

pub use certificate::PeerCertificate;
pub use files::{FileError, FileFault, NamedFile};
pub use handshake::{Alpn, HandshakeError, HandshakeFault};
