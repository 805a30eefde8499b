//! Owns the request's head on its way out: from the client's to what the upstream gets, and what is kept of it.

use http::header::SEC_WEBSOCKET_KEY;
use http::request::Parts;
use http::{HeaderValue, Method};
use hyper::upgrade::OnUpgrade;

use super::carrier::Carrier;
use super::tunnel::ClientEnd;
use super::view::View;
use crate::decision::Decision;
use crate::fault::Fault;
use crate::head::{Added, Facts, ForwardContext, Upgrade, names, request, websocket};
use crate::upstream::Upstream;

/// What is kept of a request once its head is on its way.
pub(super) struct Sent {
    pub method: Method,
    pub asked: Upgrade,
    /// What few requests need.
    pub rest: Option<Box<SentRest>>,
}

/// What is kept of requests that ask for a tunnel, or whose answer gets fields of ours.
#[derive(Default)]
pub(super) struct SentRest {
    /// The client's end, where it asks for a tunnel.
    pub client: Option<ClientEnd>,
    /// What the upstream must answer to a handshake that the router makes itself.
    pub accept: Option<HeaderValue>,
    /// For the answer.
    pub set_cookie: Option<HeaderValue>,
    /// For the answer.
    pub shown_decision: Option<HeaderValue>,
}

/// Turns the client's head into one for any upstream; `forward::rewrite` makes it that of one.
pub(super) fn prepare(
    carrier: &Carrier,
    view: &View,
    decision: &Decision<'_>,
    upstream: &Upstream,
    facts: Facts,
    parts: &mut Parts,
) -> Result<(Sent, Added), Fault> {
    let connection = &*carrier.connection;
    let options = &connection.worker.shared.options;
    let asked = if decision.route.websocket { facts.upgrade } else { Upgrade::None };
    if carrier.is_stream() && asked != facts.upgrade {
        // An extended CONNECT cannot go on as anything else.
        return Err(Fault::MethodRefused);
    }
    let context = ForwardContext {
        policy: &options.policy,
        peer: &connection.peer,
        host: upstream.rewrite.host.as_ref(),
        host_default: upstream.endpoints.first().map_or("", |endpoint| &endpoint.authority),
        websocket: decision.route.websocket,
        random,
    };
    let mut added = request::prepare(parts, facts, &context);
    let client = parts.extensions.remove::<OnUpgrade>().filter(|_| asked != Upgrade::None).map(ClientEnd::Connection);
    let makes_handshake = carrier.is_stream() && asked == Upgrade::WebSocket;
    let key = makes_handshake.then(|| parts.headers.get(SEC_WEBSOCKET_KEY)).flatten();
    let accept = key.map(websocket::accept);
    let mut shown_decision = None;
    if let Some(outcome) = &decision.flag {
        let leg = view.leg(decision.leg.id, &connection.worker.metrics);
        let value = leg.decision(&decision.route.name, outcome, view.snapshot.generation);
        shown_decision = options.expose_decision.then(|| value.clone());
        added.push(names::BANYAN_DECISION, value);
    }
    let version_key = decision.targeting_key.as_deref().filter(|_| upstream.version_key);
    if let Some(value) = version_key.and_then(|key| HeaderValue::from_str(key).ok()) {
        added.push(names::CLOUDFLARE_WORKERS_VERSION_KEY, value);
    }
    if let Some(forcing) = &view.snapshot.rules.forcing {
        // It speaks to the router; an upstream must not act on it (rule A10).
        parts.headers.remove(&forcing.header);
        added.remove(&forcing.header);
    }
    let set_cookie = decision.set_cookie.clone();
    let is_usual = client.is_none() && accept.is_none() && set_cookie.is_none() && shown_decision.is_none();
    let rest = (!is_usual).then(|| Box::new(SentRest { client, accept, set_cookie, shown_decision }));
    Ok((Sent { method: parts.method.clone(), asked, rest }, added))
}

fn random() -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&fastrand::u128(..).to_ne_bytes());
    bytes[16..].copy_from_slice(&fastrand::u64(..).to_ne_bytes());
    bytes
}
