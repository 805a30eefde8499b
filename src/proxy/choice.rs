//! Owns who serves a request: what is decided, and whether the chosen upstream has room. Nothing is sent here.

use std::net::IpAddr;

use http::request::Parts;

use super::connection::Connection;
use super::view::View;
use crate::clock;
use crate::decision::{self, Decision, Undecided};
use crate::fault::Fault;
use crate::health::Slot;

/// Decides who serves.
pub(super) fn decide<'s>(
    connection: &Connection,
    view: &'s View,
    parts: &Parts,
    host: &str,
    client: IpAddr,
) -> Result<Decision<'s>, Fault> {
    let security = connection.security.as_ref();
    let head = decision::Head {
        method: &parts.method,
        host,
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
        client,
        secure: security.is_some(),
        certificate: security.and_then(|security| security.certificate.as_ref()).map(|shown| decision::Certificate {
            subject: &shown.subject,
            issuer: &shown.issuer,
            san: shown.san.as_deref(),
            fingerprint: &shown.fingerprint,
        }),
        now_unix_s: i64::try_from(clock::wall().as_secs()).unwrap_or(i64::MAX),
        fresh_key,
    };
    decision::decide(&view.snapshot, &head).map_err(|undecided| match undecided {
        Undecided::NoRoute => Fault::NoRoute,
        Undecided::PathAmbiguous => Fault::PathAmbiguous,
    })
}

/// Asks the upstream for room before anything is sent; where it has none, the route may let the fallback serve.
pub(super) fn take_in<'s>(view: &View, decision: Decision<'s>) -> (Decision<'s>, Result<Option<Slot>, Fault>) {
    let chosen = view.pool(decision.leg.upstream);
    let fault = match chosen.admit() {
        Ok(slot) => return (decision, Ok(slot)),
        Err(fault) => fault,
    };
    match decision.overflow.map(|leg| view.pool(leg.upstream).admit()) {
        Some(Ok(slot)) => {
            chosen.overflowed();
            (decision.overflowed(), Ok(slot))
        }
        // Nobody has room: that is the chosen upstream's failure, not the fallback's.
        Some(Err(_)) | None => (decision, Err(fault)),
    }
}

/// A targeting key for a visitor without one: 128 random bits in hexadecimal.
fn fresh_key() -> String {
    let mut bytes = [0; 16];
    // Without the system's randomness a worse one serves: keys must differ, they are no secret.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = fastrand::u128(..).to_be_bytes();
    }
    format!("{:032x}", u128::from_be_bytes(bytes))
}
