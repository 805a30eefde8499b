//! Owns the one walk over a request's fields: it refuses what is ambiguous and notes what needs work.

use http::Version;
use http::header::{self, HeaderName, HeaderValue};

use super::policy::{Policy, Pseudonym, TraceMode};
use super::request::exceeds;
use super::seen::Seen;
use super::{connection, http2, names, trace, via};
use crate::fault::Fault;
use crate::limits::Limits;

/// RFC 6455 section 4.1: base64 of 16 bytes.
const WEBSOCKET_KEY_LEN: usize = 24;

/// What the walk has found so far.
pub(super) struct Scan<'r, 'p> {
    is_10: bool,
    is_2: bool,
    field_bytes_max: usize,
    pseudonym: Option<&'p Pseudonym>,
    trace: TraceMode,
    keep_underscore_fields: bool,
    pub(super) head_bytes: usize,
    pub(super) host: Option<&'r HeaderValue>,
    pub(super) content_length: Option<u64>,
    pub(super) max_forwards: Option<u32>,
    pub(super) seen: Seen,
    passed_here: u32,
    websocket: WebSocketFields,
}

/// How much of a WebSocket handshake is there.
#[derive(Default)]
struct WebSocketFields {
    upgrade: Lone,
    key: Lone,
    version: Lone,
}

/// Whether a field is there once and right.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Lone {
    #[default]
    Absent,
    Right,
    Wrong,
}

impl Lone {
    fn see(&mut self, right: bool) {
        *self = if *self == Self::Absent && right { Self::Right } else { Self::Wrong };
    }
}

impl<'r, 'p> Scan<'r, 'p> {
    pub(super) fn new(version: Version, limits: &Limits, policy: &'p Policy) -> Self {
        Self {
            is_10: version == Version::HTTP_10,
            is_2: version == Version::HTTP_2,
            field_bytes_max: limits.field_bytes_max,
            pseudonym: policy.via.as_ref(),
            trace: policy.trace,
            keep_underscore_fields: policy.keep_underscore_fields,
            head_bytes: 0,
            host: None,
            content_length: None,
            max_forwards: None,
            seen: Seen::default(),
            passed_here: 0,
            websocket: WebSocketFields::default(),
        }
    }

    /// Takes the next field.
    pub(super) fn field(&mut self, name: &HeaderName, value: &'r HeaderValue) -> Result<(), Fault> {
        let bytes = name.as_str().len() + value.len();
        if exceeds(bytes, self.field_bytes_max) {
            return Err(Fault::HeadTooLarge);
        }
        // Colon, space and line end.
        self.head_bytes += bytes + 4;
        if self.is_2 && http2::is_connection_specific(name, value) {
            return Err(Fault::RequestMalformed);
        }
        match *name {
            header::HOST => self.host(value)?,
            header::CONTENT_LENGTH => self.content_length(value)?,
            header::TRANSFER_ENCODING => self.transfer_encoding(value)?,
            header::EXPECT => self.expect(value)?,
            header::MAX_FORWARDS => self.max_forwards(value)?,
            header::VIA => self.via(value)?,
            header::CONNECTION => connection::note(value, &mut self.seen),
            header::TE => self.te(value),
            header::COOKIE if self.is_2 => self.cookie(),
            header::FORWARDED => self.seen.insert(Seen::FORWARDED),
            header::UPGRADE => {
                self.seen.insert(Seen::UPGRADE);
                self.websocket.upgrade.see(value.as_bytes().eq_ignore_ascii_case(b"websocket"));
            }
            header::SEC_WEBSOCKET_KEY => self.websocket.key.see(value.len() == WEBSOCKET_KEY_LEN),
            header::SEC_WEBSOCKET_VERSION => self.websocket.version.see(value == "13"),
            _ => self.other(name.as_str(), value)?,
        }
        Ok(())
    }

    /// Whether all parts of a WebSocket handshake are there, once each.
    pub(super) fn is_websocket_handshake(&self) -> bool {
        let fields = [self.websocket.upgrade, self.websocket.key, self.websocket.version];
        fields == [Lone::Right; 3] && self.seen.has(Seen::CONNECTION_UPGRADE)
    }

    /// Whether the version of WebSocket is the one there is.
    pub(super) fn has_websocket_version(&self) -> bool {
        self.websocket.version == Lone::Right
    }

    fn cookie(&mut self) {
        let again = self.seen.has(Seen::COOKIE);
        self.seen.insert(if again { Seen::COOKIES } else { Seen::COOKIE });
    }

