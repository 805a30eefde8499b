//! The header layer: what is admitted and sent on must be what we would admit ourselves, in one reading.

use banyan::forward::wire::request::RequestFraming;
use banyan::head::request::{self, BodyKind, ForwardContext, Upgrade};
use banyan::head::{Peer, Policy, TraceMode, response};
use banyan::limits::Limits;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};

use super::wire;

/// The lines of a head: the first, and the fields that an HTTP library would take.
fn lines(data: &[u8]) -> Option<(&str, HeaderMap)> {
    let mut lines = data.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    Some((first, headers))
}

fn version(word: Option<&str>) -> Version {
    if word == Some("HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 }
}

fn request_parts(data: &[u8]) -> Option<http::request::Parts> {
    let (line, headers) = lines(data)?;
    let mut words = line.split(' ');
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(words.next()?.as_bytes()).ok()?;
    parts.uri = words.next()?.parse().ok()?;
    parts.version = version(words.next());
    parts.headers = headers;
    Some(parts)
}

/// The ways in which a router may be set up that change what happens to a head.
fn policies() -> [Policy; 2] {
    let trusting = Policy {
        trusted: ["192.0.2.0/24".parse().expect("a network")].into(),
        forwarded: true,
        keep_underscore_fields: true,
        trace: TraceMode::Off,
        ..Policy::default()
    };
    [Policy::default(), trusting]
}

/// Admits and prepares a request head under each policy.
pub(super) fn request(data: &[u8]) {
    let Some(parts) = request_parts(data) else { return };
    for policy in policies() {
        let peer = Peer::new([192, 0, 2, 7].into(), false, &policy);
        for (websocket, host) in [(true, None), (false, Some(HeaderValue::from_static("rewritten.example")))] {
            let context = ForwardContext {
                policy: &policy,
                peer: &peer,
                host: host.as_ref(),
                host_default: "10.0.0.1:9000",
                websocket,
                random: || [0xab; 24],
            };
            let Ok(admitted) = request::admit(&parts, &Limits::default(), &policy) else { continue };
            assert_admitted(&parts, &admitted);
            let facts = admitted.facts;
            let mut sent = parts.clone();
            request::prepare(&mut sent, facts, &context).copy_into(&mut sent.headers);
            assert_sent(&parts, &sent, facts.body, &context);
            assert_forwarding(&sent, &context);
            wire::assert_written(&sent, RequestFraming::of(&sent.headers, facts.body != BodyKind::None));
        }
    }
}

/// What admission promises to those who route by it.
fn assert_admitted(parts: &http::request::Parts, admitted: &request::Admitted<'_>) {
    let host = &*admitted.host;
    assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase() || b"/@,\\ ?#".contains(&byte)), "{host:?}");
    assert!(!host.ends_with('.'), "{host:?}");
    assert!(!host.is_empty() || parts.version == Version::HTTP_10, "a request for no host: {parts:?}");
    assert!(!matches!(parts.method, Method::CONNECT | Method::TRACE), "{parts:?}");
    assert!(parts.headers.get_all(header::HOST).iter().count() <= 1);
    let unlike = |name: &str| name == "content_length" || name == "transfer_encoding";
    assert!(!parts.headers.keys().any(|name| unlike(name.as_str())), "a look-alike of a framing field: {parts:?}");
}

/// What an upstream is told, whatever was asked.
fn assert_sent(
    asked: &http::request::Parts,
    sent: &http::request::Parts,
    body: BodyKind,
    context: &ForwardContext<'_>,
) {
    let all = |name: HeaderName| sent.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(all(header::HOST).len(), 1, "{sent:?}");
    assert!(sent.uri.authority().is_none() && sent.uri.scheme().is_none(), "{sent:?}");
    assert_eq!(path(&sent.uri), path(&asked.uri), "{sent:?}");
    match body {
        BodyKind::None => assert!(all(header::CONTENT_LENGTH).is_empty() && all(header::TRANSFER_ENCODING).is_empty()),
        BodyKind::Sized(bytes) => {
            let lengths = all(header::CONTENT_LENGTH);
            let [length] = &lengths[..] else { panic!("{sent:?}") };
            assert_eq!(length.to_str().ok().and_then(|length| length.parse().ok()), Some(bytes));
            assert!(all(header::TRANSFER_ENCODING).is_empty(), "{sent:?}");
        }
        BodyKind::Chunked => {
            assert!(
                all(header::TRANSFER_ENCODING) == ["chunked"] && all(header::CONTENT_LENGTH).is_empty(),
                "{sent:?}"
            );
        }
    }
    let connection = all(header::CONNECTION);
    assert!(connection.is_empty() || connection == ["upgrade"] || connection == ["te"], "{sent:?}");
    assert_eq!(connection == ["upgrade"], all(header::UPGRADE) == ["websocket"], "{sent:?}");
    assert_eq!(connection == ["te"], all(header::TE) == ["trailers"], "{sent:?}");
    assert!(context.websocket || connection != ["upgrade"], "{sent:?}");
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        assert!(!sent.headers.contains_key(name), "{name} in {sent:?}");
    }
    for name in sent.headers.keys().map(HeaderName::as_str) {
        assert!(!name.starts_with("banyan-") && name != "cloudflare-workers-version-key", "{name} in {sent:?}");
        assert!(context.policy.keep_underscore_fields || !name.contains('_'), "{name} in {sent:?}");
    }
    assert_readmitted(sent, body);
}

