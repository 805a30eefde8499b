//! Owns how handshakes end, on both sides: the protocol that was agreed on, or why there is none.

use std::io;

use rustls::{AlertDescription, CommonState, Error};

/// Names the application protocols that a side offers (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Alpn {
    /// HTTP/1.1 alone.
    #[default]
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// HTTP/2, else HTTP/1.1.
    Either,
}

impl Alpn {
    pub(super) fn names(self) -> Vec<Vec<u8>> {
        let (h2, http1) = (b"h2".to_vec(), b"http/1.1".to_vec());
        match self {
            Self::Http1 => vec![http1],
            Self::Http2 => vec![h2],
            Self::Either => vec![h2, http1],
        }
    }
}

/// Whether both sides agreed on HTTP/2; without an agreement it is HTTP/1.1.
pub(super) fn is_http2(connection: &CommonState) -> bool {
    connection.alpn_protocol() == Some(b"h2")
}

/// Says why a handshake failed.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct HandshakeError {
    /// The kind, for counters and answers.
    pub fault: HandshakeFault,
    source: io::Error,
}

/// Sorts failures of handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandshakeFault {
    /// The peer went away.
    Closed,
    /// The peer ended it with an alert.
    Alert,
    /// The peer's certificate is missing, not trusted, expired, or for another name.
    Certificate,
    /// No common application protocol.
    NoProtocol,
    /// No certificate for the name that was asked for.
    UnknownName,
    /// No common version, cipher suite, group or signature.
    Incompatible,
    /// What came is no TLS, or breaks its rules.
    Malformed,
    /// Anything on this side.
    Internal,
}

impl HandshakeFault {
    /// All faults, by discriminant.
    pub const ALL: [Self; 8] = [
        Self::Closed,
        Self::Alert,
        Self::Certificate,
        Self::NoProtocol,
        Self::UnknownName,
        Self::Incompatible,
        Self::Malformed,
        Self::Internal,
    ];

    /// Names the fault in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Alert => "alert",
            Self::Certificate => "certificate",
            Self::NoProtocol => "no_protocol",
            Self::UnknownName => "unknown_name",
            Self::Incompatible => "incompatible",
            Self::Malformed => "malformed",
            Self::Internal => "internal",
        }
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::AlertReceived(AlertDescription::NoApplicationProtocol) | Error::NoApplicationProtocol => {
                Self::NoProtocol
            }
            Error::AlertReceived(_) => Self::Alert,
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Self::Certificate,
            Error::PeerIncompatible(_) => Self::Incompatible,
            Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => Self::Malformed,
            // What rustls says when the resolver has no certificate to show.
            Error::General(_) => Self::UnknownName,
            _ => Self::Internal,
        }
    }
}

impl HandshakeError {
    /// A failure that shows before the first byte.
    pub(super) fn own(fault: HandshakeFault, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { fault, source: io::Error::other(error) }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(source: io::Error) -> Self {
        let of_tls = source.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let fault = of_tls.map_or(HandshakeFault::Closed, HandshakeFault::of);
        Self { fault, source }
    }
}
