//! Responses and trailers.

use http::{Method, Response, response};

use super::{fields_of, lines};
use crate::fault::Fault;
use crate::head::Upgrade;
use crate::head::response::{Facts, admit, prepare};
use crate::head::trailers;

fn head(status: u16, fields: &[(&str, &str)]) -> response::Parts {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status.try_into().unwrap();
    parts.headers = fields_of(fields);
    parts
}

fn judge(method: Method, status: u16, fields: &[(&str, &str)]) -> Result<Facts, Fault> {
    admit(&head(status, fields), &method, Upgrade::None)
}

fn passed(method: Method, status: u16, fields: &[(&str, &str)]) -> response::Parts {
    let mut parts = head(status, fields);
    let facts = admit(&parts, &method, Upgrade::None).unwrap();
    prepare(&mut parts, facts);
    parts
}

#[test]
fn u2_bad_or_double_content_length() {
    for fields in [
        &[("content-length", "+5")][..],
        &[("content-length", "")],
        &[("content-length", "5, 5")],
        &[("content-length", "5"), ("content-length", "6")],
        &[("content-length", "5"), ("content-length", "5")],
    ] {
        assert_eq!(judge(Method::GET, 200, fields), Err(Fault::ResponseMalformed), "{fields:?}");
        assert_eq!(judge(Method::HEAD, 200, fields), Err(Fault::ResponseMalformed), "{fields:?}");
    }
}

#[test]
fn u3_chunked_wins_over_content_length() {
    let parts = passed(Method::GET, 200, &[("content-length", "5"), ("transfer-encoding", "chunked")]);
    assert!(!parts.headers.contains_key("content-length") && !parts.headers.contains_key("transfer-encoding"));
}

#[test]
fn u3_other_codings_are_not_passed_off_as_plain() {
    for value in ["gzip", "gzip, chunked", "chunked, chunked", ""] {
        assert_eq!(
            judge(Method::GET, 200, &[("transfer-encoding", value)]),
            Err(Fault::ResponseMalformed),
            "{value:?}"
        );
    }
    let twice = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
    assert_eq!(judge(Method::GET, 200, &twice), Err(Fault::ResponseMalformed));
    assert!(judge(Method::HEAD, 200, &[("transfer-encoding", "gzip, chunked")]).is_ok());
}

#[test]
fn p1_p2_hop_by_hop_fields_of_answers_go() {
    let parts = passed(
        Method::GET,
        426,
        &[
            ("connection", "x-a, close"),
            ("x-a", "1"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("proxy-connection", "x"),
            ("etag", "e"),
        ],
    );
    let left: Vec<_> = parts.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(left, ["etag"]);
}

#[test]
fn p7_a_101_must_have_been_asked_for_and_match() {
    let right = [("connection", "Upgrade"), ("upgrade", "websocket")];
    assert_eq!(judge(Method::GET, 101, &right), Err(Fault::ResponseMalformed));
    let asked = |fields| admit(&head(101, fields), &Method::GET, Upgrade::WebSocket);
    assert!(asked(&right).unwrap().is_tunnel);
    assert_eq!(asked(&[("connection", "upgrade"), ("upgrade", "h2c")]), Err(Fault::ResponseMalformed));
    assert_eq!(asked(&[("connection", "upgrade")]), Err(Fault::ResponseMalformed));
    assert_eq!(asked(&[("upgrade", "websocket")]), Err(Fault::ResponseMalformed));
    assert_eq!(asked(&[right[0], right[1], right[1]]), Err(Fault::ResponseMalformed));
    let plain = admit(&head(200, &right), &Method::GET, Upgrade::WebSocket).unwrap();
    assert!(!plain.is_tunnel);
    let mut parts = head(101, &[right[0], right[1], ("content-length", "5"), ("sec-websocket-accept", "x")]);
    let facts = admit(&parts, &Method::GET, Upgrade::WebSocket).unwrap();
    prepare(&mut parts, facts);
    assert_eq!(lines(&parts.headers, "connection"), "upgrade");
    assert_eq!(lines(&parts.headers, "upgrade"), "websocket");
    assert_eq!(lines(&parts.headers, "sec-websocket-accept"), "x");
    assert!(!parts.headers.contains_key("content-length"));
}

#[test]
fn p11_another_1xx_is_not_an_answer() {
    for status in [100, 102, 103, 199] {
        assert_eq!(judge(Method::GET, status, &[]), Err(Fault::ResponseMalformed));
    }
}

#[test]
fn p15_lengths_where_there_is_no_body() {
    assert!(!passed(Method::GET, 204, &[("content-length", "0")]).headers.contains_key("content-length"));
    assert_eq!(lines(&passed(Method::GET, 304, &[("content-length", "7")]).headers, "content-length"), "7");
    assert_eq!(lines(&passed(Method::HEAD, 200, &[("content-length", "7")]).headers, "content-length"), "7");
}

#[test]
fn p16_set_cookie_lines_keep_their_order() {
    let fields = [
        ("set-cookie", "a=1"),
        ("connection", "close"),
        ("set-cookie", "b=2"),
        ("keep-alive", "x"),
        ("set-cookie", "c=3"),
    ];
    assert_eq!(lines(&passed(Method::GET, 200, &fields).headers, "set-cookie"), "a=1 | b=2 | c=3");
}

#[test]
fn p17_own_version() {
    let mut parts = head(200, &[]);
    parts.version = http::Version::HTTP_10;
    let facts = admit(&parts, &Method::GET, Upgrade::None).unwrap();
    prepare(&mut parts, facts);
    assert_eq!(parts.version, http::Version::HTTP_11);
}

#[test]
fn p14_forbidden_trailers_are_dropped() {
    let mut fields = fields_of(&[
        ("x-checksum", "1"),
        ("grpc-status", "0"),
        ("content-length", "5"),
        ("host", "x"),
        ("banyan-decision", "x"),
        ("x-forwarded-for", "x"),
        ("content_length", "5"),
    ]);
    trailers::prepare(&mut fields);
    let left: Vec<_> = fields.keys().map(|name| name.as_str()).collect();
    assert_eq!(left, ["x-checksum", "grpc-status"]);
}