/// What a URI says beyond its authority, byte for byte.
fn path(uri: &http::Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}

/// A router behind this one, of another name, must read the same request in what is sent.
fn assert_readmitted(sent: &http::request::Parts, body: BodyKind) {
    let behind = Policy { via: None, ..Policy::default() };
    // Our own fields add to the head, so that the limits may not hold any more.
    let limits =
        Limits { head_bytes_max: 0, field_bytes_max: 0, fields_max: 0, target_bytes_max: 0, ..Limits::default() };
    match request::admit(sent, &limits, &behind) {
        Ok(again) => assert_eq!(again.facts.body, body, "{sent:?}"),
        // A Host override or the endpoint's address always reads; an HTTP/1.0 client's empty Host is ours to send.
        Err(fault) => panic!("{fault:?}: {sent:?}"),
    }
}

/// What upstreams are told about the client and the way.
fn assert_forwarding(sent: &http::request::Parts, context: &ForwardContext<'_>) {
    let values = |name: &str| sent.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    let addresses = values("x-forwarded-for");
    let [address] = &addresses[..] else { panic!("{sent:?}") };
    assert!(address.as_bytes().ends_with(b"192.0.2.7"), "{sent:?}");
    if !context.peer.is_trusted() {
        assert_eq!(address, "192.0.2.7", "{sent:?}");
        assert_eq!(values("x-forwarded-proto"), ["http"], "{sent:?}");
        let known = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
        let strange = |name: &str| name.starts_with("x-forwarded-") && !known.contains(&name);
        assert!(!sent.headers.keys().any(|name| strange(name.as_str())), "{sent:?}");
        let forwarded = values("forwarded");
        assert!(forwarded.is_empty() || forwarded == ["for=192.0.2.7;proto=http"], "{sent:?}");
    }
    let via = values("via");
    assert!(via.last().is_some_and(|last| last == "1.1 banyan" || last == "1.0 banyan"), "{sent:?}");
}

/// Admits and prepares a response head; the method and what was asked follow from the first bytes.
pub(super) fn response(data: &[u8]) {
    let Some((line, headers)) = lines(data) else { return };
    let mut words = line.split(' ');
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.version = version(words.next());
    let Some(status) = words.next().and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok()) else { return };
    parts.status = status;
    parts.headers = headers;
    for method in [Method::GET, Method::HEAD] {
        for asked in [Upgrade::None, Upgrade::WebSocket] {
            let Ok(facts) = response::admit(&parts, &method, asked) else { continue };
            assert!(!facts.is_tunnel || (asked == Upgrade::WebSocket && status == StatusCode::SWITCHING_PROTOCOLS));
            assert!(facts.is_tunnel || !status.is_informational(), "{parts:?}");
            let mut passed = parts.clone();
            response::prepare(&mut passed, facts);
            assert_passed(&parts, &passed, facts.is_tunnel);
        }
    }
}

/// What a client is told, whatever the upstream said.
fn assert_passed(said: &http::response::Parts, passed: &http::response::Parts, is_tunnel: bool) {
    assert!(passed.version == Version::HTTP_11 && passed.status == said.status);
    assert!(!passed.headers.contains_key(header::TRANSFER_ENCODING), "{passed:?}");
    let all = |name: HeaderName| passed.headers.get_all(name).iter().collect::<Vec<_>>();
    let lengths = all(header::CONTENT_LENGTH);
    assert!(lengths.len() <= 1, "{passed:?}");
    for length in lengths {
        assert!(length.as_bytes().iter().all(u8::is_ascii_digit), "{passed:?}");
        assert!(passed.status != StatusCode::NO_CONTENT && !is_tunnel, "{passed:?}");
    }
    assert_eq!(all(header::CONNECTION) == ["upgrade"], is_tunnel, "{passed:?}");
    assert_eq!(all(header::UPGRADE) == ["websocket"], is_tunnel, "{passed:?}");
    for name in ["keep-alive", "proxy-connection", "http2-settings", "te"] {
        assert!(!passed.headers.contains_key(name), "{name} in {passed:?}");
    }
    let cookies = |headers: &HeaderMap| headers.get_all(header::SET_COOKIE).iter().cloned().collect::<Vec<_>>();
    let named =
        |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().windows(10).any(|part| part == b"set-cookie");
    if !said.headers.get_all(header::CONNECTION).iter().any(named) {
        assert_eq!(cookies(&passed.headers), cookies(&said.headers), "cookies stay apart and in order");
    }
}
