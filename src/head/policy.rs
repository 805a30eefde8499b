//! Owns what the settings say about heads, and the header values that a connection uses again and again.

use std::net::IpAddr;

use http::HeaderValue;

use crate::network::Network;

/// What a router does to heads; one value for the process.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The name in `Via`; `None` adds none and detects no loops (a documented deviation from RFC 9110 7.6.3).
    pub via: Option<Pseudonym>,
    /// The networks of proxies in front of the router, whose forwarding fields are believed and extended.
    pub trusted: Box<[Network]>,
    /// What happens to `traceparent`.
    pub trace: TraceMode,
    /// Whether `Forwarded` (RFC 7239) is sent; a client-sent one is replaced or extended in any case.
    pub forwarded: bool,
    /// Whether fields with an underscore in their name pass; off, since CGI and WSGI read it as `-`.
    pub keep_underscore_fields: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            via: Some(Pseudonym::default()),
            trusted: Box::default(),
            trace: TraceMode::default(),
            forwarded: false,
            keep_underscore_fields: false,
        }
    }
}

/// Says what happens to `traceparent`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TraceMode {
    /// Whatever the client sent passes as it is.
    Off,
    /// A valid one passes, else one is made with the sampled flag off.
    Unsampled,
    /// A valid one passes, else one is made with the sampled flag on.
    ///
    /// The default: the usual sampler of an upstream records roots and obeys a parent, so an unsampled parent would
    /// silently end all traces of a system that is put behind the router.
    #[default]
    Sampled,
}

/// The router's name in `Via`: a token, with the values made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pseudonym {
    name: Box<str>,
    from_2: HeaderValue,
    from_11: HeaderValue,
    from_10: HeaderValue,
}

/// Says that a text cannot be a name in `Via`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name for Via; use letters, digits, `-`, `.` or `_`")]
pub struct PseudonymError(String);

impl std::str::FromStr for Pseudonym {
    type Err = PseudonymError;

    fn from_str(name: &str) -> Result<Self, PseudonymError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let value = |version: &str| HeaderValue::from_str(&format!("{version} {name}"));
        match (value("2.0"), value("1.1"), value("1.0")) {
            (Ok(from_2), Ok(from_11), Ok(from_10)) if !name.is_empty() && name.bytes().all(allowed) => {
                Ok(Self { name: name.into(), from_2, from_11, from_10 })
            }
            _ => Err(PseudonymError(name.to_owned())),
        }
    }
}

impl Default for Pseudonym {
    fn default() -> Self {
        Self {
            name: "banyan".into(),
            from_2: HeaderValue::from_static("2.0 banyan"),
            from_11: HeaderValue::from_static("1.1 banyan"),
            from_10: HeaderValue::from_static("1.0 banyan"),
        }
    }
}

impl Pseudonym {
    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The `Via` value for a request that was received over this version.
    pub(super) fn value(&self, version: http::Version) -> HeaderValue {
        match version {
            http::Version::HTTP_10 => self.from_10.clone(),
            http::Version::HTTP_2 => self.from_2.clone(),
            _ => self.from_11.clone(),
        }
    }
}

/// What forwarding fields say about the peer of one connection, made once per connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub(super) trusted: bool,
    /// For `X-Forwarded-For`.
    pub(super) address: HeaderValue,
    /// For `X-Forwarded-Proto`.
    pub(super) proto: HeaderValue,
    /// For `Forwarded`.
    pub(super) forwarded: HeaderValue,
}

impl Peer {
    /// Describes the peer at `address`, which came over TLS if `secure`.
    pub fn new(address: IpAddr, secure: bool, policy: &Policy) -> Self {
        let address = address.to_canonical();
        let proto = if secure { "https" } else { "http" };
        let node = match address {
            IpAddr::V4(v4) => format!("for={v4};proto={proto}"),
            IpAddr::V6(v6) => format!("for=\"[{v6}]\";proto={proto}"),
        };
        Self {
            trusted: policy.trusted.iter().any(|network| network.contains(address)),
            address: visible(&address.to_string()),
            proto: HeaderValue::from_static(proto),
            forwarded: visible(&node),
        }
    }

    /// Whether the peer is a proxy in front of the router.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }
}

fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("addresses are visible ASCII")
}
