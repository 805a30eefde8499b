//! Owns the limits of the data plane: each has a name, a unit and a default; it enforces none of them.

pub mod descriptors;

/// The limits of one router (rules L1 to L9 and L13, L14 in docs/security.md). 0 turns a limit off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Request head in bytes, all of it.
    pub head_bytes_max: usize,
    /// Request target in bytes.
    pub target_bytes_max: usize,
    /// One header field's name and value in bytes.
    pub field_bytes_max: usize,
    /// Header fields in a request.
    pub fields_max: usize,
    /// From accept, or from a PROXY protocol header, to the end of the TLS handshake.
    pub tls_handshake_timeout_ms: u32,
    /// From accept, or from the first byte of a further request, to the whole head.
    pub head_timeout_ms: u32,
    /// Between two parts of a request body.
    pub body_idle_timeout_ms: u32,
    /// The slowest request body in bytes a second, measured from five seconds after its start.
    pub body_rate_min_bytes: u32,
    /// How long a client may refuse to take response bytes.
    pub write_stall_timeout_ms: u32,
    /// How long a connection may wait for its next request.
    pub keep_alive_timeout_ms: u32,
    /// Requests on one connection.
    pub keep_alive_requests_max: u32,
    /// Client connections of the process.
    pub connections_max: u32,
    /// Client connections from one address; trusted proxies are exempt.
    pub connections_per_address_max: u32,
    /// Bytes of an unread request body that are read and dropped before an answer of our own.
    pub discard_bytes_max: u64,
    /// How long that may take.
    pub discard_timeout_ms: u32,
    /// Streams that an HTTP/2 client may have open at once.
    pub h2_streams_max: u32,
    /// Bytes of one request body that an HTTP/2 client may send ahead.
    pub h2_stream_window_bytes: u32,
    /// The same of all its request bodies.
    pub h2_connection_window_bytes: u32,
    /// Bytes of one answer that may wait for an HTTP/2 connection to write them.
    pub h2_send_buffer_bytes: usize,
    /// Bytes of all answers that may wait for an HTTP/2 client's socket.
    pub h2_outbox_bytes_max: u64,
    /// Streams broken off before they were answered, less those answered whole, on one HTTP/2 connection.
    pub h2_resets_max: u32,
    /// The pause after the process ran out of file descriptors.
    pub accept_pause_ms: u32,
    /// From SIGTERM to aborting what is left.
    pub drain_timeout_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 32 * 1024,
            target_bytes_max: 8 * 1024,
            field_bytes_max: 16 * 1024,
            fields_max: 100,
            tls_handshake_timeout_ms: 10_000,
            head_timeout_ms: 10_000,
            body_idle_timeout_ms: 30_000,
            body_rate_min_bytes: 240,
            write_stall_timeout_ms: 30_000,
            keep_alive_timeout_ms: 60_000,
            keep_alive_requests_max: 10_000,
            connections_max: 10_000,
            connections_per_address_max: 256,
            discard_bytes_max: 64 * 1024,
            discard_timeout_ms: 1_000,
            h2_streams_max: 100,
            h2_stream_window_bytes: 64 * 1024,
            h2_connection_window_bytes: 1024 * 1024,
            h2_send_buffer_bytes: 64 * 1024,
            h2_outbox_bytes_max: 256 * 1024,
            h2_resets_max: 200,
            accept_pause_ms: 100,
            drain_timeout_ms: 30_000,
        }
    }
}

/// Names a limit in metrics and logs when it was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// `head_bytes_max`, `field_bytes_max` or `fields_max`.
    Head,
    /// `target_bytes_max`.
    Target,
    /// `head_timeout_ms`.
    HeadTimeout,
    /// `tls_handshake_timeout_ms`.
    TlsHandshake,
    /// `body_idle_timeout_ms`.
    BodyIdle,
    /// `body_rate_min_bytes`.
    BodyRate,
    /// `write_stall_timeout_ms`.
    WriteStall,
    /// `keep_alive_timeout_ms`.
    KeepAlive,
    /// `keep_alive_requests_max`.
    KeepAliveRequests,
    /// `connections_max`.
    Connections,
    /// `connections_per_address_max`.
    ConnectionsPerAddress,
    /// An upstream's `connections_max`.
    UpstreamConnections,
    /// An upstream's `requests_max`.
    UpstreamRequests,
    /// A route's `body_bytes_max`.
    Body,
    /// `discard_bytes_max` or `discard_timeout_ms`.
    Discard,
    /// The process ran out of file descriptors, or has only its reserve of them left ([`descriptors`]).
    Descriptors,
    /// `drain_timeout_ms`.
    Drain,
    /// An upstream's `tunnel_idle_ms`.
    TunnelIdle,
    /// `h2_resets_max`.
    Http2Resets,
    /// HTTP/2 frames that cost more than they carry: the h2 crate has closed the connection (rule L11).
    Http2Flood,
}

impl Limit {
    /// All limits, by discriminant.
    pub const ALL: [Self; 20] = [
        Self::Head,
        Self::Target,
        Self::HeadTimeout,
        Self::TlsHandshake,
        Self::BodyIdle,
        Self::BodyRate,
        Self::WriteStall,
        Self::KeepAlive,
        Self::KeepAliveRequests,
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::UpstreamConnections,
        Self::UpstreamRequests,
        Self::Body,
        Self::Discard,
        Self::Descriptors,
        Self::Drain,
        Self::TunnelIdle,
        Self::Http2Resets,
        Self::Http2Flood,
    ];

    /// Names the limit in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Target => "target",
            Self::HeadTimeout => "head_timeout",
            Self::TlsHandshake => "tls_handshake",
            Self::BodyIdle => "body_idle",
            Self::BodyRate => "body_rate",
            Self::WriteStall => "write_stall",
            Self::KeepAlive => "keep_alive",
            Self::KeepAliveRequests => "keep_alive_requests",
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::UpstreamConnections => "upstream_connections",
            Self::UpstreamRequests => "upstream_requests",
            Self::Body => "body",
            Self::Discard => "discard",
            Self::Descriptors => "descriptors",
            Self::Drain => "drain",
            Self::TunnelIdle => "tunnel_idle",
            Self::Http2Resets => "http2_resets",
            Self::Http2Flood => "http2_flood",
        }
    }
}
