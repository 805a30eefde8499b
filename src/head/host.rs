//! Owns the reading of a `host[:port]`, strictly (rules H1 and H3).

use std::borrow::Cow;
use std::net::Ipv6Addr;

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
                let (host, port) = text.split_once(':').unwrap_or((text, ""));
                is_name(host).then_some((host, port))?
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

fn is_name(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let mut at_start = true;
    for byte in labels.bytes() {
        match byte {
            b'.' if at_start => return false,
            b'.' => at_start = true,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => at_start = false,
            _ => return false,
        }
    }
    !at_start
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
