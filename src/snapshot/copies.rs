//! Owns what a route says about copies of its writes; it copies nothing.

use std::borrow::Cow;

use http::{HeaderName, Method};

use crate::route::PathTemplate;

/// The largest body that is kept for a copy, in bytes.
pub const COPY_BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The longest key of an entity in bytes; a longer one is cut, which only makes entities share a lane.
pub const ENTITY_BYTES_MAX: usize = 512;

/// How the writes of a route are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRules {
    /// The path of the route.
    pub path: PathTemplate,
    /// When the answer may go to the client.
    pub mode: CopyMode,
    /// What happens to a write that the journal cannot take.
    pub overflow: JournalOverflow,
    /// What happens to a write whose body is too large for a copy.
    pub too_large: TooLarge,
    /// The largest body that is copied, in bytes.
    pub body_bytes_max: u64,
    /// What a write is about; writes about the same are copied in their order.
    pub entity: EntityRule,
    /// Where the answer to a create names what was created.
    pub created: Option<Naming>,
    /// How a copied create carries the id that the primary gave.
    pub carry_id: Option<IdCarrier>,
    /// What becomes of a write whose outcome nobody knows.
    pub unknown: UnknownOutcome,
    /// Path and query that ask the primary for what a create made; `{key}` stands for the idempotency key.
    pub lookup: Option<Box<str>>,
    /// The header that carries the idempotency key.
    pub idempotency_header: HeaderName,
    /// What a write does that changes sides while older copies are under way to its new side.
    pub switch: SideSwitch,
    /// Attempts that a destination may answer with a failure before a copy is parked.
    pub attempts_max: u32,
    /// Methods that are reads on this route, besides GET, HEAD and OPTIONS.
    pub reads: Box<[Method]>,
    /// Headers that are not kept.
    pub drop_headers: Box<[HeaderName]>,
    /// What becomes of credentials.
    pub credentials: Credentials,
}

/// When the answer to a copied write may go to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyMode {
    /// At once; a crash of the machine may lose the copy.
    Async,
    /// When the write is durable in the journal, which is done beside the primary's work.
    #[default]
    Overlap,
    /// The same, and the primary is asked only when the write is durable.
    Strict,
    /// As `Overlap`, and the outcome must be durable too.
    SyncOutcome,
}

impl CopyMode {
    /// Its name in route files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Overlap => "overlap",
            Self::Strict => "strict",
            Self::SyncOutcome => "sync_outcome",
        }
    }
}

/// What happens to a write that the journal cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JournalOverflow {
    /// It is served; a gap record says what was not copied.
    #[default]
    Shed,
    /// It is refused with 503.
    FailClosed,
}

/// What happens to a write whose body is too large for a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TooLarge {
    /// It is served; a gap record says what was not copied.
    #[default]
    Gap,
    /// It is refused with 413.
    Refuse,
}

/// What a write is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EntityRule {
    /// Its path.
    #[default]
    Path,
    /// A text with parameters of the route's path.
    Template(Box<[EntityPart]>),
}

/// A part of an entity's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityPart {
    /// As it stands.
    Literal(Box<str>),
    /// A parameter of the route's path.
    Parameter(Box<str>),
}

/// Where an answer names what was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// `Location`, read by the route's own path.
    Location,
    /// A JSON pointer (RFC 6901) into the body.
    Json(Box<str>),
}

/// How a copied create carries the id that the primary gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdCarrier {
    /// As a PUT to the path of what was created.
    Path,
    /// In a header.
    Header(HeaderName),
    /// At a JSON pointer in the body.
    Json(Box<str>),
}

/// What becomes of a write whose outcome nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownOutcome {
    /// The primary is read, and the other side made equal.
    #[default]
    Read,
    /// A person decides.
    Park,
}

/// What a write does that changes sides while older copies are under way to its new side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SideSwitch {
    /// It changes at once; the older copies are parked.
    #[default]
    Immediate,
    /// It stays where it was until they have arrived; a kill never waits.
    Drain,
}

/// What becomes of credentials in copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Credentials {
    /// They are not kept.
    #[default]
    Drop,
    /// They are kept encrypted, with the key of `--journal-key`.
    Encrypt,
}

impl CopyRules {
    /// The rules of a route that says nothing about them.
    pub fn new(path: PathTemplate) -> Self {
        Self {
            path,
            mode: CopyMode::default(),
            overflow: JournalOverflow::default(),
            too_large: TooLarge::default(),
            body_bytes_max: COPY_BODY_BYTES_MAX,
            entity: EntityRule::default(),
            created: None,
            carry_id: None,
            unknown: UnknownOutcome::default(),
            lookup: None,
            idempotency_header: HeaderName::from_static("idempotency-key"),
            switch: SideSwitch::default(),
            attempts_max: 10,
            reads: Box::default(),
            drop_headers: Box::default(),
            credentials: Credentials::default(),
        }
    }

