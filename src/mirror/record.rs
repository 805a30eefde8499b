//! Owns what copies leave in the journal: the payloads of its records, field by field (docs/journal.md lists the bytes).

use bytes::Bytes;

use super::draft::Heading;
use super::fields::{Reader, Unreadable, Writer};

/// Names one write over all its records, attempts and replays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CopyId(pub u128);

/// A write that is to be copied, before anybody knows what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The upstream that gets the copy; first, so that a scan can pass over what is not its own.
    pub destination: Box<str>,
    /// Its name.
    pub id: CopyId,
    /// The upstream that serves the write.
    pub primary: Box<str>,
    /// The route, whose rules deliver it.
    pub route: Box<str>,
    /// The epoch of the generation that decided.
    pub epoch: u64,
    /// When it was admitted, in milliseconds since the epoch.
    pub unix_ms: u64,
    /// What it is about; `None` for a create, until the answer names what was created.
    pub entity: Option<Box<str>>,
    /// The method.
    pub method: Box<str>,
    /// Path and query as received.
    pub target: Box<str>,
    /// The idempotency key, the client's or ours.
    pub key: Box<str>,
    /// Routers that this write has passed as a copy already.
    pub hops: Box<str>,
    /// The end-to-end headers, redacted.
    pub headers: Vec<(Box<str>, Bytes)>,
    /// The body.
    pub body: Body,
}

/// The body of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// In the record, in the parts in which it came.
    Inline(Vec<Bytes>),
    /// In the side file that the record names, so many bytes.
    Side(u64),
}

/// What became of a write at its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// The primary did it.
    Acknowledged = 1,
    /// The primary definitely did not do it.
    Rejected = 2,
    /// Nobody knows: a 5xx, or a failure after bytes were sent.
    Unknown = 3,
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The upstream that gets the copy.
    pub destination: Box<str>,
    /// The write.
    pub id: CopyId,
    /// What became of it.
    pub class: Class,
    /// The primary's status; 0 where it gave none.
    pub status: u16,
    /// Whether no further outcome follows; one that is not final waits for the body that names what was created.
    pub is_final: bool,
    /// What was created, as the answer names it.
    pub entity: Option<Box<str>>,
    /// Its id.
    pub created: Option<Box<str>>,
}

/// How a copy came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Settled {
    /// The destination has it.
    Delivered = 1,
    /// The primary rejected it, so there is nothing to deliver.
    Rejected = 2,
    /// It was set aside for a person.
    Parked = 3,
    /// The unknown outcome was resolved by reading the primary.
    Resolved = 4,
    /// A person dropped it.
    Dropped = 5,
}

/// The end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The upstream that gets the copy.
    pub destination: Box<str>,
    /// The write.
    pub id: CopyId,
    /// The number of the intent that comes to its end; a replay of the write has another one.
    pub intent: u64,
    /// How.
    pub how: Settled,
    /// [`lane`] of what it is about as the intent had it, or of its target.
    pub lane: u64,
}

/// A write that was served and is not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The upstream that misses it.
    pub destination: Box<str>,
    /// The route.
    pub route: Box<str>,
    /// What it is about, where that is known.
    pub entity: Option<Box<str>>,
    /// The method.
    pub method: Box<str>,
    /// Path and query.
    pub target: Box<str>,
    /// Why it is not copied: `too_large`, `high_water`, `queue_full`, `journal_failed`, `early_answer`, `budget`, `unreadable`.
    pub reason: Box<str>,
    /// When, in milliseconds since the epoch.
    pub unix_ms: u64,
}

/// A change of sides: what is older and on its way to an entity's new side must not arrive there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The side that serves the entity from now on.
    pub destination: Box<str>,
    /// The entity.
    pub entity: Box<str>,
    /// The epoch of the generation that decided so.
    pub epoch: u64,
}

/// The destination of any payload, without reading the rest.
///
/// # Errors
/// When the payload is not one of ours.
pub fn destination(payload: &[u8]) -> Result<&str, Unreadable> {
    let mut rest = Reader(payload);
    std::str::from_utf8(rest.bytes()?).map_err(|_| Unreadable)
}

/// Whether a payload is about copies to this destination.
pub(super) fn is_for(payload: &[u8], destination: &str) -> bool {
    Reader(payload).bytes() == Ok(destination.as_bytes())
}

