//! Owns what happens to a request, stage by stage: admit, decide, prepare, exchange, answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::header::SET_COOKIE;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, Uri};
use hyper::body::Body as _;
use hyper::upgrade::OnUpgrade;

use super::answer::Answer;
use super::carrier::Carrier;
use super::connection::Connection;
use super::discard::discard;
use super::exchange::Exchange;
use super::tunnel;
use super::view::View;
use crate::clock;
use crate::decision::{self, Decision, Undecided};
use crate::fault::{Fault, Side};
use crate::forward::{BodyProgress, ClientBody, Exchanged, ForwardError, Pool, RequestBody};
use crate::head::answer::Afterwards;
use crate::head::{self, Facts, ForwardContext, Upgrade, answer, names, request, response};
use crate::health::Slot;
use crate::limits::Limit;
use crate::upstream::{Rewrite, Upstream};

/// An exchange that ends with an answer of our own.
struct Refused {
    exchange: Exchange,
    fault: Fault,
    afterwards: Afterwards,
}

/// What is kept of a request once its head is on its way.
struct Sent {
    method: Method,
    asked: Upgrade,
    client_upgrade: Option<OnUpgrade>,
    set_cookie: Option<HeaderValue>,
    shown_decision: Option<HeaderValue>,
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
    let upstream = Rc::clone(view.pool(decision.leg.upstream));
    let sent = match prepare(connection, &view, &decision, upstream.upstream(), facts, &mut parts) {
        Ok(sent) => sent,
        Err(fault) => return refused(exchange, fault),
    };
    exchange.traced(&parts.headers);
    if facts.expect_continue {
        carrier.ask_for_body();
    }
    let body = RequestBody::new(body, Arc::clone(exchange.watch()), &options.limits, bytes_max);
    let progress = body.progress();
    exchange.uploading(Rc::clone(&progress));
    let response_ms = if sent.asked == Upgrade::None { upstream.upstream().timeouts.response_ms } else { 0 };
    let exchanging = upstream.exchange(Request::from_parts(parts, body), exchange.watch(), response_ms);
    Step::Forward(Forward { exchanging, exchange, upstream, progress, sent })
}

impl<F: Future<Output = Result<Exchanged, ForwardError>>> Forward<F> {
    /// Waits for the response head and answers.
    async fn finish(self, carrier: &Carrier) -> Result<Response<Answer>, Refused> {
        let Self { exchanging, mut exchange, upstream, progress, sent } = self;
        let mut exchanging = pin!(exchanging);
        let exchanged = poll_fn(|cx| {
            let polled = exchanging.as_mut().poll(cx);
            while let Some((status, headers)) = progress.take_interim() {
                carrier.pass_interim(status, headers);
            }
            polled
        });
        match exchanged.await {
            Ok(exchanged) => {
                progress.answered.set(true);
                answer(&carrier.connection, exchange, exchanged, upstream.upstream(), sent).map_err(|refused| *refused)
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

/// Decides who serves.
fn decide<'s>(
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
fn take_in<'s>(view: &View, decision: Decision<'s>) -> (Decision<'s>, Result<Option<Slot>, Fault>) {
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

/// Turns the client's head into the upstream's.
fn prepare(
    connection: &Connection,
    view: &View,
    decision: &Decision<'_>,
    upstream: &Upstream,
    facts: Facts,
    parts: &mut Parts,
) -> Result<Sent, Fault> {
    let options = &connection.worker.shared.options;
    let asked = if decision.route.websocket { facts.upgrade } else { Upgrade::None };
    let context = ForwardContext {
        policy: &options.policy,
        peer: &connection.peer,
        host: upstream.rewrite.host.as_ref(),
        host_default: upstream.endpoints.first().map_or("", |endpoint| &endpoint.authority),
        websocket: decision.route.websocket,
        random,
    };
    request::prepare(parts, facts, &context);
    let client_upgrade = parts.extensions.remove::<OnUpgrade>().filter(|_| asked != Upgrade::None);
    let mut shown_decision = None;
    if let Some(outcome) = &decision.flag {
        let leg = view.leg(decision.leg.id, &connection.worker.metrics);
        let value = leg.decision(&decision.route.name, outcome, view.snapshot.generation);
        shown_decision = options.expose_decision.then(|| value.clone());
        parts.headers.insert(names::BANYAN_DECISION, value);
    }
    let version_key = decision.targeting_key.as_deref().filter(|_| upstream.version_key);
    if let Some(value) = version_key.and_then(|key| HeaderValue::from_str(key).ok()) {
        parts.headers.insert(names::CLOUDFLARE_WORKERS_VERSION_KEY, value);
    }
    if let Some(forcing) = &view.snapshot.rules.forcing {
        // It speaks to the router; an upstream must not act on it (rule A10).
        parts.headers.remove(&forcing.header);
    }
    rewrite(parts, &upstream.rewrite)?;
    let set_cookie = decision.set_cookie.clone();
    Ok(Sent { method: parts.method.clone(), asked, client_upgrade, set_cookie, shown_decision })
}

/// Changes what the upstream wants changed; without a rewrite the target stays as it is, byte for byte.
fn rewrite(parts: &mut Parts, rewrite: &Rewrite) -> Result<(), Fault> {
    for name in &rewrite.remove_headers {
        parts.headers.remove(name);
    }
    for (name, value) in &rewrite.set_headers {
        parts.headers.insert(name, value.clone());
    }
    let prefix = rewrite.path_prefix.as_ref().and_then(|(from, to)| {
        let rest = parts.uri.path().strip_prefix(&**from)?;
        (rest.is_empty() || rest.starts_with('/') || from.ends_with('/')).then_some((rest, to))
    });
    if let Some((rest, to)) = prefix {
        let slash = if to.is_empty() && !rest.starts_with('/') { "/" } else { "" };
        let query = parts.uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let target = PathAndQuery::try_from(format!("{to}{slash}{rest}{query}"));
        parts.uri = Uri::from(target.map_err(|_| Fault::RequestMalformed)?);
    }
    Ok(())
}

/// Turns the upstream's response into the client's.
fn answer(
    connection: &Rc<Connection>,
    mut exchange: Exchange,
    exchanged: Exchanged,
    upstream: &Arc<Upstream>,
    sent: Sent,
) -> Result<Response<Answer>, Box<Refused>> {
    let Exchanged { response, mut lease } = exchanged;
    exchange.reached(lease.address(), lease.connected_in);
    let (mut parts, body) = response.into_parts();
    let facts = match response::admit(&parts, &sent.method, sent.asked) {
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
        && let Some((client, upward)) = sent.client_upgrade.zip(lease.take_tunnel())
    {
        lease.hold(exchange.take_slot());
        exchange.complete();
        tunnel::start(Rc::clone(connection), client, upward, lease, upstream.timeouts.tunnel_idle_ms);
        drop(exchange);
        return Ok(Response::from_parts(parts, Answer::empty()));
    }
    Ok(Response::from_parts(parts, Answer::passed(body, lease, upstream, exchange)))
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

/// A targeting key for a visitor without one: 128 random bits in hexadecimal.
fn fresh_key() -> String {
    let mut bytes = [0; 16];
    // Without the system's randomness a worse one serves: keys must differ, they are no secret.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = fastrand::u128(..).to_be_bytes();
    }
    format!("{:032x}", u128::from_be_bytes(bytes))
}

fn random() -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&fastrand::u128(..).to_ne_bytes());
    bytes[16..].copy_from_slice(&fastrand::u64(..).to_ne_bytes());
    bytes
}
