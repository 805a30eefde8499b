//! Owns the settings of one router, complete and checked; it never reads a command line, a variable or a file.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};

use crate::flag::Hashing;
use crate::limits::Limits;
use crate::network::Network;
use crate::tls::Alpn;
use crate::tls::server::ServerPlan;

/// The settings of one router.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The directory of flag files.
    pub flags: PathBuf,
    /// The directory of route files.
    pub routes: PathBuf,
    /// Where clients connect in the clear; none is right where they connect over TLS only.
    pub listen: Vec<SocketAddr>,
    /// Where clients connect over TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// Certificates, and what is asked of clients there.
    pub tls: ServerPlan,
    /// Where the admin API, OFREP, health, readiness and metrics are served.
    pub admin: SocketAddr,
    /// Names in `Host` that the admin listener answers to, besides loopback and its own address.
    pub admin_hosts: Vec<String>,
    /// A file with tokens of the admin API, besides the one in the state directory.
    pub admin_tokens: Option<PathBuf>,
    /// What of the admin listener needs a token.
    pub admin_auth: AdminAuth,
    /// The directory for what survives a restart.
    pub state: PathBuf,
    /// How many workers run; one a core unless said otherwise.
    pub workers: NonZeroUsize,
    /// How access-log lines are written; `None` for no access log.
    pub access_log: Option<LogFormat>,
    /// The share of requests in the access log, from 0 to 1.
    pub access_log_sample: f64,
    /// The request headers that a line of the access log shows.
    pub access_log_headers: Vec<LoggedHeader>,
    /// Which events are logged, in the syntax of `EnvFilter`.
    pub log: String,
    /// How events are written.
    pub log_format: LogFormat,
    /// Which hash generation `fractional` uses.
    pub hashing: Hashing,
    /// Whether clients get the decision as a header of the answer.
    pub expose_decision: bool,
    /// The networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// The networks whose connections begin with a PROXY protocol header; those of others never do.
    pub proxy_protocol_from: Vec<Network>,
    /// The router's name in `Via`; `None` leaves `Via` alone, and loops are not seen then.
    pub via: Option<Box<str>>,
    /// Whether `traceparent` is passed on or made.
    pub tracing: bool,
    /// Whether clients may speak HTTP/2, by prior knowledge or ALPN.
    pub http2: bool,
    /// Whether requests are counted for `/metrics`.
    pub metrics: bool,
    /// How often the content of the directories is compared, in milliseconds; 0 for never.
    pub poll_ms: u32,
    /// How long the directories must be quiet before they are read, in milliseconds.
    pub debounce_ms: u32,
    /// How often names of upstreams are resolved, in milliseconds.
    pub dns_interval_ms: u32,
    /// Whether to start from the last good set when the present one is refused.
    pub last_good: bool,
    /// The bytes that the journal of copied writes may take.
    pub journal_bytes_max: u64,
    /// The file with the key that credentials in the journal are encrypted with; `None` where they are never kept.
    pub journal_key: Option<PathBuf>,
    /// The limits of the data plane.
    pub limits: Limits,
}

/// What of the admin listener needs a token; health, readiness and the dashboard's own files never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminAuth {
    /// The admin API.
    #[default]
    Api,
    /// Metrics and OFREP, too.
    All,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// A request header that a log may show: none that carries credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedHeader(HeaderName);

impl LoggedHeader {
    /// Its name.
    pub fn name(&self) -> &HeaderName {
        &self.0
    }
}

impl FromStr for LoggedHeader {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "not a header name")?;
        match name {
            AUTHORIZATION | PROXY_AUTHORIZATION | COOKIE => Err("it carries credentials, which no log may hold"),
            name => Ok(Self(name)),
        }
    }
}

impl Settings {
    /// Whether TLS is set up, yet no address is named for it.
    pub fn has_idle_tls(&self) -> bool {
        // HTTP/2 is set for connections in the clear, too.
        let unset = ServerPlan { alpn: self.tls.alpn, ..ServerPlan::default() };
        self.listen_tls.is_empty() && self.tls != unset
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            flags: "flags".into(),
            routes: "routes".into(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            listen_tls: Vec::new(),
            tls: ServerPlan { alpn: Alpn::Either, ..ServerPlan::default() },
            admin: SocketAddr::from(([127, 0, 0, 1], 9901)),
            admin_hosts: Vec::new(),
            admin_tokens: None,
            admin_auth: AdminAuth::default(),
            state: "state".into(),
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            access_log: Some(LogFormat::Json),
            access_log_sample: 1.0,
            access_log_headers: Vec::new(),
            log: "info".into(),
            log_format: LogFormat::Text,
            hashing: Hashing::default(),
            expose_decision: false,
            trusted_proxies: Vec::new(),
            proxy_protocol_from: Vec::new(),
            via: Some("banyan".into()),
            tracing: true,
            http2: true,
            metrics: true,
            poll_ms: 2_000,
            debounce_ms: 50,
            dns_interval_ms: 10_000,
            last_good: false,
            journal_bytes_max: 4 * 1024 * 1024 * 1024,
            journal_key: None,
            limits: Limits::default(),
        }
    }
}
