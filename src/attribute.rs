//! Owns the names of what a rule may ask of a request; it never reads a request itself.

use std::fmt;

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
    /// What the certificate that the client showed says; null without one.
    Certificate(CertificateField),
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

/// Names a part of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateField {
    /// The subject, such as `CN=alice,O=Example`.
    Subject,
    /// The issuer in the same form.
    Issuer,
    /// The first alternative name that is a host name or a URI.
    San,
    /// The SHA-256 in hexadecimal.
    Fingerprint,
}

impl CertificateField {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "client.certificate.subject",
            Self::Issuer => "client.certificate.issuer",
            Self::San => "client.certificate.san",
            Self::Fingerprint => "client.certificate.fingerprint",
        }
    }
}

/// Says why a source such as `header:x-user` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// The part before the colon is none of the known kinds.
    #[error(
        "unknown source `{0}`; use header:NAME, cookie:NAME, query:NAME, param:NAME, client.ip, client.certificate.subject (or issuer, san, \
         fingerprint), method, path, host or route"
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
            "client.certificate.subject" => Self::Certificate(CertificateField::Subject),
            "client.certificate.issuer" => Self::Certificate(CertificateField::Issuer),
            "client.certificate.san" => Self::Certificate(CertificateField::San),
            "client.certificate.fingerprint" => Self::Certificate(CertificateField::Fingerprint),
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

/// Writes the form of route files, such as `header:x-user-id`.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetingKey => f.write_str("targetingKey"),
            Self::Method => f.write_str("method"),
            Self::Path => f.write_str("path"),
            Self::Host => f.write_str("host"),
            Self::Route => f.write_str("route"),
            Self::ClientIp => f.write_str("client.ip"),
            Self::Certificate(field) => f.write_str(field.as_str()),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Param(name) => write!(f, "param:{name}"),
            Self::Mapped(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_written_as_they_are_read() {
        let texts = [
            "method",
            "path",
            "host",
            "route",
            "client.ip",
            "client.certificate.subject",
            "client.certificate.issuer",
            "client.certificate.san",
            "client.certificate.fingerprint",
            "header:x-user",
            "cookie:a",
            "query:q",
            "param:id",
        ];
        for text in texts {
            assert_eq!(Attribute::from_source(text).unwrap().to_string(), text);
            assert_eq!(Attribute::from_rule(&text.replace(':', ".")), Attribute::from_source(text).unwrap());
        }
    }

    #[test]
    fn sources_that_cannot_be_read_say_why() {
        let unknown = |text: &str| AttributeError::UnknownKind(text.to_owned());
        for text in ["", "targetingKey", "session", "Header:x", "header.x", "header", "issue:id"] {
            assert_eq!(Attribute::from_source(text), Err(unknown(text)), "{text}");
        }
        for (text, name) in [("header:", ""), ("header:a b", "a b"), ("cookie:", ""), ("query:", ""), ("param:", "")] {
            assert_eq!(Attribute::from_source(text), Err(AttributeError::BadName(name.to_owned())), "{text}");
        }
    }

    #[test]
    fn every_name_can_stand_in_a_rule() {
        assert_eq!(Attribute::from_rule("targetingKey"), Attribute::TargetingKey);
        assert_eq!(Attribute::from_rule("header.X-User"), Attribute::Header(HeaderName::from_static("x-user")));
        assert_eq!(Attribute::from_rule("cookie.a.b"), Attribute::Cookie("a.b".into()));
        for mapped in ["tenant", "customer.plan", "header.", "header.a b", "", "client", "cookie:a"] {
            assert_eq!(Attribute::from_rule(mapped), Attribute::Mapped(mapped.into()), "{mapped}");
        }
    }
}
