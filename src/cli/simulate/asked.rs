//! Owns a recorded request: read from a line, with what is known of it and what is not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use http::header::{COOKIE, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use serde::Deserialize;

use crate::attribute::Attribute;
use crate::decision::Head;
use crate::head::{Policy, request};
use crate::limits::Limits;

/// A line, as far as it counts here; the access log has more members.
#[derive(Debug, Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    method: Option<Cow<'l, str>>,
    #[serde(borrow)]
    url: Option<Cow<'l, str>>,
    #[serde(borrow)]
    host: Option<Cow<'l, str>>,
    #[serde(borrow)]
    path: Option<Cow<'l, str>>,
    client: Option<IpAddr>,
    /// Null where the request had no such header.
    headers: Option<BTreeMap<String, Option<String>>>,
    /// The access log has one in each line.
    status: Option<u16>,
}

/// A recorded request.
#[derive(Debug)]
pub(super) struct Asked {
    parts: Parts,
    host: String,
    client: IpAddr,
    secure: bool,
    known: Known,
}

/// What is known of a request beside what every line has.
#[derive(Debug)]
enum Known {
    /// The line is the whole request.
    All,
    /// These headers, present or absent.
    Headers(Vec<HeaderName>),
}

/// Why a line gives no request to decide about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRequest {
    /// It is none.
    Malformed(String),
    /// The router answers before it matches a route.
    Refused,
}

impl Asked {
    /// Reads a line.
    pub(super) fn read(line: &[u8]) -> Result<Self, NoRequest> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| malformed(error.to_string()))?;
        match (&line.url, &line.path) {
            (Some(url), _) => Self::whole(url, &line),
            (None, Some(path)) => Self::logged(path, &line),
            // The router logs a request without a path when it could not even read it.
            (None, None) if line.status.is_some() => Err(NoRequest::Refused),
            (None, None) => Err(malformed("neither `url` nor `path`".to_owned())),
        }
    }

    /// A request as a client sends it: judged by the same rules as one from the wire.
    fn whole(url: &str, line: &Line<'_>) -> Result<Self, NoRequest> {
        let url: Uri = url.parse().map_err(|error| malformed(format!("`url`: {error}")))?;
        let target = url.path_and_query().map_or_else(|| Uri::from_static("/"), |target| Uri::from(target.clone()));
        let (mut parts, _) = head(line, target)?;
        if !parts.headers.contains_key(HOST) {
            let authority = url.authority().map_or("localhost", |authority| authority.as_str());
            parts.headers.extend(HeaderValue::from_str(authority).ok().map(|host| (HOST, host)));
        }
        let admitted = request::admit(&parts, &Limits::default(), &Policy::default());
        let host = admitted.map_err(|_| NoRequest::Refused)?.host.into_owned();
        Ok(Self { host, client: client(line), secure: url.scheme_str() == Some("https"), known: Known::All, parts })
    }

    /// A line of the access log: the router has admitted the request, the query is left out.
    fn logged(path: &str, line: &Line<'_>) -> Result<Self, NoRequest> {
        // A path that the log has cut, or in which it has shown what is not ASCII, is no path.
        let target = path.parse().map_err(|error| malformed(format!("`path`: {error}")))?;
        let (parts, known) = head(line, target)?;
        let host = line.host.as_deref().unwrap_or_default().to_owned();
        Ok(Self { host, client: client(line), secure: false, known: Known::Headers(known), parts })
    }

    /// What of it a decision may look at.
    pub(super) fn head(&self, now_unix_s: i64, fresh_key: fn() -> String) -> Head<'_> {
        Head {
            method: &self.parts.method,
            host: &self.host,
            path: self.parts.uri.path(),
            query: self.parts.uri.query(),
            headers: &self.parts.headers,
            client: self.client,
            secure: self.secure,
            certificate: None,
            now_unix_s,
            fresh_key,
        }
    }

    /// Whether it is known what the request has there, be it nothing.
    pub(super) fn knows(&self, attribute: &Attribute) -> bool {
        match (attribute, &self.known) {
            // No line has a certificate.
            (Attribute::Certificate(_), _) => false,
            (_, Known::All) => true,
            (Attribute::Header(name), Known::Headers(known)) => known.contains(name),
            (Attribute::Cookie(_), Known::Headers(known)) => known.contains(&COOKIE),
            (Attribute::Query(_), Known::Headers(_)) => false,
            _ => true,
        }
    }
}

