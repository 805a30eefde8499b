//! Owns the access log: one line a request, made in a worker's buffer and written by another thread.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Tally;
use super::line::{Line, LoggedHeaders};
use super::names::field;
use super::spool::Spool;
use crate::fault::Fault;

/// A worker hands its buffer over when it holds this many bytes, or at its tick: some hundred lines.
const HAND_OVER_BYTES: usize = 32 * 1024;
/// What may wait for the sink, in bytes, over all workers: a tenth of a second at 100,000 lines a second.
const QUEUED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `name=value` pairs, values in quotes where they need them.
    Text,
}

/// Says what there is to say about a request when it is over.
#[derive(Debug, Clone, Copy)]
pub struct AccessRecord<'a> {
    /// When the head was read, in milliseconds since the epoch.
    pub unix_ms: u64,
    /// The router's own name of the request.
    pub request_id: u128,
    /// The trace of `traceparent`, passed on or made.
    pub trace_id: Option<u128>,
    /// The client's address.
    pub client: IpAddr,
    /// The method.
    pub method: &'a [u8],
    /// The host that was routed by.
    pub host: &'a [u8],
    /// The path as received, without the query: queries carry tokens.
    pub path: &'a [u8],
    /// The protocol version, such as `HTTP/1.1`.
    pub protocol: &'static str,
    /// The headers that lines shall show.
    pub headers: LoggedHeaders<'a>,
    /// The status that the client got.
    pub status: u16,
    /// The route, once there is one.
    pub route: Option<&'a str>,
    /// The flag.
    pub flag: Option<&'a str>,
    /// The variant.
    pub variant: Option<&'a str>,
    /// Why that variant.
    pub reason: Option<&'static str>,
    /// The slot of the targeting key and the number of slots.
    pub bucket: Option<(u32, u32)>,
    /// The kind of override that decided.
    pub overridden: Option<&'static str>,
    /// The generation that decided.
    pub generation: u64,
    /// Whether the fallback served because the chosen upstream was full.
    pub overflow: bool,
    /// Whether the write stayed on the side that served before, until older copies have arrived at the chosen one.
    pub held: bool,
    /// The upstream that gets a copy of this write.
    pub copied_to: Option<&'a str>,
    /// The upstream.
    pub upstream: Option<&'a str>,
    /// The address that served.
    pub endpoint: Option<SocketAddr>,
    /// Whether the upstream connection came from the pool.
    pub reused: bool,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Bytes of the response body.
    pub response_bytes: u64,
    /// From the request head to the end of the answer.
    pub duration: Duration,
    /// How long the upstream took to accept a new connection.
    pub connect: Option<Duration>,
    /// From the request head to the response head.
    pub first_byte: Option<Duration>,
    /// What broke the exchange.
    pub fault: Option<Fault>,
}

/// An access log that takes lines.
#[derive(Debug)]
pub struct AccessLog {
    spool: Spool,
    format: LogFormat,
    sample: f64,
}

impl AccessLog {
    /// Starts the thread that writes to `sink`.
    ///
    /// `sample` is the share of requests that get a line, 0 to 1; a request with a fault or a 5xx always gets one.
    /// Lines that the sink is too slow for, or refuses, are counted in `dropped`.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(format: LogFormat, sample: f64, sink: Box<dyn Write + Send>, dropped: Arc<Tally>) -> io::Result<Self> {
        let spool = Spool::start("access-log", sink, QUEUED_BYTES_MAX, dropped)?;
        Ok(Self { spool, format, sample: sample.clamp(0.0, 1.0) })
    }

    /// Makes a worker's end.
    pub fn writer(&self) -> AccessWriter {
        AccessWriter {
            spool: self.spool.clone(),
            format: self.format,
            sample: self.sample,
            owed: 0.0,
            buffer: Vec::with_capacity(2 * HAND_OVER_BYTES),
            lines: 0,
        }
    }

    /// Takes no more lines and waits until all are written, at most `patience`; says whether they were.
    ///
    /// Flush or drop the writers first.
    pub fn finish(self, patience: Duration) -> bool {
        self.spool.finish(patience)
    }
}

