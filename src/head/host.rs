//! Owns the reading of a `host[:port]`, strictly (rules H1 and H3).

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// No part of a name.
const ALIEN: u8 = 1;
/// A letter that has a lower case.
const UPPER: u8 = 2;

/// What each byte is in a name; 0 for the usual.
const NAME_BYTES: [u8; 256] = {
    let mut table = [ALIEN; 256];
    let mut byte = 0;
    while byte < 256 {
        let char = byte as u8;
        if char.is_ascii_uppercase() {
            table[byte] = UPPER;
        } else if char.is_ascii_alphanumeric() || matches!(char, b'-' | b'_' | b'.') {
            table[byte] = 0;
        }
        byte += 1;
    }
    table
};

/// A host with its optional port, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostPort<'r> {
    host: &'r str,
    has_capitals: bool,
    port: Option<u16>,
}

impl<'r> HostPort<'r> {
    /// Reads a Host field or the authority of a target.
    ///
    /// Narrower than RFC 3986's reg-name, which allows commas, quotes and percent escapes that no DNS name has and
    /// that servers read differently: letters, digits, `-`, `_`, `.`, or an IPv6 address in brackets. No userinfo.
    pub(super) fn parse(text: &'r str) -> Option<Self> {
        let (host, has_capitals, port) = match text.strip_prefix('[') {
            Some(inner) => {
                let (address, rest) = inner.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                let has_capitals = address.bytes().any(|byte| byte.is_ascii_uppercase());
                let port = if rest.is_empty() { rest } else { rest.strip_prefix(':')? };
                (&text[..address.len() + 2], has_capitals, port)
            }
            None => {
                // Every request comes through here: one walk finds all.
                let (end, has_capitals) = read_name(text.as_bytes())?;
                (&text[..end], has_capitals, text.get(end + 1..).unwrap_or(""))
            }
        };
        Some(Self { host, has_capitals, port: parse_port(port)? })
    }

    /// The host without a trailing dot, lower case; allocates only where case changes it. IPv6 keeps its brackets.
    pub(super) fn normalized(self) -> Cow<'r, str> {
        let host = self.host.strip_suffix('.').unwrap_or(self.host);
        if self.has_capitals { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) }
    }

    /// Whether both name the same place, given the scheme's port.
    pub(super) fn is_same(self, other: Self, default_port: u16) -> bool {
        self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
            && self.normalized().eq_ignore_ascii_case(&other.normalized())
    }
}

/// Reads a name up to its colon: how long it is, and whether it has capitals.
fn read_name(text: &[u8]) -> Option<(usize, bool)> {
    let (mut before, mut found, mut end) = (b'.', 0, text.len());
    for (at, &byte) in text.iter().enumerate() {
        if byte == b':' {
            end = at;
            break;
        }
        found |= NAME_BYTES[usize::from(byte)];
        // No empty label, but one dot may end the name.
        if found & ALIEN != 0 || (byte == b'.' && before == b'.') {
            return None;
        }
        before = byte;
    }
    (end > 0).then_some((end, found & UPPER != 0))
}

/// An empty port is the scheme's (RFC 3986 section 3.2.3); digits only, so no sign.
fn parse_port(port: &str) -> Option<Option<u16>> {
    if port.is_empty() {
        return Some(None);
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    port.parse().ok().map(Some)
}
