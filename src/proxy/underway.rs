//! Owns an exchange under way: the wait for the upstream's response head, and what is made of it for the client.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::answer::Answer;
use super::carrier::Carrier;
use super::copied::Copied;
use super::exchange::Exchange;
use super::outgoing::{Sent, SentRest};
use super::tunnel;
use crate::fault::{Fault, Side};
use crate::forward::{BodyProgress, Exchanged, Exchanging, ForwardError, Pool};
use crate::head::answer::Afterwards;
use crate::head::{names, response};
use crate::upstream::Upstream;

/// An exchange that ends with an answer of our own.
pub(super) struct Refused {
    pub exchange: Box<Exchange>,
    pub fault: Fault,
    pub afterwards: Afterwards,
}

/// An exchange under way.
pub(super) struct Forward {
    pub exchanging: Exchanging,
    /// Taken when the response head is there.
    pub exchange: Option<Box<Exchange>>,
    pub upstream: Rc<Pool>,
    pub progress: Rc<BodyProgress>,
    /// Whether the client knows interim heads: HTTP/1.0 does not.
    pub takes_interim: bool,
    pub sent: Sent,
    /// The copy of a write.
    pub copying: Option<Copied>,
    /// The upstream's answer, while an interim head is on its way to the client, or the copy on its way to the disk.
    pub held: Option<Box<Result<Exchanged, ForwardError>>>,
}

impl Forward {
    /// Waits for the response head and answers.
    pub(super) fn poll(&mut self, carrier: &Carrier, cx: &mut Context<'_>) -> Poll<Result<Response<Answer>, Refused>> {
        let come = match self.held.take() {
            Some(held) => *held,
            None => {
                let polled = Pin::new(&mut self.exchanging).poll(cx);
                carrier.pass_interim(&self.progress, self.takes_interim);
                ready!(polled)
            }
        };
        let broken = self.progress.broken.get();
        let waits = self.copying.as_mut().is_some_and(|copied| copied.poll(&come, broken, cx).is_pending());
        if waits || carrier.is_passing_interim() {
            self.held = Some(Box::new(come));
            return Poll::Pending;
        }
        let Some(exchange) = self.exchange.take() else { return Poll::Pending };
        Poll::Ready(self.conclude(exchange, come))
    }

    /// Answers with what has come of it.
    fn conclude(
        &mut self,
        mut exchange: Box<Exchange>,
        come: Result<Exchanged, ForwardError>,
    ) -> Result<Response<Answer>, Refused> {
        match come {
            Ok(_) if self.copying.as_ref().is_some_and(|copied| !copied.is_kept()) => {
                Err(Refused { exchange, fault: Fault::NotKept, afterwards: Afterwards::Close })
            }
            Ok(exchanged) => {
                self.progress.answered.set(true);
                answer(exchange, exchanged, self.upstream.upstream(), &mut self.sent)
            }
            Err(error) => {
                if let Some(endpoint) = error.endpoint {
                    exchange.tried(endpoint);
                }
                let fault = self.progress.broken.get().unwrap_or(error.fault);
                if fault.side() == Side::Upstream {
                    self.upstream.blame(&error);
                }
                Err(Refused { exchange, fault, afterwards: Afterwards::Close })
            }
        }
    }
}

/// Turns the upstream's response into the client's.
fn answer(
    mut exchange: Box<Exchange>,
    exchanged: Exchanged,
    upstream: &Arc<Upstream>,
    sent: &mut Sent,
) -> Result<Response<Answer>, Refused> {
    let Exchanged { response, mut lease } = exchanged;
    exchange.reached(lease.address(), lease.connected_in);
    let (mut parts, body) = response.into_parts();
    let admitted = response::admit(&parts, &sent.method, sent.asked);
    let mut rest = sent.rest.take();
    let accept = rest.as_ref().and_then(|rest| rest.accept.as_ref());
    let facts = match admitted.and_then(|facts| own_handshake(facts, &parts, accept)) {
        Ok(facts) => facts,
        Err(fault) => {
            if fault.side() == Side::Upstream {
                lease.failed(upstream);
            }
            return Err(Refused { exchange, fault, afterwards: Afterwards::Close });
        }
    };
    response::prepare(&mut parts, facts);
    exchange.carrier().prepare(&mut parts);
    if let Some(rest) = &mut rest {
        add_own(&mut parts.headers, rest);
    }
    if upstream.ejection.on_5xx && parts.status.is_server_error() {
        lease.answered_badly(upstream);
    }
    exchange.answered(parts.status.as_u16());
    if facts.is_tunnel
        && let Some((client, upward)) = rest.and_then(|rest| rest.client).zip(lease.take_tunnel())
    {
        lease.hold(exchange.take_slot());
        exchange.complete();
        let tunnel = tunnel::start(exchange.carrier(), client, upward, lease, upstream.timeouts.tunnel_idle_ms);
        return Ok(Response::from_parts(parts, tunnel));
    }
    let keeps_length = parts.status == StatusCode::NOT_MODIFIED
        && !exchange.carrier().is_stream()
        && parts.headers.contains_key(CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Answer::passed(body, lease, upstream, exchange, keeps_length)))
}

/// Adds the fields that the decision has for the client.
fn add_own(headers: &mut HeaderMap, rest: &mut SentRest) {
    if let Some(cookie) = rest.set_cookie.take() {
        headers.append(SET_COOKIE, cookie);
    }
    if let Some(decision) = rest.shown_decision.take() {
        headers.insert(names::BANYAN_DECISION, decision);
    }
}

/// Judges the answer to a handshake of our own: a success that is no switch would look like one to the client.
///
/// That is the fault of a client that asked for a WebSocket where there is none: endpoints must not suffer for it (U10).
fn own_handshake(
    facts: response::Facts,
    parts: &http::response::Parts,
    accept: Option<&HeaderValue>,
) -> Result<response::Facts, Fault> {
    let Some(accept) = accept else { return Ok(facts) };
    match facts.is_tunnel {
        true if parts.headers.get(SEC_WEBSOCKET_ACCEPT) != Some(accept) => Err(Fault::ResponseMalformed),
        false if parts.status.is_success() => Err(Fault::MethodRefused),
        _ => Ok(facts),
    }
}
