//! Owns what goes to an upstream: a head, the fields that the router adds, a body.

use http::HeaderMap;
use http::request::Parts;

use super::body::RequestBody;
use crate::head::Added;

/// A request for an upstream; boxed wherever it is handed on, because what is boxed is not copied from layer to layer.
#[derive(Debug)]
pub struct UpstreamRequest {
    /// The head, prepared by the header layer.
    pub head: Parts,
    /// What follows the head's own fields.
    pub added: Added,
    /// The body.
    pub body: RequestBody,
}

impl UpstreamRequest {
    /// Swaps the header map for an empty one, for the response to use again; the head must have been written.
    pub(super) fn lend_headers(&mut self, empty: &mut HeaderMap) {
        self.head.headers.clear();
        std::mem::swap(&mut self.head.headers, empty);
    }
}
