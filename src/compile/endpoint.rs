//! Owns the reading of an endpoint as written, and which addresses an upstream may not have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{Diagnostic, Report, Text};
use crate::network::is_private;
use crate::upstream::Endpoint;

/// Reads `http://host:port`, `https://host:port` or `host:port`; an address as host gets its address at once.
pub(super) fn read(text: &Text, report: &mut Report) -> Option<Endpoint> {
    match parse(&text.text) {
        Ok(endpoint) => Some(endpoint),
        Err(fault) => {
            let message = format!("`{}` {}", text.text, fault.0);
            report.push(Diagnostic::error("bad-endpoint", &text.place, message).help(fault.1));
            None
        }
    }
}

/// Whether an address is one of this router's own listeners, so that sending there would be a loop (rule P4).
///
/// A listener on all addresses is taken to own the loopback ones; which others the machine has is not known here.
pub fn is_own_listener(address: SocketAddr, listeners: &[SocketAddr]) -> bool {
    let ip = address.ip().to_canonical();
    listeners.iter().any(|listener| {
        let own = listener.ip().to_canonical();
        let everywhere = own.is_unspecified() && (ip.is_loopback() || ip.is_unspecified());
        let here = ip.is_unspecified() && own.is_loopback();
        listener.port() == address.port() && (own == ip || everywhere || here)
    })
}

/// Why an address may not be an upstream's; `None` when it may.
pub(super) fn refusal(address: SocketAddr, allow_public: bool, listeners: &[SocketAddr]) -> Option<Refusal> {
    if is_own_listener(address, listeners) {
        return Some(Refusal {
            code: "own-listener",
            why: "is where this router itself listens",
            help: "give the upstream another port, or listen elsewhere with --listen",
        });
    }
    (!allow_public && !is_private(address.ip())).then_some(Refusal {
        code: "public-address",
        why: "is not a private address",
        help: "use an internal address, or say `allow_public: true` for this upstream",
    })
}

/// Why an address is refused.
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) why: &'static str,
    pub(super) help: &'static str,
}

/// What is wrong with an endpoint, and how to mend it.
struct Fault(&'static str, &'static str);

/// What every endpoint looks like.
const FORM: &str = "write http://host:port, such as http://127.0.0.1:9001";

fn parse(text: &str) -> Result<Endpoint, Fault> {
    let authority = strip_scheme(text)?;
    if authority.contains('@') {
        return Err(Fault("names a user", FORM));
    }
    if authority.contains(['/', '?', '#']) {
        return Err(Fault("has a path", "leave the path out; `rewrite: {path_prefix: {from, to}}` changes paths"));
    }
    let (host, port) = split(authority)?;
    let address = address(host)?;
    let port = match port {
        None if is_https(text) => 443,
        None if text.contains("://") => 80,
        None => return Err(Fault("has no port", FORM)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or(Fault("has a port that does not exist", FORM))?
        }
        Some(_) => return Err(Fault("has a port that is not a number", FORM)),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Ok(Endpoint {
        authority: authority.into(),
        host: host.into(),
        port,
        addresses: address.map(|ip| SocketAddr::new(ip, port)).into_iter().collect(),
    })
}

fn is_https(text: &str) -> bool {
    text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

fn strip_scheme(text: &str) -> Result<&str, Fault> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(text);
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => Ok(rest.strip_suffix('/').unwrap_or(rest)),
        "h2c" => Err(Fault("names no scheme", "write http:// here, and `protocol: h2c` for the upstream")),
        _ => Err(Fault("has an unknown scheme", FORM)),
    }
}

fn split(authority: &str) -> Result<(&str, Option<&str>), Fault> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(Fault("has a bracket that is not closed", FORM))? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(Fault("has something behind its bracket", FORM)),
        };
    }
    match authority.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            Err(Fault("has a colon too many", "put an IPv6 address in brackets, such as [::1]:9001"))
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

/// The address that a host is, if it is one; `None` for a valid name.
fn address(host: &str) -> Result<Option<IpAddr>, Fault> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.trim_end_matches(']');
        let address: Ipv6Addr = inner.parse().map_err(|_| Fault("has no IPv6 address in its brackets", FORM))?;
        return Ok(Some(address.into()));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Some(address.into()));
    }
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        inner && (1..=63).contains(&label.len())
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(Fault("has a host that is not a valid name", FORM));
    }
    // Resolvers read `127.1` and `0x7f000001` as addresses, past every check of ours.
    let last = name.rsplit('.').next().unwrap_or(name);
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x");
    if numeric {
        return Err(Fault("has a host that looks like an address but is none", "write it out, such as 127.0.0.1"));
    }
    Ok(None)
}
