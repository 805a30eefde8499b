//! Owns who is to blame when an exchange fails, and what that is called; it never decides what to do about it.

use http::StatusCode;

/// Says which side broke an exchange.
///
/// Only [`Side::Upstream`] may ever count against a flag or an endpoint: a client that breaks its own request body
/// must not be able to force a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client: malformed, cut short, too slow, too large, gone.
    Client,
    /// The router itself: a limit of ours, no route, a panic, draining.
    Router,
    /// The upstream: refused, silent, slow, invalid, cut short.
    Upstream,
}

impl Side {
    /// All sides, in the order in which metrics list them.
    pub const ALL: [Self; 3] = [Self::Client, Self::Router, Self::Upstream];

    /// Names the side in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Router => "router",
            Self::Upstream => "upstream",
        }
    }
}

/// Names one way in which an exchange fails.
///
/// The one table of faults: side, status and RFC 9209 proxy error type follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request head breaks a rule of RFC 9110 or 9112.
    RequestMalformed,
    /// The path reads differently for routing and for an upstream (rule H6).
    PathAmbiguous,
    /// The request target is longer than the limit.
    UriTooLong,
    /// The request head is larger than the limits.
    HeadTooLarge,
    /// The request body is larger than the route allows.
    BodyTooLarge,
    /// The client was too slow with its head or body.
    ClientTimeout,
    /// The client closed or broke the connection.
    ClientGone,
    /// The request body ended early or was malformed.
    RequestBodyBroken,
    /// CONNECT or another method that is never forwarded, or a WebSocket where the upstream has none.
    MethodRefused,
    /// An expectation other than 100-continue.
    ExpectationFailed,
    /// The host is not served on this TLS connection (rule H10).
    Misdirected,
    /// No route matches.
    NoRoute,
    /// The request has passed this router already (Via).
    Loop,
    /// A limit of the router, such as connections to one upstream, is reached.
    LimitReached,
    /// A write could not be kept for its copy, and its route insists on that.
    NotKept,
    /// The router ended before the exchange did: the drain deadline, or a second signal.
    Drained,
    /// The router failed on its own.
    Internal,
    /// The upstream's name has no address.
    DnsError,
    /// No endpoint of the upstream is in service, and the upstream is set to refuse then.
    Unavailable,
    /// The upstream refused the connection.
    ConnectRefused,
    /// The upstream did not accept the connection in time.
    ConnectTimeout,
    /// The upstream's certificate is not trusted, expired, or for another name.
    TlsCertificate,
    /// TLS with the upstream failed for another reason.
    TlsHandshake,
    /// The upstream did not send a response head in time.
    ResponseTimeout,
    /// The upstream closed or reset before its response head.
    ConnectionTerminated,
    /// The upstream sent what is not a valid response.
    ResponseMalformed,
    /// The upstream cut its response body short.
    ResponseIncomplete,
    /// The upstream stalled in the middle of its response body.
    ResponseStalled,
}

impl Fault {
    /// All faults, by discriminant.
    pub const ALL: [Self; 28] = [
        Self::RequestMalformed,
        Self::PathAmbiguous,
        Self::UriTooLong,
        Self::HeadTooLarge,
        Self::BodyTooLarge,
        Self::ClientTimeout,
        Self::ClientGone,
        Self::RequestBodyBroken,
        Self::MethodRefused,
        Self::ExpectationFailed,
        Self::Misdirected,
        Self::NoRoute,
        Self::Loop,
        Self::LimitReached,
        Self::NotKept,
        Self::Drained,
        Self::Internal,
        Self::DnsError,
        Self::Unavailable,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::TlsCertificate,
        Self::TlsHandshake,
        Self::ResponseTimeout,
        Self::ConnectionTerminated,
        Self::ResponseMalformed,
        Self::ResponseIncomplete,
        Self::ResponseStalled,
    ];