/// The head, and the headers that the line speaks of.
fn head(line: &Line<'_>, target: Uri) -> Result<(Parts, Vec<HeaderName>), NoRequest> {
    let (mut parts, ()) = Request::new(()).into_parts();
    let method = line.method.as_deref().unwrap_or("GET");
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| malformed(format!("`method`: {method}")))?;
    parts.uri = target;
    let mut known = Vec::new();
    for (name, value) in line.headers.iter().flatten() {
        let wrong = || malformed(format!("`headers`: {name}"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        if let Some(value) = value {
            parts.headers.append(name.clone(), HeaderValue::from_str(value).map_err(|_| wrong())?);
        }
        known.push(name);
    }
    Ok((parts, known))
}

fn client(line: &Line<'_>) -> IpAddr {
    line.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn malformed(why: String) -> NoRequest {
    NoRequest::Malformed(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_request_has_no_secrets() {
        let line = br#"{"url": "https://Shop.Example:8443/s?q=1", "headers": {"X-User": "ada"}, "client": "::1"}"#;
        let asked = Asked::read(line).unwrap();
        let head = asked.head(0, String::new);
        assert_eq!((head.host, head.path, head.query, head.secure), ("shop.example", "/s", Some("q=1"), true));
        assert_eq!((head.method, head.client), (&Method::GET, "::1".parse().unwrap()));
        assert_eq!(head.headers["x-user"], "ada");
        for attribute in ["header:x-user", "header:x-tenant", "cookie:a", "query:b", "param:id", "client.ip"] {
            assert!(asked.knows(&Attribute::from_source(attribute).unwrap()), "{attribute}");
        }
        assert!(!asked.knows(&Attribute::from_source("client.certificate.subject").unwrap()));
    }

    #[test]
    fn of_a_logged_request_only_what_is_logged_is_known() {
        let line = br#"{"client":"192.0.2.7","method":"POST","host":"a","path":"/x","status":200,
            "headers":{"x-user":"ada","x-plan":null},"route":"r","generation":3}"#;
        let asked = Asked::read(line).unwrap();
        let known = |text: &str| asked.knows(&Attribute::from_source(text).unwrap());
        assert!(known("header:x-user") && known("header:x-plan") && known("path") && known("client.ip"));
        assert!(!known("header:x-tenant") && !known("cookie:a") && !known("query:a"));
        assert_eq!(asked.head(0, String::new).headers.len(), 1);
    }

    #[test]
    fn what_is_no_request_says_why() {
        let read = |line: &str| Asked::read(line.as_bytes()).unwrap_err();
        assert_eq!(read(r#"{"status": 400, "client": "::1"}"#), NoRequest::Refused);
        assert_eq!(read(r#"{"url": "/a", "method": "CONNECT"}"#), NoRequest::Refused);
        for (line, why) in [
            ("GET / HTTP/1.1", "expected"),
            ("{}", "neither"),
            (r#"{"url": "/a b"}"#, "`url`"),
            (r#"{"path": "/\\xff b"}"#, "`path`"),
            (r#"{"url": "/", "method": "G T"}"#, "`method`"),
            (r#"{"url": "/", "headers": {"a b": "c"}}"#, "`headers`"),
            (r#"{"url": "/", "client": "me"}"#, "client"),
        ] {
            let NoRequest::Malformed(found) = read(line) else { panic!("{line}") };
            assert!(found.contains(why) || found.contains("IP address"), "{line}: {found}");
        }
    }
}
