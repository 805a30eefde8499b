//! Owns what happens to a request, stage by stage: admit, decide, prepare, exchange, answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response, Version};
use hyper::body::Body as _;

use super::answer::Answer;
use super::carrier::Carrier;
use super::choice::{decide, take_in};
use super::connection::Connection;
use super::copying::Write;
use super::discard::discard;
use super::exchange::Exchange;
use super::outbound::{Outbound, serve_held};
use super::outgoing;
use super::tunnel::ClientEnd;
use super::underway::{Forward, Refused};
use super::view::View;
use crate::decision::Decision;
use crate::fault::Fault;
use crate::forward::{self, ClientBody, RequestBody, Tap};
use crate::head::answer::Afterwards;
use crate::head::{self, Facts, Upgrade, answer};
use crate::limits::Limit;

/// What a request comes to once its head has been read.
enum Step {
    /// It is on its way to an upstream.
    Forward(Forward),
    /// It is a write that must be durable, or wait for older copies, before it is.
    ///
    /// All of it is boxed, so that other requests need no room for it.
    Hold(Pin<Box<dyn Future<Output = Result<Response<Answer>, Refused>>>>),
    /// It is answered here once its body has been read and dropped; without a fault it is an OPTIONS of ours.
    Discard { exchange: Box<Exchange>, facts: Facts, body: ClientBody, fault: Option<Fault> },
    /// It is answered here.
    Refuse(Refused),
}

/// A request as it came, with its record.
struct Received {
    exchange: Box<Exchange>,
    parts: Parts,
    facts: Facts,
    body: ClientBody,
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
            Step::Forward(mut forward) => poll_fn(|cx| forward.poll(&carrier, cx)).await,
            Step::Hold(served) => served.await,
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
fn begin(carrier: &Carrier, request: Request<ClientBody>) -> Step {
    let connection = &carrier.connection;
    let view = connection.worker.view();
    let (parts, body) = request.into_parts();
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
    let mut decision = match decide(connection, &view, &parts, &admitted.host, client) {
        Ok(decision) => decision,
        Err(fault) => return Step::Discard { exchange, facts, body, fault: Some(fault) },
    };
    let write = Write::of(connection, &view, &parts, &mut decision);
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
    let received = Received { exchange, parts, facts, body };
    match received.prepare(carrier, &view, &decision, write.as_ref()) {
        Ok(outbound) => match write.filter(Write::must_wait) {
            Some(write) => Step::Hold(Box::pin(serve_held(carrier.clone(), write, outbound, bytes_max))),
            None => Step::Forward(outbound.send(carrier)),
        },
        Err(refused) => Step::Refuse(refused),
    }
}
impl Received {
    /// Turns it into what the upstream gets; a part of `begin`, where each move of a head would cost.
    #[inline(always)]
    fn prepare(
        self,
        carrier: &Carrier,
        view: &View,
        decision: &Decision<'_>,
        write: Option<&Write>,
    ) -> Result<Outbound, Refused> {
        let Self { mut exchange, mut parts, facts, body } = self;
        let takes_interim = parts.version != Version::HTTP_10;
        let upstream = Rc::clone(view.pool(decision.leg.upstream));
        let refused = |exchange, fault| Refused { exchange, fault, afterwards: Afterwards::Close };
        let prepared = outgoing::prepare(carrier, view, decision, upstream.upstream(), facts, &mut parts);
        let (mut sent, mut added) = match prepared {
            Ok(prepared) => prepared,
            Err(fault) => return Err(refused(exchange, fault)),
        };
        exchange.traced(&parts.headers, &added);
        if facts.expect_continue {
            carrier.ask_for_body();
        }
        let body = match body {
            ClientBody::Http2(stream) if sent.asked == Upgrade::WebSocket => {
                sent.rest.get_or_insert_default().client = Some(ClientEnd::Stream(stream));
                ClientBody::None
            }
            body => body,
        };
        let worker = &carrier.connection.worker;
        let body_bytes_max = decision.route.body_bytes_max;
        let mut body = RequestBody::new(body, Arc::clone(exchange.watch()), worker.limits(), body_bytes_max);
        let copying = write
            .map(|write| write.begin(worker.answers.as_ref(), view, decision, &parts, &mut added, &body))
            .transpose();
        let copying = match copying {
            Ok(copying) => copying.flatten(),
            Err(fault) => return Err(refused(exchange, fault)),
        };
        if let Some(copying) = &copying {
            exchange.copied(copying);
            body = body.tapped(Rc::clone(copying) as Rc<dyn Tap>);
        }
        match forward::rewrite(&mut parts, &mut added, &upstream.upstream().rewrite) {
            Ok(()) => Ok(Outbound { exchange, upstream, head: parts, added, sent, body, takes_interim, copying }),
            Err(fault) => Err(refused(exchange, fault)),
        }
    }
}

fn own(made: Response<bytes::Bytes>, mut exchange: Box<Exchange>) -> Response<Answer> {
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
