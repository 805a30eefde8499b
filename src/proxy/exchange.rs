//! Owns the record of one exchange: whatever way it ends, it is counted and logged once.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::carrier::Carrier;
use super::connection::Connection;
use super::stream_state::Activity;
use super::view::View;
use crate::clock::{self, Watch};
use crate::decision::{Decision, FlagOutcome};
use crate::fault::{Fault, Side};
use crate::flag::{ErrorCode, OverrideKind, Reason};
use crate::forward::BodyProgress;
use crate::head::{Added, names};
use crate::health::Slot;
use crate::mirror::Copying;
use crate::observe::{AccessRecord, LoggedHeaders};
use crate::snapshot::LegId;

/// One exchange; dropping it before [`Self::complete`] or [`Self::fail`] means that the client is gone.
pub(super) struct Exchange {
    carrier: Carrier,
    view: Rc<View>,
    /// Its place under the limit of its upstream; given up as soon as the answer is whole.
    slot: Option<Slot>,
    leg: Option<LegId>,
    status: u16,
    fault: Option<Fault>,
    complete: bool,
    started: Instant,
    first_byte: Option<Instant>,
    sent: u64,
    request_body: Option<Rc<BodyProgress>>,
    /// The copy of a write, which sees the answer's body.
    copying: Option<Rc<Copying>>,
    endpoint: Option<SocketAddr>,
    /// How long connecting took; `None` for a pooled connection, and before there is one.
    connected_in: Option<Duration>,
    /// Whether the response came over a pooled connection.
    reused: bool,
    /// What only the access log needs.
    line: Option<Box<Line>>,
}

/// What a line of the access log says beyond the counters; made only when there is an access log.
struct Line {
    unix_ms: u64,
    request_id: u128,
    client: IpAddr,
    method: Method,
    uri: Uri,
    host: Box<str>,
    protocol: &'static str,
    /// Those that the settings name, in their order.
    headers: Box<[Option<HeaderValue>]>,
    trace_id: Option<u128>,
    reason: Option<Reason>,
    overflow: bool,
    held: bool,
    bucket: Option<(u32, u32)>,
    overridden: Option<OverrideKind>,
}

impl Exchange {
    pub(super) fn begin(carrier: &Carrier, view: &Rc<View>, parts: &Parts) -> Box<Self> {
        let connection = &carrier.connection;
        let worker = &connection.worker;
        worker.metrics.requests_in_flight.add(1);
        let line = worker.access.is_some().then(|| {
            Box::new(Line {
                unix_ms: unix_ms(),
                request_id: worker.request_id(),
                client: connection.address.ip(),
                method: parts.method.clone(),
                uri: parts.uri.clone(),
                host: Box::default(),
                protocol: match parts.version {
                    http::Version::HTTP_10 => "HTTP/1.0",
                    http::Version::HTTP_2 => "HTTP/2.0",
                    _ => "HTTP/1.1",
                },
                headers: logged_headers(worker.logged_headers(), &parts.headers),
                trace_id: None,
                reason: None,
                overflow: false,
                held: false,
                bucket: None,
                overridden: None,
            })
        });
        Box::new(Self {
            carrier: carrier.clone(),
            view: Rc::clone(view),
            slot: None,
            leg: None,
            status: 0,
            fault: None,
            complete: false,
            started: clock::now(),
            first_byte: None,
            sent: 0,
            request_body: None,
            copying: None,
            endpoint: None,
            connected_in: None,
            reused: false,
            line,
        })
    }

    /// Notes who was decided to serve.
    pub(super) fn decided(&mut self, decision: &Decision<'_>) {
        self.leg = Some(decision.leg.id);
        if let Some(outcome) = &decision.flag {
            self.carrier.connection.worker.metrics.decisions.increment();
            if outcome.reason == Reason::Error {
                self.carrier.connection.worker.metrics.decision_errors.increment();
                log_flag_error(outcome, outcome.error);
            }
        }
        if let (Some(line), Some(outcome)) = (&mut self.line, &decision.flag) {
            line.reason = Some(outcome.reason);
            line.overridden = outcome.overridden;
            (line.overflow, line.held) = (outcome.overflow, outcome.held);
            line.bucket = outcome.bucket.map(|bucket| (bucket.slot, bucket.of));
        }
    }

    /// Keeps the request's place under the limit of its upstream.
    pub(super) fn admitted(&mut self, slot: Option<Slot>) {
        self.slot = slot;
    }

