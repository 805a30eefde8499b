//! Owns the bytes of an intent as they are put together: at once, from what is borrowed, and ready for a body that is still coming.

use bytes::Bytes;

use super::fields::Writer;
use super::record::CopyId;

/// Bytes that an intent takes without its body, as a rule.
const HEAD_BYTES: usize = 768;

/// What an intent says before its headers; [`super::record::Intent`] tells what each means.
#[derive(Debug, Clone, Copy)]
pub struct Heading<'a> {
    /// The upstream that gets the copy.
    pub destination: &'a str,
    /// The write.
    pub id: CopyId,
    /// The upstream that serves it.
    pub primary: &'a str,
    /// The route.
    pub route: &'a str,
    /// The epoch of the generation that decided.
    pub epoch: u64,
    /// When it was admitted, in milliseconds since the epoch.
    pub unix_ms: u64,
    /// What it is about.
    pub entity: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The idempotency key.
    pub key: &'a str,
    /// Routers that it has passed.
    pub hops: &'a str,
}

/// An intent without its body.
#[derive(Debug)]
pub struct Draft {
    pub(super) epoch: u64,
    head: Writer,
}

/// Takes the headers of an intent, one by one.
#[derive(Debug)]
pub struct HeaderFields<'d> {
    to: &'d mut Writer,
    count: u32,
}

impl HeaderFields<'_> {
    /// Adds one.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.to.text(name);
        self.to.bytes(value);
        self.count += 1;
    }
}

impl Heading<'_> {
    /// Writes it down, with the headers that `headers` adds.
    pub fn draft(&self, headers: impl FnOnce(&mut HeaderFields<'_>)) -> Draft {
        let mut to = Writer(Vec::with_capacity(HEAD_BYTES));
        to.text(self.destination);
        to.u128(self.id.0);
        to.text(self.primary);
        to.text(self.route);
        to.u64(self.epoch);
        to.u64(self.unix_ms);
        to.optional(self.entity);
        to.text(self.method);
        to.text(self.target);
        to.text(self.key);
        to.text(self.hops);
        let count_at = to.0.len();
        to.u32(0);
        let mut fields = HeaderFields { to: &mut to, count: 0 };
        headers(&mut fields);
        let count = fields.count;
        to.0[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
        Draft { epoch: self.epoch, head: to }
    }
}

impl Draft {
    /// The payload with a body of so many bytes in the record itself: the body's own parts follow as they are.
    pub(super) fn with_body(mut self, parts: impl IntoIterator<Item = Bytes>, bytes: usize) -> Vec<Bytes> {
        self.head.u8(0);
        // Nothing longer is ever captured.
        self.head.u32(u32::try_from(bytes).unwrap_or(u32::MAX));
        std::iter::once(self.head.0.into()).chain(parts).collect()
    }

    /// The payload with a body of so many bytes in the side file that the record names.
    pub(super) fn with_side(mut self, bytes: u64) -> Bytes {
        self.head.u8(1);
        self.head.u64(bytes);
        self.head.0.into()
    }
}
