//! Tests of the header layer; each name begins with the rule it is about.

mod http2;
mod properties;
mod requests;
mod responses;

use http::request;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};

use super::request::{Admitted, Facts, ForwardContext, admit, prepare};
use super::{Peer, Policy};
use crate::fault::Fault;
use crate::limits::Limits;

fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> request::Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(method.as_bytes()).unwrap();
    parts.uri = target.parse().unwrap();
    parts.headers = fields_of(fields);
    parts
}

fn head_10(target: &str, fields: &[(&str, &str)]) -> request::Parts {
    let mut parts = head("GET", target, fields);
    parts.version = Version::HTTP_10;
    parts
}

/// A GET of `/` at `a.example` with further fields.
fn get(fields: &[(&str, &str)]) -> request::Parts {
    let mut parts = head("GET", "/", &[("host", "a.example")]);
    for (name, value) in fields_of(fields).iter() {
        parts.headers.append(name, value.clone());
    }
    parts
}

fn fields_of(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

fn judge(parts: &request::Parts) -> Result<Admitted<'_>, Fault> {
    admit(parts, &Limits::default(), &Policy::default())
}

fn facts(parts: &request::Parts) -> Facts {
    judge(parts).unwrap().facts
}

fn fault(parts: &request::Parts) -> Fault {
    judge(parts).map(|admitted| admitted.facts).unwrap_err()
}

fn peer(policy: &Policy) -> Peer {
    Peer::new("192.0.2.7".parse().unwrap(), false, policy)
}

fn context<'c>(policy: &'c Policy, peer: &'c Peer) -> ForwardContext<'c> {
    ForwardContext { policy, peer, host: None, host_default: "10.0.0.1:9000", websocket: true, random: || [0xab; 24] }
}

/// Admits and prepares under a policy.
fn sent_under(policy: &Policy, mut parts: request::Parts) -> request::Parts {
    let facts = admit(&parts, &Limits::default(), policy).unwrap().facts;
    prepare(&mut parts, facts, &context(policy, &peer(policy))).copy_into(&mut parts.headers);
    parts
}

fn sent(parts: request::Parts) -> request::Parts {
    sent_under(&Policy::default(), parts)
}

/// The values of a field, joined by ` | `.
fn lines(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
    values.join(" | ")
}