    /// Hands the place over to a tunnel, which outlives the exchange.
    pub(super) fn take_slot(&mut self) -> Option<Slot> {
        self.slot.take()
    }

    /// Notes the host that was routed by.
    pub(super) fn routed_by(&mut self, host: &str) {
        if let Some(line) = &mut self.line {
            line.host = host.into();
        }
    }

    /// Notes the client, where it is not the peer but one behind a trusted proxy.
    pub(super) fn came_from(&mut self, client: IpAddr) {
        if let Some(line) = &mut self.line {
            line.client = client;
        }
    }

    /// Notes the trace that the request is sent on with.
    pub(super) fn traced(&mut self, headers: &HeaderMap, added: &Added) {
        if let Some(line) = &mut self.line {
            let value = added.value(&names::TRACEPARENT).or_else(|| headers.get(names::TRACEPARENT));
            let trace = value.and_then(|value| value.to_str().ok()?.get(3..35));
            line.trace_id = trace.and_then(|trace| u128::from_str_radix(trace, 16).ok());
        }
    }

    /// Notes the body that is on its way up.
    pub(super) fn uploading(&mut self, progress: Rc<BodyProgress>) {
        self.request_body = Some(progress);
    }

    /// Notes the endpoint that was to serve.
    pub(super) fn tried(&mut self, endpoint: SocketAddr) {
        self.endpoint = Some(endpoint);
    }

    /// Notes the endpoint that answered, and how long connecting took unless its connection came from the pool.
    pub(super) fn reached(&mut self, endpoint: SocketAddr, connected_in: Option<Duration>) {
        self.endpoint = Some(endpoint);
        self.connected_in = connected_in;
        self.reused = connected_in.is_none();
    }