/// The number of an entity's lane by FNV-1a: the same on every machine and in every version.
pub fn lane(entity: &str) -> u64 {
    entity.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Intent {
    /// What the write is about, as far as that was known at first: a create shares the lane of its target.
    pub fn lane_key(&self) -> &str {
        self.entity.as_deref().unwrap_or(&self.target)
    }

    /// Its payload in parts: a body is not copied on its way.
    pub fn encode(&self) -> Vec<Bytes> {
        let heading = Heading {
            destination: &self.destination,
            id: self.id,
            primary: &self.primary,
            route: &self.route,
            epoch: self.epoch,
            unix_ms: self.unix_ms,
            entity: self.entity.as_deref(),
            method: &self.method,
            target: &self.target,
            key: &self.key,
            hops: &self.hops,
        };
        let draft = heading.draft(|fields| self.headers.iter().for_each(|(name, value)| fields.add(name, value)));
        match &self.body {
            Body::Inline(parts) => draft.with_body(parts.iter().cloned(), parts.iter().map(Bytes::len).sum()),
            Body::Side(bytes) => vec![draft.with_side(*bytes)],
        }
    }

    /// Reads a payload; the body stays where it is.
    ///
    /// # Errors
    /// When the payload is not one of ours.
    pub fn decode(payload: &Bytes) -> Result<Self, Unreadable> {
        let mut from = Reader(payload);
        Ok(Self {
            destination: from.text()?,
            id: CopyId(from.u128()?),
            primary: from.text()?,
            route: from.text()?,
            epoch: from.u64()?,
            unix_ms: from.u64()?,
            entity: from.optional()?,
            method: from.text()?,
            target: from.text()?,
            key: from.text()?,
            hops: from.text()?,
            headers: (0..from.u32()?)
                .map(|_| Ok((from.text()?, payload.slice_ref(from.bytes()?))))
                .collect::<Result<_, _>>()?,
            body: match from.u8()? {
                0 => Body::Inline(vec![payload.slice_ref(from.bytes()?)]),
                1 => Body::Side(from.u64()?),
                _ => return Err(Unreadable),
            },
        })
    }
}

impl Outcome {
    /// Its payload.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer(Vec::with_capacity(96));
        to.text(&self.destination);
        to.u128(self.id.0);
        to.u8(self.class as u8);
        to.u32(u32::from(self.status));
        to.u8(u8::from(self.is_final));
        to.optional(self.entity.as_deref());
        to.optional(self.created.as_deref());
        to.0.into()
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When the payload is not one of ours.
    pub fn decode(payload: &[u8]) -> Result<Self, Unreadable> {
        let mut from = Reader(payload);
        Ok(Self {
            destination: from.text()?,
            id: CopyId(from.u128()?),
            class: match from.u8()? {
                1 => Class::Acknowledged,
                2 => Class::Rejected,
                3 => Class::Unknown,
                _ => return Err(Unreadable),
            },
            status: u16::try_from(from.u32()?).map_err(|_| Unreadable)?,
            is_final: from.u8()? != 0,
            entity: from.optional()?,
            created: from.optional()?,
        })
    }
}

impl Settlement {
    /// Its payload.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer(Vec::with_capacity(64));
        to.text(&self.destination);
        to.u128(self.id.0);
        to.u64(self.intent);
        to.u8(self.how as u8);
        to.u64(self.lane);
        to.0.into()
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When the payload is not one of ours.
    pub fn decode(payload: &[u8]) -> Result<Self, Unreadable> {
        let mut from = Reader(payload);
        Ok(Self {
            destination: from.text()?,
            id: CopyId(from.u128()?),
            intent: from.u64()?,
            how: match from.u8()? {
                1 => Settled::Delivered,
                2 => Settled::Rejected,
                3 => Settled::Parked,
                4 => Settled::Resolved,
                5 => Settled::Dropped,
                _ => return Err(Unreadable),
            },
            lane: from.u64()?,
        })
    }
}

impl Gap {
    /// Its payload.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer(Vec::with_capacity(128));
        to.text(&self.destination);
        to.text(&self.route);
        to.optional(self.entity.as_deref());
        to.text(&self.method);
        to.text(&self.target);
        to.text(&self.reason);
        to.u64(self.unix_ms);
        to.0.into()
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When the payload is not one of ours.
    pub fn decode(payload: &[u8]) -> Result<Self, Unreadable> {
        let mut from = Reader(payload);
        Ok(Self {
            destination: from.text()?,
            route: from.text()?,
            entity: from.optional()?,
            method: from.text()?,
            target: from.text()?,
            reason: from.text()?,
            unix_ms: from.u64()?,
        })
    }
}

impl Fence {
    /// Its payload.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer(Vec::with_capacity(64));
        to.text(&self.destination);
        to.text(&self.entity);
        to.u64(self.epoch);
        to.0.into()
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When the payload is not one of ours.
    pub fn decode(payload: &[u8]) -> Result<Self, Unreadable> {
        let mut from = Reader(payload);
        Ok(Self { destination: from.text()?, entity: from.text()?, epoch: from.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(body: Body) -> Intent {
        Intent {
            destination: "orders".into(),
            id: CopyId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            primary: "monolith".into(),
            route: "orders".into(),
            epoch: 12,
            unix_ms: 1_700_000_000_000,
            entity: Some("order:17".into()),
            method: "PUT".into(),
            target: "/api/orders/17?a=b".into(),
            key: "\"k\"".into(),
            hops: "".into(),
            headers: vec![("content-type".into(), Bytes::from_static(b"application/json"))],
            body,
        }
    }

    #[test]
    fn records_come_back_as_they_were() {
        for body in [Body::Inline(vec![Bytes::from_static(b"{}")]), Body::Side(9)] {
            let written = intent(body);
            let payload = Bytes::from(written.encode().concat());
            assert_eq!(destination(&payload), Ok("orders"));
            assert_eq!(Intent::decode(&payload), Ok(written));
        }
        let outcome = Outcome {
            destination: "orders".into(),
            id: CopyId(7),
            class: Class::Unknown,
            status: 502,
            is_final: true,
            entity: None,
            created: Some("17".into()),
        };
        assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
        let (how, lane) = (Settled::Parked, lane("order:17"));
        let end = Settlement { destination: "o".into(), id: CopyId(7), intent: 3, how, lane };
        assert_eq!(Settlement::decode(&end.encode()), Ok(end));
        let fence = Fence { destination: "o".into(), entity: "e".into(), epoch: 3 };
        assert_eq!(Fence::decode(&fence.encode()), Ok(fence));
    }

    #[test]
    fn a_cut_record_is_unreadable_at_every_length() {
        let payload = Bytes::from(intent(Body::Inline(vec![Bytes::from_static(b"{}")])).encode().concat());
        for end in 0..payload.len() {
            assert_eq!(Intent::decode(&payload.slice(..end)), Err(Unreadable), "{end}");
        }
    }
}
