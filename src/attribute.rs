//! Owns the names of what a rule may ask of a request; it never reads a request itself.

use http::HeaderName;

/// Names one property of a request that identity, context and flag rules read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// The targeting key that identity found.
    TargetingKey,
    /// The request method.
    Method,
    /// The path as received, without the query.
    Path,
    /// The host without its port, lower case.
    Host,
    /// The name of the matched route.
    Route,
    /// The client's address as text.
    ClientIp,
    /// A header's first value.
    Header(HeaderName),
    /// A cookie's first value, as received.
    Cookie(Box<str>),
    /// A query parameter's first value, percent-decoded.
    Query(Box<str>),
    /// A route parameter's value, percent-decoded.
    Param(Box<str>),
    /// A name that `context:` in the route files maps, or else one that no request has.
    Mapped(Box<str>),
}

/// Says why a source such as `header:x-user` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// The part before the colon is none of the known kinds.
    #[error(
        "unknown source `{0}`; use header:NAME, cookie:NAME, query:NAME, param:NAME, client.ip, method, path, host or route"
    )]
    UnknownKind(String),
    /// The part after the colon is empty or not a header name.
    #[error("`{0}` is not a valid name here")]
    BadName(String),
}

impl Attribute {
    /// Reads the dotted form of flag rules, such as `header.x-user-id`.
    ///
    /// A name without a known prefix is one that `context:` may map, so this never fails; a `header.` name that no
    /// header can have is `Mapped` too and so reads as null.
    pub fn from_rule(name: &str) -> Self {
        Self::plain(name)
            .or_else(|| name.split_once('.').and_then(|(kind, rest)| Self::named(kind, rest)))
            .unwrap_or_else(|| Self::Mapped(name.into()))
    }

    /// Reads the colon form of route files, such as `header:x-user-id`.
    ///
    /// # Errors
    /// When the kind is unknown or the name is not one that kind can have.
    pub fn from_source(text: &str) -> Result<Self, AttributeError> {
        if let Some(plain) = Self::plain(text).filter(|found| *found != Self::TargetingKey) {
            return Ok(plain);
        }
        match text.split_once(':') {
            Some((kind @ ("header" | "cookie" | "query" | "param"), rest)) => {
                Self::named(kind, rest).ok_or_else(|| AttributeError::BadName(rest.to_owned()))
            }
            _ => Err(AttributeError::UnknownKind(text.to_owned())),
        }
    }

    fn plain(name: &str) -> Option<Self> {
        Some(match name {
            "targetingKey" => Self::TargetingKey,
            "method" => Self::Method,
            "path" => Self::Path,
            "host" => Self::Host,
            "route" => Self::Route,
            "client.ip" => Self::ClientIp,
            _ => return None,
        })
    }

    fn named(kind: &str, name: &str) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        match kind {
            "header" => HeaderName::from_bytes(name.as_bytes()).ok().map(Self::Header),
            "cookie" => Some(Self::Cookie(name.into())),
            "query" => Some(Self::Query(name.into())),
            "param" => Some(Self::Param(name.into())),
            _ => None,
        }
    }
}