    /// Notes the response head.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = status;
        self.first_byte = Some(clock::now());
    }

    /// Notes that it is copied.
    pub(super) fn copied(&mut self, copying: &Rc<Copying>) {
        self.copying = Some(Rc::clone(copying));
    }

    /// Notes a part of the answer that is passed on.
    pub(super) fn passed(&mut self, data: &[u8]) {
        self.sent += data.len() as u64;
        if let Some(copying) = &self.copying {
            copying.answer_data(data);
        }
    }

    /// Notes bytes of the router's own answer.
    pub(super) fn add_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// The answer has been handed over whole.
    pub(super) fn complete(&mut self) {
        self.complete = true;
        self.slot = None;
        if let Some(copying) = &self.copying {
            copying.answer_end();
        }
        self.carrier.end();
    }

    /// Notes what broke it; the first fault counts.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        if self.first_byte.is_none() {
            self.status = fault.status().as_u16();
        }
    }

    /// The request's id in hexadecimal, for the client to quote; made up when there is no access log.
    pub(super) fn request_id(&self) -> String {
        let id = self.line.as_ref().map_or_else(|| self.carrier.connection.worker.request_id(), |line| line.request_id);
        format!("{id:032x}")
    }

    /// The exchange's deadlines.
    pub(super) fn watch(&self) -> &Arc<Watch> {
        self.carrier.watch()
    }

    /// What carries the exchange.
    pub(super) fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// Why the request body broke, if it did; whatever broke with it is no fault of the upstream.
    pub(super) fn broken_upload(&self) -> Option<Fault> {
        self.request_body.as_ref().and_then(|body| body.broken.get())
    }

    fn settle(&mut self) {
        let broken_upload = self.broken_upload();
        if self.complete || self.fault.is_some() {
            return;
        }
        let fault = match broken_upload {
            Some(fault) => fault,
            None if std::thread::panicking() => Fault::Internal,
            None if self.carrier.connection.worker.is_aborting() => Fault::Drained,
            None => match self.carrier.watch().expired() {
                Some(clock::Wait::Body | clock::Wait::BodyRate | clock::Wait::Write) => Fault::ClientTimeout,
                _ => Fault::ClientGone,
            },
        };
        self.fail(fault);
    }

    fn record(&self) {
        let worker = &self.carrier.connection.worker;
        worker.metrics.requests_in_flight.add(-1);
        if let Some(fault) = self.fault {
            worker.metrics.fault(fault);
        }
        let duration = clock::now().saturating_duration_since(self.started);
        if let Some(leg) = self.leg.filter(|_| worker.shared.options.metrics) {
            self.view.leg(leg, &worker.metrics).metrics.record(self.status, duration, self.fault);
        }
        if let Some(fault) = self.fault.filter(|fault| fault.side() == Side::Upstream) {
            self.log_fault(fault, duration);
        }
        if let (Some(line), Some(access)) = (&self.line, &worker.access) {
            access.borrow_mut().write(&self.access_record(line, duration));
        }
    }

    /// The one log line of a failed exchange; a flood of them is thinned to what a person can read.
    fn log_fault(&self, fault: Fault, duration: Duration) {
        thread_local!(static QUIET_UNTIL_MS: Cell<u64> = const { Cell::new(0) });
        let now = clock::now_ms();
        if self.line.is_some() || now < QUIET_UNTIL_MS.get() {
            // The access log has a line of its own for each.
            return;
        }
        QUIET_UNTIL_MS.set(now + 100);
        let labels = self.leg.map(|leg| &self.view.snapshot.rules.legs[leg.0 as usize]);
        tracing::warn!(
            route = labels.map(|labels| &*labels.route),
            upstream = labels.map(|labels| &*labels.upstream),
            endpoint = self.endpoint.map(tracing::field::display),
            fault = fault.as_str(),
            status = self.status,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "exchange failed"
        );
    }

    fn access_record<'a>(&'a self, line: &'a Line, duration: Duration) -> AccessRecord<'a> {
        let labels = self.leg.map(|leg| &self.view.snapshot.rules.legs[leg.0 as usize]);
        AccessRecord {
            unix_ms: line.unix_ms,
            request_id: line.request_id,
            trace_id: line.trace_id,
            client: line.client.to_canonical(),
            method: line.method.as_str().as_bytes(),
            host: line.host.as_bytes(),
            path: line.uri.path().as_bytes(),
            protocol: line.protocol,
            headers: LoggedHeaders { names: self.carrier.connection.worker.logged_headers(), values: &line.headers },
            status: self.status,
            route: labels.map(|labels| &*labels.route),
            flag: labels.and_then(|labels| labels.flag.as_deref()),
            variant: labels.and_then(|labels| labels.variant.as_deref()),
            reason: line.reason.map(Reason::as_str),
            bucket: line.bucket,
            overridden: line.overridden.map(OverrideKind::as_str),
            generation: self.view.snapshot.generation,
            overflow: line.overflow,
            held: line.held,
            copied_to: self.copying.as_ref().and_then(|copying| copying.kept_for()),
            upstream: labels.map(|labels| &*labels.upstream),
            endpoint: self.endpoint,
            reused: self.reused,
            request_bytes: self.request_body.as_ref().map_or(0, |body| body.bytes.get()),
            response_bytes: self.sent,
            duration,
            connect: self.connected_in,
            first_byte: self.first_byte.map(|at| at.saturating_duration_since(self.started)),
            fault: self.fault,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.settle();
        self.record();
    }
}

/// The first value of each; without names there is nothing to allocate.
fn logged_headers(names: &[HeaderName], headers: &HeaderMap) -> Box<[Option<HeaderValue>]> {
    names.iter().map(|name| headers.get(name).cloned()).collect()
}

fn unix_ms() -> u64 {
    u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX)
}

fn log_flag_error(outcome: &FlagOutcome<'_>, error: Option<ErrorCode>) {
    tracing::debug!(flag = outcome.key, ?error, "flag failed: the fallback serves");
}

/// Counts and logs a request that hyper answered by itself, or that never became one.
pub(super) fn record_unserved(connection: &Connection, fault: Fault) {
    let worker = &connection.worker;
    worker.metrics.fault(fault);
    let Some(access) = &worker.access else { return };
    access.borrow_mut().write(&AccessRecord {
        unix_ms: unix_ms(),
        request_id: worker.request_id(),
        trace_id: None,
        client: connection.address.ip().to_canonical(),
        method: b"",
        host: b"",
        path: b"",
        protocol: if connection.state.activity() == Activity::Streams { "HTTP/2.0" } else { "HTTP/1.1" },
        headers: LoggedHeaders::default(),
        status: fault.status().as_u16(),
        route: None,
        flag: None,
        variant: None,
        reason: None,
        bucket: None,
        overridden: None,
        generation: worker.shared.store.snapshot().generation,
        overflow: false,
        held: false,
        copied_to: None,
        upstream: None,
        endpoint: None,
        reused: false,
        request_bytes: 0,
        response_bytes: 0,
        duration: Duration::ZERO,
        connect: None,
        first_byte: None,
        fault: Some(fault),
    });
}