/// A worker's end of the access log. Dropping it flushes it.
#[derive(Debug)]
pub struct AccessWriter {
    spool: Spool,
    format: LogFormat,
    sample: f64,
    /// The share of a line that sampling owes.
    owed: f64,
    buffer: Vec<u8>,
    lines: u64,
}

impl AccessWriter {
    /// Writes a request's line into the buffer, if it is sampled; never blocks.
    pub fn write(&mut self, record: &AccessRecord<'_>) {
        if !self.is_sampled(record) {
            return;
        }
        match self.format {
            LogFormat::Json => record.write(&mut Line { out: &mut self.buffer, json: true, first: true }),
            LogFormat::Text => record.write(&mut Line { out: &mut self.buffer, json: false, first: true }),
        }
        self.lines += 1;
        if self.buffer.len() >= HAND_OVER_BYTES {
            self.flush();
        }
    }

    /// Hands the buffer to the writing thread; the worker's tick calls it.
    pub fn flush(&mut self) {
        if self.lines > 0 {
            let full = std::mem::take(&mut self.buffer);
            self.buffer = self.spool.push(full, std::mem::take(&mut self.lines));
        }
    }

    /// Every n-th request on the average, without chance: the share is exact over any stretch.
    fn is_sampled(&mut self, record: &AccessRecord<'_>) -> bool {
        if record.fault.is_some() || record.status >= 500 {
            return true;
        }
        self.owed += self.sample;
        let due = self.owed >= 1.0;
        if due {
            self.owed -= 1.0;
        }
        due
    }
}

impl Drop for AccessWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

impl AccessRecord<'_> {
    fn write(&self, line: &mut Line<'_>) {
        line.begin();
        line.time(field::TIME, self.unix_ms);
        line.id(field::REQUEST_ID, self.request_id);
        line.maybe(self.trace_id, |line, id| line.id(field::TRACE_ID, id));
        line.shown(field::CLIENT, self.client);
        line.some_text(field::METHOD, self.method);
        line.some_text(field::HOST, self.host);
        line.some_text(field::PATH, self.path);
        line.text(field::PROTOCOL, self.protocol.as_bytes());
        line.headers(self.headers);
        line.number(field::STATUS, self.status.into());
        self.write_decision(line);
        self.write_upstream(line);
        line.number(field::REQUEST_BYTES, self.request_bytes);
        line.number(field::RESPONSE_BYTES, self.response_bytes);
        line.milliseconds(field::DURATION_MS, self.duration);
        line.maybe(self.connect, |line, took| line.milliseconds(field::CONNECT_MS, took));
        line.maybe(self.first_byte, |line, took| line.milliseconds(field::FIRST_BYTE_MS, took));
        line.maybe(self.fault, |line, fault| {
            line.text(field::FAULT, fault.as_str().as_bytes());
            line.text(field::FAULT_SIDE, fault.side().as_str().as_bytes());
        });
        line.end();
    }

    fn write_decision(&self, line: &mut Line<'_>) {
        line.maybe(self.route, |line, route| line.text(field::ROUTE, route.as_bytes()));
        line.maybe(self.flag, |line, flag| line.text(field::FLAG, flag.as_bytes()));
        line.maybe(self.variant, |line, variant| line.text(field::VARIANT, variant.as_bytes()));
        line.maybe(self.reason, |line, reason| line.text(field::REASON, reason.as_bytes()));
        line.maybe(self.bucket, |line, (slot, of)| line.shown(field::BUCKET, format_args!("{slot}/{of}")));
        line.maybe(self.overridden, |line, kind| line.text(field::OVERRIDE, kind.as_bytes()));
        line.number(field::GENERATION, self.generation);
        if self.overflow {
            line.word(field::OVERFLOW, "true");
        }
        if self.held {
            line.word(field::HELD, "true");
        }
    }

    fn write_upstream(&self, line: &mut Line<'_>) {
        line.maybe(self.upstream, |line, upstream| line.text(field::UPSTREAM, upstream.as_bytes()));
        line.maybe(self.endpoint, |line, endpoint| {
            line.shown(field::ENDPOINT, endpoint);
            line.word(field::REUSED, if self.reused { "true" } else { "false" });
        });
        line.maybe(self.copied_to, |line, upstream| line.text(field::COPIED_TO, upstream.as_bytes()));
    }
}
