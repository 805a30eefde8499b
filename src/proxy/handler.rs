//! Owns what happens to a request, stage by stage: admit, decide, prepare, exchange, answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Body as _;

use super::answer::Answer;
use super::carrier::Carrier;
use super::choice::{decide, take_in};
use super::connection::Connection;
use super::copying::{Write, read_whole};
use super::discard::discard;
use super::exchange::Exchange;
use super::outgoing::{self, Sent, SentRest};
use super::tunnel::{self, ClientEnd};
use crate::fault::{Fault, Side};
use crate::forward::{
    BodyProgress, ClientBody, Exchanged, Exchanging, ForwardError, Pool, RequestBody, Tap, UpstreamRequest,
};
use crate::head::answer::Afterwards;
use crate::head::{self, Added, Facts, Upgrade, answer, names, response};
use crate::limits::Limit;
use crate::mirror::{Copying, NotKept};
use crate::upstream::Upstream;

/// An exchange that ends with an answer of our own.
struct Refused {
    exchange: Box<Exchange>,
    fault: Fault,
    afterwards: Afterwards,
}

/// What a request comes to once its head has been read.
enum Step {
    /// It is on its way to an upstream.
    Forward(Forward),
    /// It is a write that must be durable, or wait for older copies, before it is.
    Hold(Pin<Box<dyn Future<Output = Result<Forward, Refused>>>>),
    /// It is answered here once its body has been read and dropped; without a fault it is an OPTIONS of ours.
    Discard { exchange: Box<Exchange>, facts: Facts, body: ClientBody, fault: Option<Fault> },
    /// It is answered here.
    Refuse(Refused),
}

/// An exchange under way.
struct Forward {
    exchanging: Exchanging,
    /// Taken when the response head is there.
    exchange: Option<Box<Exchange>>,
    upstream: Rc<Pool>,
    progress: Rc<BodyProgress>,
    /// Whether the client knows interim heads: HTTP/1.0 does not.
    takes_interim: bool,
    sent: Sent,
    /// The copy of a write.
    copying: Option<Copied>,
    /// The upstream's answer, while an interim head is on its way to the client, or the copy on its way to the disk.
    held: Option<Box<Result<Exchanged, ForwardError>>>,
}

/// The copy of a write, while its answer is waited for.
struct Copied {
    copying: Rc<Copying>,
    /// The answer has been noted.
    noted: bool,
    kept: Result<(), NotKept>,
}

/// A request that is ready to be sent.
struct Outbound {
    exchange: Box<Exchange>,
    upstream: Rc<Pool>,
    head: Parts,
    added: Added,
    sent: Sent,
    body: RequestBody,
    takes_interim: bool,
    copying: Option<Rc<Copying>>,
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
            Step::Hold(held) => match held.await {
                Ok(mut forward) => poll_fn(|cx| forward.poll(&carrier, cx)).await,
                Err(refused) => Err(refused),
            },
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
    let (decision, write) = Write::of(connection, &view, &parts, decision);
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
    let (mut sent, mut added) =
        match outgoing::prepare(carrier, &view, &decision, upstream.upstream(), facts, &mut parts) {
            Ok(sent) => sent,
            Err(fault) => return refused(exchange, fault),
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
    let mut body = RequestBody::new(body, Arc::clone(exchange.watch()), &options.limits, bytes_max);
    let copying = match write.as_ref().map(|write| write.begin(&view, &decision, &parts, &mut added, &body)).transpose()
    {
        Ok(copying) => copying.flatten(),
        Err(fault) => return refused(exchange, fault),
    };
    if let Some(copying) = &copying {
        exchange.copied(copying);
        body = body.tapped(Rc::clone(copying) as Rc<dyn Tap>);
    }
    if let Err(fault) = outgoing::rewrite(&mut parts, &mut added, &upstream.upstream().rewrite) {
        return refused(exchange, fault);
    }
    let outbound = Outbound { exchange, upstream, head: parts, added, sent, body, takes_interim, copying };
    match write.filter(Write::must_wait) {
        Some(write) => Step::Hold(Box::pin(hold(carrier.clone(), write, outbound, bytes_max))),
        None => Step::Forward(outbound.send(carrier)),
    }
}

/// Sends a write once what must be durable before it is.
async fn hold(
    carrier: Carrier,
    write: Write,
    mut outbound: Outbound,
    bytes_max: Option<u64>,
) -> Result<Forward, Refused> {
    let worker = Rc::clone(&carrier.connection.worker);
    let limits = &worker.shared.options.limits;
    if write.reads_body_first() && outbound.copying.is_some() {
        let nothing = RequestBody::new(ClientBody::None, Arc::clone(carrier.watch()), limits, None);
        let body = std::mem::replace(&mut outbound.body, nothing);
        outbound.exchange.uploading(body.progress());
        match read_whole(body).await {
            Ok(whole) => {
                let whole = ClientBody::Whole(whole);
                outbound.body = RequestBody::new(whole, Arc::clone(carrier.watch()), limits, bytes_max);
            }
            Err(fault) => return Err(outbound.refused(fault)),
        }
    }
    match write.wait(&worker, outbound.copying.as_deref()).await {
        Ok(()) => Ok(outbound.send(&carrier)),
        Err(fault) => Err(outbound.refused(fault)),
    }
}

impl Outbound {
    /// Sends it.
    fn send(self, carrier: &Carrier) -> Forward {
        let Self { mut exchange, upstream, head, added, sent, body, takes_interim, copying } = self;
        let progress = body.progress();
        exchange.uploading(Rc::clone(&progress));
        let response_ms = if sent.asked == Upgrade::None { upstream.upstream().timeouts.response_ms } else { 0 };
        let request = Box::new(UpstreamRequest { head, added, body });
        let exchanging = upstream.exchange(request, exchange.watch(), response_ms, carrier.connection.address);
        let copying = copying.map(|copying| Copied { copying, noted: false, kept: Ok(()) });
        Forward { exchanging, exchange: Some(exchange), upstream, progress, takes_interim, sent, copying, held: None }
    }

    /// Ends it before it was sent.
    fn refused(self, fault: Fault) -> Refused {
        if let Some(copying) = &self.copying {
            copying.failed(Fault::NotKept);
        }
        Refused { exchange: self.exchange, fault, afterwards: Afterwards::Close }
    }
}

impl Copied {
    /// Notes what came of the write, and whether its answer may go to the client.
    fn poll(&mut self, come: &Result<Exchanged, ForwardError>, fault: Option<Fault>, cx: &mut Context<'_>) -> Poll<()> {
        let head = match come {
            Ok(exchanged) => &exchanged.response,
            Err(error) => {
                self.copying.failed(fault.unwrap_or(error.fault));
                return Poll::Ready(());
            }
        };
        if !self.noted {
            self.kept = ready!(self.copying.poll_kept(cx));
            self.noted = true;
            self.copying.answered(head.status().as_u16(), head.headers());
        }
        self.copying.poll_ended(cx)
    }
}

impl Forward {
    /// Waits for the response head and answers.
    fn poll(&mut self, carrier: &Carrier, cx: &mut Context<'_>) -> Poll<Result<Response<Answer>, Refused>> {
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
            Ok(_) if self.copying.as_ref().is_some_and(|copied| copied.kept.is_err()) => {
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