    fn host(&mut self, value: &'r HeaderValue) -> Result<(), Fault> {
        self.seen.insert(Seen::HOST);
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(Fault::RequestMalformed),
        }
    }

    /// Equal duplicates are refused too: the server side has already dropped them where it could.
    fn content_length(&mut self, value: &HeaderValue) -> Result<(), Fault> {
        let bytes = parse_length(value).ok_or(Fault::RequestMalformed)?;
        if self.content_length.replace(bytes).is_some() || self.seen.has(Seen::TRANSFER_ENCODING) {
            return Err(Fault::RequestMalformed);
        }
        self.seen.insert(Seen::CONTENT_LENGTH);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &HeaderValue) -> Result<(), Fault> {
        let again = self.seen.has(Seen::TRANSFER_ENCODING | Seen::CONTENT_LENGTH);
        if self.is_10 || again || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::RequestMalformed);
        }
        self.seen.insert(Seen::TRANSFER_ENCODING);
        Ok(())
    }

    /// An HTTP/1.0 client cannot expect anything (RFC 9110 section 10.1.1).
    fn expect(&mut self, value: &HeaderValue) -> Result<(), Fault> {
        self.seen.insert(Seen::EXPECT);
        if self.is_10 || value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            Ok(())
        } else {
            Err(Fault::ExpectationFailed)
        }
    }

    /// A number too large to count down is as good as the largest.
    fn max_forwards(&mut self, value: &HeaderValue) -> Result<(), Fault> {
        let digits = value.as_bytes();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let hops = value.to_str().ok().filter(|_| is_number).ok_or(Fault::RequestMalformed)?;
        if self.max_forwards.replace(hops.parse().unwrap_or(u32::MAX)).is_some() {
            return Err(Fault::RequestMalformed);
        }
        self.seen.insert(Seen::MAX_FORWARDS);
        Ok(())
    }

    /// Once may be another router of the same name, or a rewrite that comes back on purpose.
    fn via(&mut self, value: &HeaderValue) -> Result<(), Fault> {
        self.seen.insert(Seen::VIA);
        if let Some(pseudonym) = self.pseudonym {
            self.passed_here += via::count(value, pseudonym.as_str());
        }
        if self.passed_here > 1 { Err(Fault::Loop) } else { Ok(()) }
    }

    fn te(&mut self, value: &HeaderValue) {
        self.seen.insert(Seen::TE);
        if connection::lists(value, "trailers") {
            self.seen.insert(Seen::TE_TRAILERS);
        }
    }

    fn other(&mut self, name: &str, value: &HeaderValue) -> Result<(), Fault> {
        match name {
            "keep-alive" => self.seen.insert(Seen::KEEP_ALIVE),
            "proxy-connection" => self.seen.insert(Seen::PROXY_CONNECTION),
            "http2-settings" => self.seen.insert(Seen::HTTP2_SETTINGS),
            "traceparent" => self.traceparent(value),
            "tracestate" => self.seen.insert(Seen::TRACESTATE),
            _ if names::is_x_forwarded(name) => self.seen.insert(match name {
                "x-forwarded-for" => Seen::X_FORWARDED_FOR,
                "x-forwarded-proto" => Seen::X_FORWARDED_PROTO,
                "x-forwarded-host" => Seen::X_FORWARDED_HOST,
                _ => Seen::X_FORWARDED_OTHER,
            }),
            _ if names::is_own(name) => self.seen.insert(Seen::OWN),
            _ if names::has_underscore(name) => return self.underscore(name),
            _ => {}
        }
        Ok(())
    }

    fn underscore(&mut self, name: &str) -> Result<(), Fault> {
        if names::is_framing_look_alike(name) {
            return Err(Fault::RequestMalformed);
        }
        if !self.keep_underscore_fields {
            self.seen.insert(Seen::UNDERSCORE);
        }
        Ok(())
    }

    fn traceparent(&mut self, value: &HeaderValue) {
        let again = self.seen.has(Seen::TRACEPARENT);
        self.seen.insert(Seen::TRACEPARENT);
        if self.trace != TraceMode::Off && (again || !trace::is_valid(value)) {
            self.seen.insert(Seen::TRACE_INVALID);
        }
    }
}

/// Reads a Content-Length: digits only, within 63 bits (F1).
pub(super) fn parse_length(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|bytes| i64::try_from(*bytes).is_ok())
}
