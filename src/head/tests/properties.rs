//! What holds for every head: no panic, and one reading of what is sent.

use http::{HeaderName, HeaderValue, Method, Response, Version, request};
use proptest::prelude::*;

use super::{context, get, peer};
use crate::head::request::{admit, prepare};
use crate::head::{Policy, Upgrade, http2, names, response, trailers};
use crate::limits::Limits;

const NAMES: [&str; 34] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "upgrade",
    "http2-settings",
    "trailer",
    "expect",
    "max-forwards",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "banyan-decision",
    "banyan-mirror",
    "cloudflare-workers-version-key",
    "traceparent",
    "tracestate",
    "sec-websocket-key",
    "sec-websocket-version",
    "content_length",
    "x_a",
    "x-a",
    "cookie",
    "set-cookie",
    "accept",
    "user-agent",
    "proxy-status",
    "date",
];

const VALUES: [&str; 26] = [
    "",
    "5",
    "0",
    "chunked",
    "close",
    "upgrade",
    "keep-alive, upgrade",
    "host, content-length",
    "x-a, te",
    "websocket",
    "h2c",
    "13",
    "dGhlIHNhbXBsZSBub25jZQ==",
    "100-continue",
    "trailers",
    "1.1 banyan",
    "1.1 banyan, 1.1 banyan",
    "a.example",
    "A.example:80",
    "[::1]:80",
    "u@a",
    "3",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "for=1.1.1.1",
    "transfer-encoding",
    ",",
];

fn name() -> impl Strategy<Value = HeaderName> {
    let any = "[!#$%&'*+.^_`|~0-9a-z-]{1,12}";
    prop_oneof![8 => proptest::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => any]
        .prop_map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap())
}

fn value() -> impl Strategy<Value = HeaderValue> {
    let any = proptest::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff, Just(b'\t')], 0..24);
    prop_oneof![6 => proptest::sample::select(&VALUES[..]).prop_map(|value| value.as_bytes().to_vec()), 1 => any]
        .prop_map(|value| HeaderValue::from_bytes(&value).unwrap())
}

fn fields(max: usize) -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    proptest::collection::vec((name(), value()), 0..max)
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        "/[!-~]{0,20}",
        "http://[a-zA-Z0-9.:@\\[\\]-]{1,12}[!-~]{0,12}",
        Just("*".to_owned()),
        "[a-z.]{1,8}(:[0-9]{1,5})?",
        Just("http://a.example/x".to_owned()),
    ]
}

fn head() -> impl Strategy<Value = request::Parts> {
    let method = proptest::sample::select(&["GET", "HEAD", "POST", "OPTIONS", "CONNECT", "TRACE", "BREW"][..]);
    let version = proptest::sample::select(&[Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][..]);
    (method, target(), fields(12), version, any::<bool>()).prop_filter_map(
        "the target must parse",
        |(method, target, fields, version, host)| {
            // Without a Host most heads would be refused at once.
            let mut parts = get(&[]);
            if !host {
                parts.headers.clear();
            }
            parts.uri = target.parse().ok()?;
            parts.method = Method::from_bytes(method.as_bytes()).unwrap();
            parts.version = version;
            for (name, value) in fields {
                parts.headers.append(name, value);
            }
            Some(parts)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_sent_upstream_has_one_reading(mut parts in head(), trusted: bool, websocket: bool, ends: bool, protocol: bool) {
        let mut policy = Policy::default();
        if trusted {
            policy.trusted = Box::new(["192.0.2.0/24".parse().unwrap()]);
        }
        let limits = Limits::default();
        let stream = http2::Stream { ends, protocol: protocol.then_some("websocket") };
        let is_2 = parts.version == Version::HTTP_2;
        let admitted =
            if is_2 { http2::admit(&parts, stream, &limits, &policy) } else { admit(&parts, &limits, &policy) };
        let Ok(admitted) = admitted else { return Ok(()) };
        prop_assert!(!admitted.host.bytes().any(|byte| byte.is_ascii_uppercase() || matches!(byte, b'@' | b'/' | b' ')));
        let facts = admitted.facts;
        let peer = peer(&policy);
        prepare(&mut parts, facts, &super::ForwardContext { websocket, ..context(&policy, &peer) }).copy_into(&mut parts.headers);

        let headers = &parts.headers;
        let count = |name: &str| headers.get_all(name).iter().count();
        prop_assert_eq!(count("host"), 1);
        prop_assert!(count("content-length") + count("transfer-encoding") <= 1);
        for gone in ["keep-alive", "proxy-connection", "http2-settings"] {
            prop_assert_eq!(count(gone), 0, "{}", gone);
        }
        prop_assert!(headers.keys().all(|name| !names::is_own(name.as_str()) && !name.as_str().contains('_')));
        let ours: Vec<_> = headers.get_all("connection").iter().map(HeaderValue::as_bytes).collect();
        let tunnel = websocket && facts.upgrade == Upgrade::WebSocket;
        match &ours[..] {
            [] => prop_assert!(count("te") == 0 && count("upgrade") == 0),
            [b"te"] => prop_assert!(headers["te"] == "trailers" && count("upgrade") == 0),
            [b"upgrade"] => prop_assert!(tunnel && headers["upgrade"] == "websocket" && count("te") == 0),
            other => prop_assert!(false, "{:?}", other),
        }
        for once in ["x-forwarded-for", "traceparent"] {
            prop_assert_eq!(count(once), 1, "{}", once);
        }
        prop_assert!(trusted || headers["x-forwarded-for"] == "192.0.2.7");
        prop_assert!(parts.uri.authority().is_none() && parts.uri.scheme().is_none());
        prop_assert_eq!(parts.version, Version::HTTP_11);
        prop_assert!(parts.method != Method::CONNECT);
        let framed = count("content-length") + count("transfer-encoding") == 1;
        prop_assert!(!is_2 || framed || ends || protocol, "a body without an end");
    }

    #[test]
    fn what_is_sent_downstream_has_no_hop_by_hop_field(fields in fields(12), status in 100_u16..1000, asked: bool, is_10: bool, method in 0_usize..3) {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = status.try_into().unwrap();
        parts.headers.extend(fields.iter().cloned().map(|(name, value)| (Some(name), value)));
        parts.version = if is_10 { Version::HTTP_10 } else { Version::HTTP_11 };
        let method = [Method::GET, Method::HEAD, Method::POST][method].clone();
        let asked = if asked { Upgrade::WebSocket } else { Upgrade::None };
        let Ok(facts) = response::admit(&parts, &method, asked) else { return Ok(()) };
        response::prepare(&mut parts, facts);

        let count = |name: &str| parts.headers.get_all(name).iter().count();
        prop_assert_eq!(count("transfer-encoding") + count("keep-alive") + count("proxy-connection"), 0);
        prop_assert_eq!(count("connection") + count("upgrade"), if facts.is_tunnel { 2 } else { 0 });
        prop_assert!(!facts.is_tunnel || asked == Upgrade::WebSocket);
        prop_assert!(count("content-length") <= usize::from(status != 204));
    }

    #[test]
    fn trailers_never_frame_or_route(fields in fields(12)) {
        let mut headers = http::HeaderMap::new();
        headers.extend(fields.into_iter().map(|(name, value)| (Some(name), value)));
        trailers::prepare(&mut headers);
        for gone in ["host", "content-length", "transfer-encoding", "connection", "banyan-decision", "forwarded", "set-cookie"] {
            prop_assert!(!headers.contains_key(gone));
        }
    }
}