    /// Whether a request of this method is a write here (design section 4).
    pub fn is_write(&self, method: &Method) -> bool {
        !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !self.reads.contains(method)
    }

    /// The key of what a request of this path is about; `None` where a parameter of the key is missing or empty, as it is
    /// in a create.
    pub fn entity<'p>(&self, path: &'p str) -> Option<Cow<'p, str>> {
        let EntityRule::Template(parts) = &self.entity else {
            // A path whose id is missing names the collection: what is created there is not known yet.
            let names_one = self.id_parameter().is_none_or(|name| self.parameter(name, path).is_some());
            return (names_one || self.created.is_none()).then(|| Cow::Borrowed(cut(path)));
        };
        let mut key = String::new();
        for part in parts {
            match part {
                EntityPart::Literal(text) => key.push_str(text),
                EntityPart::Parameter(name) => key.push_str(&self.parameter(name, path)?),
            }
        }
        key.truncate(cut(&key).len());
        Some(Cow::Owned(key))
    }

    /// The parameter that is the entity's own id: the last of its key, or of the path where the path is the key.
    pub fn id_parameter(&self) -> Option<&str> {
        match &self.entity {
            EntityRule::Path => self.path.parameters().last().map(|name| &**name),
            EntityRule::Template(parts) => parts.iter().rev().find_map(|part| match part {
                EntityPart::Parameter(name) => Some(&**name),
                EntityPart::Literal(_) => None,
            }),
        }
    }

    /// The entity's own id in a path of the route; `None` where there is none.
    pub fn id<'p>(&self, path: &'p str) -> Option<Cow<'p, str>> {
        self.parameter(self.id_parameter()?, path)
    }

    /// The path with another id in it: where a create went, the path of what it made.
    pub fn path_with_id(&self, path: &str, id: &str) -> Option<String> {
        let wanted = self.id_parameter()?;
        let mut text = String::with_capacity(path.len() + id.len() + 1);
        for segment in self.path.as_str().split('/').skip(1) {
            text.push('/');
            let name = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
            match name.map(|name| name.strip_prefix('*').unwrap_or(name)) {
                None => text.push_str(segment),
                Some(name) if name == wanted => escape(id, &mut text),
                Some(name) => escape(&self.parameter(name, path)?, &mut text),
            }
        }
        Some(text)
    }

    /// A parameter that is not empty.
    fn parameter<'p>(&self, name: &str, path: &'p str) -> Option<Cow<'p, str>> {
        self.path.params().value(name, path).filter(|value| !value.is_empty())
    }
}

/// Writes a text as segments of a path.
fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b':'
            | b'@'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b'=' => into.push(char::from(byte)),
            _ => {
                let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value)]);
                into.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

/// As much of a key as is kept.
fn cut(key: &str) -> &str {
    let end = (0..=ENTITY_BYTES_MAX.min(key.len())).rev().find(|at| key.is_char_boundary(*at)).unwrap_or(0);
    &key[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, entity: EntityRule) -> CopyRules {
        CopyRules { entity, ..CopyRules::new(PathTemplate::parse(path).unwrap()) }
    }

    #[test]
    fn an_entity_is_named_by_parameters() {
        let parts = [EntityPart::Literal("order:".into()), EntityPart::Parameter("id".into())];
        let rules = rules("/api/orders/{*id}", EntityRule::Template(parts.into()));
        assert_eq!(rules.entity("/api/orders/17").as_deref(), Some("order:17"));
        assert_eq!(rules.entity("/api/orders"), None);
        assert_eq!(rules.entity("/api/orders/"), None);
        assert_eq!(rules.id("/api/orders/a%20b").as_deref(), Some("a b"));
        assert_eq!(rules.path_with_id("/api/orders", "a b/c").as_deref(), Some("/api/orders/a%20b/c"));
    }

    #[test]
    fn without_a_key_each_path_is_an_entity() {
        let rules = rules("/api/orders/{*rest}", EntityRule::Path);
        assert_eq!(rules.entity("/api/orders/17").as_deref(), Some("/api/orders/17"));
        assert_eq!(rules.entity("/api/orders").as_deref(), Some("/api/orders"));
        let creating = CopyRules { created: Some(Naming::Location), ..rules };
        assert_eq!(creating.entity("/api/orders"), None);
    }

    #[test]
    fn a_long_key_is_cut_between_characters() {
        let rules = rules("/{*rest}", EntityRule::Path);
        let path = format!("/{}", "é".repeat(ENTITY_BYTES_MAX));
        assert!(rules.entity(&path).unwrap().len() <= ENTITY_BYTES_MAX);
    }
}
