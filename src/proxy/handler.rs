//! Owns what happens to a request, stage by stage: admit, decide, prepare, exchange, answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::header::{SEC_WEBSOCKET_ACCEPT, SET_COOKIE};
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Body as _;

use super::answer::Answer;
use super::carrier::Carrier;
use super::choice::{decide, take_in};
use super::connection::Connection;
use super::discard::discard;
use super::exchange::Exchange;
use super::outgoing::{self, Sent};
use super::tunnel::{self, ClientEnd};
use crate::fault::{Fault, Side};
use crate::forward::{BodyProgress, ClientBody, Exchanged, ForwardError, Pool, RequestBody};
use crate::head::answer::Afterwards;
use crate::head::{self, Facts, Upgrade, answer, names, response};
use crate::limits::Limit;
use crate::upstream::Upstream;

/// An exchange that ends with an answer of our own.
struct Refused {
    exchange: Exchange,
    fault: Fault,
    afterwards: Afterwards,
}

/// What a request comes to once its head has been read.
enum Step<F> {
    /// It is on its way to an upstream.
    Forward(Forward<F>),
    /// It is answered here once its body has been read and dropped; without a fault it is an OPTIONS of ours.
    Discard { exchange: Exchange, facts: Facts, body: ClientBody, fault: Option<Fault> },
    /// It is answered here.
    Refuse(Refused),
}

/// An exchange under way.
struct Forward<F> {
    exchanging: F,
    exchange: Exchange,
    upstream: Rc<Pool>,
    progress: Rc<BodyProgress>,
    /// Whether the client knows interim heads: HTTP/1.0 does not.
    takes_interim: bool,
    sent: Sent,
}

/// Serves one request.
///
/// Whatever needs no waiting is done before the future is made: a future that held the request would be kilobytes
/// large, and it is moved.
pub(super) fn handle(
    carrier: Carrier,
    request: Request<ClientBody>,
) -> impl Future<Output = Result<Response<Answer>, Infallible>> {
    carrier.begin();
    let step = begin(&carrier, request);
    async move {
        let served = match step {
            Step::Forward(forward) => forward.finish(&carrier).await,
            Step::Refuse(refused) => Err(refused),
            Step::Discard { exchange, facts, body, fault } => {
                let afterwards = discard(&carrier, facts, body).await;
                match fault {
                    Some(fault) => Err(Refused { exchange, fault, afterwards }),
                    None => Ok(own(answer::options(afterwards), exchange)),
                }
            }
        };
        let mut response = served.unwrap_or_else(|refused| refuse(&carrier.connection, refused));
        carrier.mark_last(&mut response);
        Ok(response)
    }
}

/// Admits, decides, prepares and sends.
fn begin(
    carrier: &Carrier,
    request: Request<ClientBody>,
) -> Step<impl Future<Output = Result<Exchanged, ForwardError>> + use<>> {
    let connection = &carrier.connection;
    let view = connection.worker.view();
    let (mut parts, body) = request.into_parts();
    let mut exchange = Exchange::begin(carrier, &view, &parts);
    let options = &connection.worker.shared.options;
    let refused = |exchange, fault| Step::Refuse(Refused { exchange, fault, afterwards: Afterwards::Close });
    let admitted = match carrier.admit(&parts, body.is_end_stream()) {
        Ok(admitted) => admitted,
        Err(fault) => return refused(exchange, fault),
    };
    let facts = admitted.facts;
    exchange.routed_by(&admitted.host);
    if facts.answer_here {
        return Step::Discard { exchange, facts, body, fault: None };
    }
    if !connection.serves(&admitted.host) {
        return Step::Discard { exchange, facts, body, fault: Some(Fault::Misdirected) };
    }
    let client = match connection.peer.is_trusted() {
        true => head::client_address(&parts.headers, connection.address.ip(), &options.policy),
        false => connection.address.ip(),
    };
    exchange.came_from(client);
    let decision = match decide(connection, &view, &parts, &admitted.host, client) {
        Ok(decision) => decision,
        Err(fault) => return Step::Discard { exchange, facts, body, fault: Some(fault) },
    };
    let (decision, admitted) = take_in(&view, decision);
    exchange.decided(&decision);
    match admitted {
        Ok(slot) => exchange.admitted(slot),
        Err(fault) => return Step::Discard { exchange, facts, body, fault: Some(fault) },
    }
    let bytes_max = decision.route.body_bytes_max;
    if bytes_max.is_some_and(|max| body.size_hint().lower() > max) {
        return refused(exchange, Fault::BodyTooLarge);
    }
    let takes_interim = parts.version != Version::HTTP_10;
    let upstream = Rc::clone(view.pool(decision.leg.upstream));
    let mut sent = match outgoing::prepare(carrier, &view, &decision, upstream.upstream(), facts, &mut parts) {
        Ok(sent) => sent,
        Err(fault) => return refused(exchange, fault),
    };
    exchange.traced(&parts.headers);
    if facts.expect_continue {
        carrier.ask_for_body();
    }
    let body = match body {
        ClientBody::Http2(stream) if sent.asked == Upgrade::WebSocket => {
            sent.client = Some(ClientEnd::Stream(stream.into_stream()));
            ClientBody::None
        }
        body => body,
    };
    let body = RequestBody::new(body, Arc::clone(exchange.watch()), &options.limits, bytes_max);
    let progress = body.progress();
    exchange.uploading(Rc::clone(&progress));
    let response_ms = if sent.asked == Upgrade::None { upstream.upstream().timeouts.response_ms } else { 0 };
    let request = Request::from_parts(parts, body);
    // Boxed, because what is boxed is not copied from layer to layer.
    let exchanging = Box::pin(upstream.exchange(request, exchange.watch(), response_ms, connection.address));
    Step::Forward(Forward { exchanging, exchange, upstream, progress, takes_interim, sent })
}

