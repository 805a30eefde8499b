//! Owns the note of which fields a head carries; it spares `prepare` a second walk and needless look-ups.

/// A set of fields that need work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen(u32);

impl Seen {
    pub(super) const CONNECTION: Self = Self(1);
    /// `Connection` names fields other than those that are removed in any case.
    pub(super) const CONNECTION_NAMES: Self = Self(1 << 1);
    /// `Connection` lists `upgrade`.
    pub(super) const CONNECTION_UPGRADE: Self = Self(1 << 2);
    pub(super) const KEEP_ALIVE: Self = Self(1 << 3);
    pub(super) const PROXY_CONNECTION: Self = Self(1 << 4);
    pub(super) const TE: Self = Self(1 << 5);
    pub(super) const TE_TRAILERS: Self = Self(1 << 6);
    pub(super) const UPGRADE: Self = Self(1 << 7);
    pub(super) const HTTP2_SETTINGS: Self = Self(1 << 8);
    pub(super) const TRANSFER_ENCODING: Self = Self(1 << 9);
    pub(super) const CONTENT_LENGTH: Self = Self(1 << 10);
    pub(super) const EXPECT: Self = Self(1 << 11);
    pub(super) const MAX_FORWARDS: Self = Self(1 << 12);
    pub(super) const FORWARDED: Self = Self(1 << 13);
    pub(super) const X_FORWARDED_FOR: Self = Self(1 << 14);
    pub(super) const X_FORWARDED_PROTO: Self = Self(1 << 15);
    pub(super) const X_FORWARDED_HOST: Self = Self(1 << 16);
    /// `X-Forwarded-` with any other ending.
    pub(super) const X_FORWARDED_OTHER: Self = Self(1 << 17);
    /// A field of ours that a client must not send.
    pub(super) const OWN: Self = Self(1 << 18);
    /// A name with an underscore.
    pub(super) const UNDERSCORE: Self = Self(1 << 19);
    pub(super) const TRACEPARENT: Self = Self(1 << 20);
    pub(super) const TRACESTATE: Self = Self(1 << 21);
    /// `traceparent` is there but not valid.
    pub(super) const TRACE_INVALID: Self = Self(1 << 22);
    pub(super) const VIA: Self = Self(1 << 23);
    pub(super) const HOST: Self = Self(1 << 24);
    pub(super) const AUTHORITY: Self = Self(1 << 25);
    /// A `Cookie` of an HTTP/2 request.
    pub(super) const COOKIE: Self = Self(1 << 26);
    /// Several of them.
    pub(super) const COOKIES: Self = Self(1 << 27);

    pub(super) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Seen {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
