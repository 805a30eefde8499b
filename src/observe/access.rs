//! Owns the access log: one line a request, made in a worker's buffer and written by another thread.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Tally;
use super::escape::{push_decimal, push_hex, push_quoted};
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

/// A line in the making.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    json: bool,
    first: bool,
}

impl Line<'_> {
    fn begin(&mut self) {
        if self.json {
            self.out.push(b'{');
        }
    }

    fn end(&mut self) {
        self.out.extend_from_slice(if self.json { b"}\n" } else { b"\n" });
    }

    fn name(&mut self, name: &str) {
        if !self.first {
            self.out.push(if self.json { b',' } else { b' ' });
        }
        self.first = false;
        if self.json {
            self.out.push(b'"');
        }
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(if self.json { b"\":" } else { b"=" });
    }

    fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Writes a value that may hold anything, unless it is empty.
    fn some_text(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    /// Writes a value that may hold anything.
    fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        let bare = !self.json && !value.is_empty() && value.iter().all(|byte| is_bare(*byte));
        if bare && value.len() <= super::escape::FIELD_BYTES_MAX {
            self.out.extend_from_slice(value);
        } else {
            self.out.push(b'"');
            push_quoted(self.out, value);
            self.out.push(b'"');
        }
    }

    /// Writes a value of ours that needs no escape.
    fn shown(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        let quote: &[u8] = if self.json { b"\"" } else { b"" };
        self.out.extend_from_slice(quote);
        write!(self.out, "{value}").expect("writing to a vector does not fail");
        self.out.extend_from_slice(quote);
    }

    fn word(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.extend_from_slice(value.as_bytes());
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        push_decimal(self.out, value, 1);
    }

    fn milliseconds(&mut self, name: &str, value: Duration) {
        self.name(name);
        let microseconds = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        push_decimal(self.out, microseconds / 1000, 1);
        self.out.push(b'.');
        push_decimal(self.out, microseconds % 1000, 3);
    }

    fn id(&mut self, name: &str, value: u128) {
        self.name(name);
        let quote: &[u8] = if self.json { b"\"" } else { b"" };
        self.out.extend_from_slice(quote);
        push_hex(self.out, (value >> 64) as u64, 16);
        push_hex(self.out, value as u64, 16);
        self.out.extend_from_slice(quote);
    }

    /// Writes a time as RFC 3339 in UTC.
    fn time(&mut self, name: &str, unix_ms: u64) {
        self.name(name);
        let quote: &[u8] = if self.json { b"\"" } else { b"" };
        self.out.extend_from_slice(quote);
        push_time(self.out, unix_ms);
        self.out.extend_from_slice(quote);
    }
}

/// Writes a time in milliseconds since the epoch as RFC 3339 in UTC.
pub fn timestamp(unix_ms: u64) -> String {
    let mut out = Vec::with_capacity(24);
    push_time(&mut out, unix_ms);
    // Digits and punctuation only.
    String::from_utf8_lossy(&out).into_owned()
}

fn push_time(out: &mut Vec<u8>, unix_ms: u64) {
    let (seconds, milliseconds) = (unix_ms / 1000, unix_ms % 1000);
    let (year, month, day) = civil_date(seconds / 86_400);
    let parts = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (seconds / 3600 % 24, 2, b':'),
        (seconds / 60 % 60, 2, b':'),
        (seconds % 60, 2, b'.'),
        (milliseconds, 3, b'Z'),
    ];
    for (value, width, behind) in parts {
        push_decimal(out, value, width);
        out.push(behind);
    }
}

/// Whether a byte needs no quotes in the text form: nothing that separates, quotes or ends a field.
fn is_bare(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\' | b'=')
}

/// The date of a day since 1970-01-01 in the proleptic Gregorian calendar: year, month, day.
///
/// It counts from the first of March of year 0, so that the leap day is a year's last.
pub(super) fn civil_date(unix_day: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let day = unix_day + DAYS_TO_1970;
    let (era, day) = (day / DAYS_IN_400_YEARS, day % DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March are 31, 30, 31, 30, 31 days long, over and over: 153 days for five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day)
}