impl<F: Future<Output = Result<Exchanged, ForwardError>>> Forward<F> {
    /// Waits for the response head and answers.
    async fn finish(self, carrier: &Carrier) -> Result<Response<Answer>, Refused> {
        let Self { exchanging, mut exchange, upstream, progress, takes_interim, sent } = self;
        let mut exchanging = pin!(exchanging);
        let mut held = None;
        let exchanged = poll_fn(|cx| {
            let polled = match held.take() {
                Some(come) => Poll::Ready(come),
                None => {
                    let polled = exchanging.as_mut().poll(cx);
                    carrier.pass_interim(&progress, takes_interim);
                    polled
                }
            };
            match polled {
                Poll::Ready(come) if carrier.is_passing_interim() => {
                    held = Some(come);
                    Poll::Pending
                }
                polled => polled,
            }
        });
        match exchanged.await {
            Ok(exchanged) => {
                progress.answered.set(true);
                answer(exchange, exchanged, upstream.upstream(), sent).map_err(|refused| *refused)
            }
            Err(error) => {
                if let Some(endpoint) = error.endpoint {
                    exchange.tried(endpoint);
                }
                let fault = progress.broken.get().unwrap_or(error.fault);
                if fault.side() == Side::Upstream {
                    upstream.blame(&error);
                }
                Err(Refused { exchange, fault, afterwards: Afterwards::Close })
            }
        }
    }
}

/// Turns the upstream's response into the client's.
fn answer(
    mut exchange: Exchange,
    exchanged: Exchanged,
    upstream: &Arc<Upstream>,
    sent: Sent,
) -> Result<Response<Answer>, Box<Refused>> {
    let Exchanged { response, mut lease } = exchanged;
    exchange.reached(lease.address(), lease.connected_in);
    let (mut parts, body) = response.into_parts();
    let admitted = response::admit(&parts, &sent.method, sent.asked);
    let facts = match admitted.and_then(|facts| own_handshake(facts, &parts, sent.accept.as_ref())) {
        Ok(facts) => facts,
        Err(fault) => {
            lease.failed(upstream);
            return Err(Box::new(Refused { exchange, fault, afterwards: Afterwards::Close }));
        }
    };
    response::prepare(&mut parts, facts);
    exchange.carrier().prepare(&mut parts);
    if let Some(cookie) = sent.set_cookie {
        parts.headers.append(SET_COOKIE, cookie);
    }
    if let Some(decision) = sent.shown_decision {
        parts.headers.insert(names::BANYAN_DECISION, decision);
    }
    if upstream.ejection.on_5xx && parts.status.is_server_error() {
        lease.answered_badly(upstream);
    }
    exchange.answered(parts.status.as_u16());
    if facts.is_tunnel
        && let Some((client, upward)) = sent.client.zip(lease.take_tunnel())
    {
        lease.hold(exchange.take_slot());
        exchange.complete();
        let tunnel = tunnel::start(exchange.carrier(), client, upward, lease, upstream.timeouts.tunnel_idle_ms);
        return Ok(Response::from_parts(parts, tunnel));
    }
    Ok(Response::from_parts(parts, Answer::passed(body, lease, upstream, exchange)))
}

/// Judges the answer to a handshake of our own: a success that is no switch would look like one to the client.
fn own_handshake(
    facts: response::Facts,
    parts: &http::response::Parts,
    accept: Option<&HeaderValue>,
) -> Result<response::Facts, Fault> {
    let Some(accept) = accept else { return Ok(facts) };
    let fits = match facts.is_tunnel {
        true => parts.headers.get(SEC_WEBSOCKET_ACCEPT) == Some(accept),
        false => !parts.status.is_success(),
    };
    if fits { Ok(facts) } else { Err(Fault::ResponseMalformed) }
}

fn own(made: Response<bytes::Bytes>, mut exchange: Exchange) -> Response<Answer> {
    exchange.answered(made.status().as_u16());
    made.map(|text| Answer::own(text, exchange))
}

/// Answers for a fault.
fn refuse(connection: &Connection, refused: Refused) -> Response<Answer> {
    let Refused { mut exchange, fault, afterwards } = refused;
    // A stream can be broken off without its connection.
    let afterwards = if exchange.carrier().is_stream() { Afterwards::KeepOpen } else { afterwards };
    let limit = match fault {
        Fault::BodyTooLarge => Some(Limit::Body),
        Fault::UriTooLong => Some(Limit::Target),
        Fault::HeadTooLarge => Some(Limit::Head),
        _ => None,
    };
    if let Some(limit) = limit {
        connection.worker.metrics.limit(limit);
    }
    exchange.fail(fault);
    own(answer::fault(fault, &exchange.request_id(), afterwards), exchange)
}