    /// Says who is to blame.
    pub const fn side(self) -> Side {
        match self {
            Self::RequestMalformed
            | Self::PathAmbiguous
            | Self::UriTooLong
            | Self::HeadTooLarge
            | Self::BodyTooLarge
            | Self::ClientTimeout
            | Self::ClientGone
            | Self::RequestBodyBroken
            | Self::MethodRefused
            | Self::ExpectationFailed
            | Self::Misdirected => Side::Client,
            Self::NoRoute | Self::Loop | Self::LimitReached | Self::NotKept | Self::Drained | Self::Internal => {
                Side::Router
            }
            Self::DnsError
            | Self::Unavailable
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::TlsCertificate
            | Self::TlsHandshake
            | Self::ResponseTimeout
            | Self::ConnectionTerminated
            | Self::ResponseMalformed
            | Self::ResponseIncomplete
            | Self::ResponseStalled => Side::Upstream,
        }
    }

    /// The one place that maps a fault to the status the client gets.
    ///
    /// 499 (the client is gone) is never sent, only logged.
    pub fn status(self) -> StatusCode {
        match self {
            Self::RequestMalformed | Self::PathAmbiguous | Self::RequestBodyBroken => StatusCode::BAD_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ClientGone => StatusCode::from_u16(499).expect("499 is a three digit number"),
            Self::MethodRefused => StatusCode::METHOD_NOT_ALLOWED,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::LimitReached | Self::NotKept | Self::Drained | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::DnsError
            | Self::ConnectRefused
            | Self::TlsCertificate
            | Self::TlsHandshake
            | Self::ConnectionTerminated
            | Self::ResponseMalformed
            | Self::ResponseIncomplete => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::ResponseTimeout | Self::ResponseStalled => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The proxy error type of RFC 9209 section 2.3 for `Proxy-Status`.
    pub const fn proxy_error(self) -> &'static str {
        match self {
            Self::RequestMalformed | Self::PathAmbiguous | Self::RequestBodyBroken | Self::ExpectationFailed => {
                "http_request_error"
            }
            Self::UriTooLong | Self::HeadTooLarge | Self::BodyTooLarge | Self::ClientTimeout | Self::ClientGone => {
                "http_request_error"
            }
            Self::MethodRefused | Self::Misdirected => "http_request_denied",
            Self::NoRoute => "destination_not_found",
            Self::Loop => "proxy_loop_detected",
            Self::LimitReached => "connection_limit_reached",
            Self::NotKept | Self::Drained | Self::Internal => "proxy_internal_error",
            Self::DnsError => "dns_error",
            Self::Unavailable => "destination_unavailable",
            Self::ConnectRefused => "connection_refused",
            Self::ConnectTimeout => "connection_timeout",
            Self::TlsCertificate => "tls_certificate_error",
            Self::TlsHandshake => "tls_protocol_error",
            Self::ResponseTimeout => "http_response_timeout",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ResponseMalformed => "http_protocol_error",
            Self::ResponseIncomplete => "http_response_incomplete",
            Self::ResponseStalled => "connection_read_timeout",
        }
    }

    /// Names the fault in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestMalformed => "request_malformed",
            Self::PathAmbiguous => "path_ambiguous",
            Self::UriTooLong => "uri_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::ClientTimeout => "client_timeout",
            Self::ClientGone => "client_gone",
            Self::RequestBodyBroken => "request_body_broken",
            Self::MethodRefused => "method_refused",
            Self::ExpectationFailed => "expectation_failed",
            Self::Misdirected => "misdirected",
            Self::NoRoute => "no_route",
            Self::Loop => "loop",
            Self::LimitReached => "limit_reached",
            Self::NotKept => "not_kept",
            Self::Drained => "drained",
            Self::Internal => "internal",
            Self::DnsError => "dns_error",
            Self::Unavailable => "unavailable",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::TlsCertificate => "tls_certificate",
            Self::TlsHandshake => "tls_handshake",
            Self::ResponseTimeout => "response_timeout",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ResponseMalformed => "response_malformed",
            Self::ResponseIncomplete => "response_incomplete",
            Self::ResponseStalled => "response_stalled",
        }
    }
}
