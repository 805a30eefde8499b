//! Owns what the pools know of a connection, whatever it speaks.

use http::Request;

use super::body::RequestBody;
use crate::fault::Fault;

/// A failure to exchange one request on a connection.
#[derive(Debug)]
pub(super) struct SendError {
    /// What happened.
    pub fault: Fault,
    /// The request, when provably nothing of it was sent.
    pub unsent: Option<Box<Request<RequestBody>>>,
}

impl SendError {
    /// A failure after which the request may have reached the upstream.
    pub(super) fn sent(fault: Fault) -> Self {
        Self { fault, unsent: None }
    }
}
