//! Heads of streams: rules H8 and H9, and the handshake that stands for an extended CONNECT.

use http::{HeaderValue, Method, Response, StatusCode, Version, request};

use super::{context, fields_of, head, lines, peer};
use crate::fault::Fault;
use crate::head::http2::{Stream, admit, prepare_response};
use crate::head::request::{BodyKind, Upgrade, prepare};
use crate::head::websocket::accept;
use crate::head::{Facts, Policy};
use crate::limits::Limits;

const ENDS: Stream<'_> = Stream { ends: true, protocol: None };
const GOES_ON: Stream<'_> = Stream { ends: false, protocol: None };
const WEBSOCKET: Stream<'_> = Stream { ends: false, protocol: Some("websocket") };

fn head_2(method: &str, path: &str, fields: &[(&str, &str)]) -> request::Parts {
    let mut parts = head(method, &format!("http://a.example{path}"), fields);
    parts.version = Version::HTTP_2;
    parts
}

fn judge(parts: &request::Parts, stream: Stream<'_>) -> Result<Facts, Fault> {
    admit(parts, stream, &Limits::default(), &Policy::default()).map(|admitted| admitted.facts)
}

fn sent(mut parts: request::Parts, stream: Stream<'_>) -> request::Parts {
    let policy = Policy::default();
    let facts = judge(&parts, stream).unwrap();
    prepare(&mut parts, facts, &context(&policy, &peer(&policy))).copy_into(&mut parts.headers);
    parts
}

#[test]
fn h8_authority_and_host_must_agree() {
    for (host, fine) in [("a.example", true), ("A.EXAMPLE:80", true), ("b.example", false), ("a.example:8080", false)] {
        assert_eq!(judge(&head_2("GET", "/", &[("host", host)]), ENDS).is_ok(), fine, "{host}");
    }
    let mut without = head("GET", "/", &[]);
    without.version = Version::HTTP_2;
    assert_eq!(judge(&without, ENDS), Err(Fault::RequestMalformed));
}

#[test]
fn h8_fields_for_one_connection_are_malformed() {
    for field in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("te", "trailers, gzip"),
        ("te", ""),
    ] {
        assert_eq!(judge(&head_2("GET", "/", &[field]), ENDS), Err(Fault::RequestMalformed), "{field:?}");
    }
    assert!(judge(&head_2("GET", "/", &[("te", "trailers")]), ENDS).is_ok());
}

#[test]
fn h9_the_body_is_framed_by_length_or_by_the_stream() {
    let kind =
        |method, fields: &[(&str, &str)], stream| judge(&head_2(method, "/", fields), stream).map(|facts| facts.body);
    let length = |text| [("content-length", text)];
    assert_eq!(kind("GET", &[], ENDS), Ok(BodyKind::None));
    assert_eq!(kind("POST", &[], ENDS), Ok(BodyKind::Sized(0)));
    assert_eq!(kind("GET", &[], GOES_ON), Ok(BodyKind::Chunked));
    assert_eq!(kind("POST", &length("5"), GOES_ON), Ok(BodyKind::Sized(5)));
    assert_eq!(kind("POST", &length("5"), ENDS), Err(Fault::RequestMalformed));
    assert_eq!(kind("POST", &length("+5"), GOES_ON), Err(Fault::RequestMalformed));
    let framing =
        |parts: request::Parts| (lines(&parts.headers, "content-length"), lines(&parts.headers, "transfer-encoding"));
    assert_eq!(framing(sent(head_2("PUT", "/", &[]), ENDS)), ("0".into(), String::new()));
    assert_eq!(framing(sent(head_2("GET", "/", &[]), ENDS)), (String::new(), String::new()));
    assert_eq!(framing(sent(head_2("PUT", "/", &[]), GOES_ON)), (String::new(), "chunked".into()));
    assert_eq!(framing(sent(head_2("PUT", "/", &length("5")), GOES_ON)), ("5".into(), String::new()));
}

#[test]
fn cookies_are_joined() {
    let sent = sent(head_2("GET", "/", &[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2")]), ENDS);
    assert_eq!(lines(&sent.headers, "cookie"), "a=1; b=2");
}

#[test]
fn an_extended_connect_becomes_a_handshake() {
    let mut parts = head_2("CONNECT", "/chat", &[("sec-websocket-version", "13"), ("sec-websocket-key", "theirs")]);
    assert_eq!(judge(&parts, GOES_ON), Err(Fault::MethodRefused));
    assert_eq!(judge(&parts, Stream { protocol: Some("connect-udp"), ..GOES_ON }), Err(Fault::MethodRefused));
    assert_eq!(judge(&parts, Stream { ends: true, ..WEBSOCKET }), Err(Fault::RequestMalformed));
    let policy = Policy::default();
    let facts = judge(&parts, WEBSOCKET).unwrap();
    assert_eq!((facts.upgrade, facts.body), (Upgrade::WebSocket, BodyKind::None));
    prepare(&mut parts, facts, &context(&policy, &peer(&policy))).copy_into(&mut parts.headers);
    assert_eq!((&parts.method, parts.uri.path()), (&Method::GET, "/chat"));
    assert_eq!(lines(&parts.headers, "upgrade"), "websocket");
    assert_eq!(lines(&parts.headers, "sec-websocket-key"), "q6urq6urq6urq6urq6urqw==");
    let other = Stream { protocol: Some("websocket"), ends: false };
    assert_eq!(judge(&head_2("GET", "/", &[("sec-websocket-version", "8")]), other), Err(Fault::RequestMalformed));
}

#[test]
fn a_switch_is_200_to_a_stream() {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = StatusCode::SWITCHING_PROTOCOLS;
    let key = HeaderValue::from_static("q6urq6urq6urq6urq6urqw==");
    parts.headers =
        fields_of(&[("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-protocol", "chat")]);
    parts.headers.insert("sec-websocket-accept", accept(&key));
    prepare_response(&mut parts);
    assert_eq!((parts.status, parts.version), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(parts.headers, fields_of(&[("sec-websocket-protocol", "chat")]));
}
