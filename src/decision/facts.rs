//! Owns what a flag may ask about a request: each attribute is read when a rule asks for it, borrowed where it can be.

use std::borrow::Cow;
use std::cell::OnceCell;

use http::header::COOKIE;

use super::Head;
use crate::attribute::{Attribute, CertificateField};
use crate::flag::{Context, Value, Var};
use crate::route::{Params, query_value};
use crate::snapshot::{IssuedCookie, Route, Rules};

/// A request as an evaluation context.
pub(super) struct Facts<'s, 'r> {
    pub(super) rules: &'s Rules,
    pub(super) head: &'r Head<'r>,
    route: &'s Route,
    params: Params<'s>,
    /// Set when a rule first asks.
    key: OnceCell<Option<Key<'s, 'r>>>,
}

struct Key<'s, 'r> {
    text: Cow<'r, str>,
    origin: Origin<'s>,
}

enum Origin<'s> {
    /// The request has it.
    Source(&'s Attribute),
    /// It was made for this visitor, who is to keep it in this cookie.
    Issued(&'s IssuedCookie),
}

impl<'s: 'r, 'r> Facts<'s, 'r> {
    pub(super) fn new(rules: &'s Rules, head: &'r Head<'r>, route: &'s Route, params: Params<'s>) -> Self {
        Self { rules, head, route, params, key: OnceCell::new() }
    }

    /// The key that a rule asked for, else the one that the request has; none is issued for this.
    pub(super) fn known_key(&self) -> Option<Cow<'_, str>> {
        match self.key.get() {
            Some(key) => key.as_ref().map(|key| Cow::Borrowed(&*key.text)),
            None => self.find_key().map(|key| key.text),
        }
    }

    /// The key that was made for this visitor, with its cookie.
    pub(super) fn issued_key(&self) -> Option<(&'s IssuedCookie, &str)> {
        match self.key.get()?.as_ref()? {
            Key { text, origin: Origin::Issued(cookie) } => Some((cookie, text)),
            Key { origin: Origin::Source(_), .. } => None,
        }
    }

    /// Whether a rule asked for the key, and there is none.
    pub(super) fn is_keyless(&self) -> bool {
        matches!(self.key.get(), Some(None))
    }

    /// The key that a rule asked for, with the source that had it.
    pub(super) fn asked_key(&self) -> Option<(&str, Option<&'s Attribute>)> {
        let key = self.key.get()?.as_ref()?;
        let source = match key.origin {
            Origin::Source(attribute) => Some(attribute),
            Origin::Issued(_) => None,
        };
        Some((&key.text, source))
    }

    /// The first source that answers.
    fn find_key(&self) -> Option<Key<'s, 'r>> {
        let (text, source) = self.rules.identity.find(|source| self.property(source))?;
        Some(Key { text, origin: Origin::Source(source) })
    }

    fn issue(&self) -> Option<Key<'s, 'r>> {
        let cookie = self.rules.identity.issue.as_ref()?;
        Some(Key { text: Cow::Owned((self.head.fresh_key)()), origin: Origin::Issued(cookie) })
    }

    fn read(&self, attribute: &Attribute) -> Option<Cow<'_, str>> {
        match attribute {
            Attribute::TargetingKey => self.targeting_key().map(Cow::Borrowed),
            Attribute::Mapped(name) => self.property(self.rules.mapped.get(name)?),
            direct => self.property(direct),
        }
    }

    /// Reads what stands in the request itself.
    ///
    /// The targeting key and mapped names do not: they stand for other attributes, and are not looked through twice.
    pub(super) fn property(&self, attribute: &Attribute) -> Option<Cow<'r, str>> {
        let head = self.head;
        match attribute {
            Attribute::TargetingKey | Attribute::Mapped(_) => None,
            Attribute::Method => Some(Cow::Borrowed(head.method.as_str())),
            Attribute::Path => Some(Cow::Borrowed(head.path)),
            Attribute::Host => Some(Cow::Borrowed(head.host)),
            Attribute::Route => Some(Cow::Borrowed(&self.route.name)),
            Attribute::ClientIp => Some(Cow::Owned(head.client.to_canonical().to_string())),
            Attribute::Certificate(field) => {
                let certificate = head.certificate?;
                let text = match field {
                    CertificateField::Subject => certificate.subject,
                    CertificateField::Issuer => certificate.issuer,
                    CertificateField::San => certificate.san?,
                    CertificateField::Fingerprint => certificate.fingerprint,
                };
                Some(Cow::Borrowed(text))
            }
            Attribute::Header(name) => text(head.headers.get(name)?.as_bytes()).map(Cow::Borrowed),
            Attribute::Cookie(name) => cookie(head, name).map(Cow::Borrowed),
            Attribute::Query(name) => query_value(head.query?, name),
            Attribute::Param(name) => self.params.value(name, head.path),
        }
    }
}

impl<'s: 'r, 'r> Context for Facts<'s, 'r> {
    fn lookup<'a>(&'a self, var: &Var) -> Value<'a> {
        self.read(&var.attribute).map_or(Value::Null, Value::Str)
    }

    fn targeting_key(&self) -> Option<&str> {
        self.key.get_or_init(|| self.find_key().or_else(|| self.issue())).as_ref().map(|key| &*key.text)
    }

    fn now_unix_s(&self) -> i64 {
        self.head.now_unix_s
    }
}

/// A field value as text; one that is not UTF-8 reads as absent.
fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

/// The first value of a cookie, as received, over all `Cookie` fields (HTTP/2 clients send several).
fn cookie<'r>(head: &Head<'r>, name: &str) -> Option<&'r str> {
    let fields = head.headers.get_all(COOKIE).iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    let value = pairs.find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })?;
    text(value)
}
