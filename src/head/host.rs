//! Owns the reading of a `host[:port]`, strictly (rules H1 and H3).

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The bytes that names are made of.
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let char = byte as u8;
        table[byte] = char.is_ascii_alphanumeric() || matches!(char, b'-' | b'_' | b'.');
        byte += 1;
    }
    table
};

/// A host with its optional port, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostPort<'r> {
    host: &'r str,
    port: Option<u16>,
}

impl<'r> HostPort<'r> {
    /// Reads a Host field or the authority of a target.
    ///
    /// Narrower than RFC 3986's reg-name, which allows commas, quotes and percent escapes that no DNS name has and
    /// that servers read differently: letters, digits, `-`, `_`, `.`, or an IPv6 address in brackets. No userinfo.
    pub(super) fn parse(text: &'r [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (host, port) = match text.strip_prefix('[') {
            Some(inner) => {
                let (address, rest) = inner.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                (&text[..address.len() + 2], if rest.is_empty() { rest } else { rest.strip_prefix(':')? })
            }
            None => {
                // Every request comes through here; a searcher for text costs more than such short text is long.
                let end = text.bytes().position(|byte| byte == b':').unwrap_or(text.len());
                let (host, port) = (&text[..end], text.get(end + 1..).unwrap_or(""));
                is_name(host.as_bytes()).then_some((host, port))?
            }
        };
        Some(Self { host, port: parse_port(port)? })
    }

    /// The host without a trailing dot, lower case; allocates only where case changes it. IPv6 keeps its brackets.
    pub(super) fn normalized(self) -> Cow<'r, str> {
        let host = self.host.strip_suffix('.').unwrap_or(self.host);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        }
    }

    /// Whether both name the same place, given the scheme's port.
    pub(super) fn is_same(self, other: Self, default_port: u16) -> bool {
        self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
            && self.normalized().eq_ignore_ascii_case(&other.normalized())
    }
}

fn is_name(host: &[u8]) -> bool {
    let labels = host.strip_suffix(b".").unwrap_or(host);
    let mut before = b'.';
    for &byte in labels {
        if !NAME_BYTES[usize::from(byte)] || (byte == b'.' && before == b'.') {
            return false;
        }
        before = byte;
    }
    before != b'.'
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
