//! Owns what a route says about copies of its writes; it copies nothing.

use std::borrow::Cow;

use http::{HeaderName, Method};

use crate::route::{Params, PathTemplate};

/// The largest body that is kept for a copy, in bytes.
pub const COPY_BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The longest key of an entity in bytes; a longer one is cut, which only makes entities share a lane.
pub const ENTITY_BYTES_MAX: usize = 512;

/// How the writes of a route are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRules {
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

impl Default for CopyRules {
    fn default() -> Self {
        Self {
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
}

impl CopyRules {
    /// Whether a request of this method is a write here (design section 4).
    pub fn is_write(&self, method: &Method) -> bool {
        !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !self.reads.contains(method)
    }

    /// The key of what a request of this path is about; `None` where a parameter of the key is missing or empty, as it is
    /// in a create.
    pub fn entity<'p>(&self, params: Params<'_>, path: &'p str) -> Option<Cow<'p, str>> {
        let EntityRule::Template(parts) = &self.entity else {
            return Some(Cow::Borrowed(cut(path)));
        };
        let mut key = String::new();
        for part in parts {
            match part {
                EntityPart::Literal(text) => key.push_str(text),
                EntityPart::Parameter(name) => {
                    key.push_str(&params.value(name, path).filter(|value| !value.is_empty())?);
                }
            }
        }
        key.truncate(cut(&key).len());
        Some(Cow::Owned(key))
    }

    /// The parameter that is the entity's own id: the last of its key, or of the path where the path is the key.
    pub fn id_parameter<'a>(&'a self, template: &'a PathTemplate) -> Option<&'a str> {
        match &self.entity {
            EntityRule::Path => template.parameters().last().map(|name| &**name),
            EntityRule::Template(parts) => parts.iter().rev().find_map(|part| match part {
                EntityPart::Parameter(name) => Some(&**name),
                EntityPart::Literal(_) => None,
            }),
        }
    }
}

/// As much of a key as is kept.
fn cut(key: &str) -> &str {
    &key[..key.floor_char_boundary(ENTITY_BYTES_MAX)]
}
