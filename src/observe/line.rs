//! Owns how a line of the access log is written, field by field: nothing in a value can end the field or the line.

use std::io::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::escape::{FIELD_BYTES_MAX, push_decimal, push_hex, push_quoted};
use super::names::field;

/// Headers of a request, by choice of who runs the router.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoggedHeaders<'a> {
    /// Their names.
    pub names: &'a [HeaderName],
    /// Their first values, in the same order; `None` where the request has no such header.
    pub values: &'a [Option<HeaderValue>],
}

/// A line in the making.
pub(super) struct Line<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) json: bool,
    pub(super) first: bool,
}

impl Line<'_> {
    pub(super) fn begin(&mut self) {
        if self.json {
            self.out.push(b'{');
        }
    }

    pub(super) fn end(&mut self) {
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

    pub(super) fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Writes a value that may hold anything, unless it is empty.
    pub(super) fn some_text(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    /// Writes an object, or in the text form a field for each header that is there.
    pub(super) fn headers(&mut self, logged: LoggedHeaders<'_>) {
        let pairs = logged.names.iter().zip(logged.values);
        if !self.json {
            let there = pairs.filter_map(|(name, value)| Some((name, value.as_ref()?)));
            return there.for_each(|(name, value)| self.text(&format!("header.{name}"), value.as_bytes()));
        }
        if logged.names.is_empty() {
            return;
        }
        self.name(field::HEADERS);
        self.out.push(b'{');
        self.first = true;
        for (name, value) in pairs {
            match value {
                Some(value) => self.text(name.as_str(), value.as_bytes()),
                // Known to be absent, which is more than not logged.
                None => self.word(name.as_str(), "null"),
            }
        }
        self.out.push(b'}');
        self.first = false;
    }

    /// Writes a value that may hold anything.
    pub(super) fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        let bare = !self.json && !value.is_empty() && value.iter().all(|byte| is_bare(*byte));
        if bare && value.len() <= FIELD_BYTES_MAX {
            self.out.extend_from_slice(value);
        } else {
            self.out.push(b'"');
            push_quoted(self.out, value);
            self.out.push(b'"');
        }
    }

    /// Writes a value of ours that needs no escape.
    pub(super) fn shown(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        let quote: &[u8] = if self.json { b"\"" } else { b"" };
        self.out.extend_from_slice(quote);
        write!(self.out, "{value}").expect("writing to a vector does not fail");
        self.out.extend_from_slice(quote);
    }

    pub(super) fn word(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.extend_from_slice(value.as_bytes());
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        push_decimal(self.out, value, 1);
    }

    pub(super) fn milliseconds(&mut self, name: &str, value: Duration) {
        self.name(name);
        let microseconds = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        push_decimal(self.out, microseconds / 1000, 1);
        self.out.push(b'.');
        push_decimal(self.out, microseconds % 1000, 3);
    }

    pub(super) fn id(&mut self, name: &str, value: u128) {
        self.name(name);
        let quote: &[u8] = if self.json { b"\"" } else { b"" };
        self.out.extend_from_slice(quote);
        push_hex(self.out, (value >> 64) as u64, 16);
        push_hex(self.out, value as u64, 16);
        self.out.extend_from_slice(quote);
    }

    /// Writes a time as RFC 3339 in UTC.
    pub(super) fn time(&mut self, name: &str, unix_ms: u64) {
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
