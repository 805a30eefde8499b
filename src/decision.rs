//! Owns the way from a request head to a decision: pure and total.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method};

use crate::flag::{Bucket, ErrorCode, Reason};
use crate::route::Params;
use crate::snapshot::{Leg, Route, Snapshot};

/// What of a request a decision may look at.
#[derive(Debug, Clone, Copy)]
pub struct Head<'r> {
    /// The method.
    pub method: &'r Method,
    /// Lower case, without port or trailing dot.
    pub host: &'r str,
    /// The path as received.
    pub path: &'r str,
    /// The query as received, without `?`.
    pub query: Option<&'r str>,
    /// The header fields.
    pub headers: &'r HeaderMap,
    /// The peer's address.
    pub client: IpAddr,
    /// Whether the client came over TLS (an issued cookie is `Secure` then).
    pub secure: bool,
    /// The wall clock in seconds since the epoch, for `$flagd.timestamp`.
    pub now_unix_s: i64,
    /// Makes a fresh targeting key for a visitor without one.
    pub fresh_key: fn() -> String,
}

/// Who serves a request, and why.
#[derive(Debug)]
pub struct Decision<'s> {
    /// The matched route.
    pub route: &'s Route,
    /// The leg that serves.
    pub leg: &'s Leg,
    /// What happened to the flag; `None` on a route without one.
    pub flag: Option<FlagOutcome<'s>>,
    /// The targeting key, if the request has one and something asked for it.
    pub targeting_key: Option<Box<str>>,
    /// A `Set-Cookie` for the answer, where a targeting key was issued.
    pub set_cookie: Option<HeaderValue>,
    /// The route's parameters.
    pub params: Params<'s>,
}

/// What a flag said about a request.
#[derive(Debug, Clone, Copy)]
pub struct FlagOutcome<'s> {
    /// The flag's key.
    pub key: &'s str,
    /// The chosen variant; `None` when the fallback serves.
    pub variant: Option<&'s str>,
    /// Why.
    pub reason: Reason,
    /// What went wrong, with [`Reason::Error`] only.
    pub error: Option<ErrorCode>,
    /// The slot of the targeting key.
    pub bucket: Option<Bucket>,
    /// A tester forced the variant by a header.
    pub forced: bool,
}

/// Why there is no decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecided {
    /// No route matches.
    NoRoute,
    /// The path reads differently for routing and for an upstream (rule H6).
    PathAmbiguous,
}

/// Decides who serves a request.
///
/// Total: every flag error is the route's fallback with [`Reason::Error`]. It reads nothing but its arguments.
///
/// # Errors
/// Only when the request has no route.
pub fn decide<'s>(_snapshot: &'s Snapshot, _head: &Head<'_>) -> Result<Decision<'s>, Undecided> {
    todo!("helper B2")
}
