//! Tests of what a copy looks like on its way.

use std::sync::Arc;

use super::*;
use crate::mirror::KEY_BYTES;
use crate::mirror::record::{Body, CopyId};
use crate::route::PathTemplate;
use crate::snapshot::{EntityPart, EntityRule, Naming};
use crate::upstream::{AllUnhealthy, CopyPace, Ejection, Endpoint, Protocol, Rewrite, Timeouts};

fn upstream(rewrite: Rewrite) -> Upstream {
    let endpoint =
        Endpoint { authority: "orders:9002".into(), host: "orders".into(), port: 9002, addresses: [].into() };
    Upstream {
        name: "orders".into(),
        endpoints: [Arc::new(endpoint)].into(),
        timeouts: Timeouts::default(),
        slo_p99_ms: 0,
        connections_max: 1,
        requests_max: 0,
        copies: CopyPace::default(),
        health: None,
        ejection: Ejection::default(),
        slow_start_ms: 0,
        all_unhealthy: AllUnhealthy::default(),
        version_key: false,
        allow_public: false,
        rewrite,
        tls: None,
        protocol: Protocol::default(),
        proxy_protocol: None,
    }
}

fn intent(method: &str, target: &str, headers: &[(&str, &'static str)]) -> Intent {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), Bytes::from_static(value.as_bytes())));
    Intent {
        destination: "orders".into(),
        id: CopyId(7),
        primary: "monolith".into(),
        route: "orders".into(),
        epoch: 1,
        unix_ms: 1,
        entity: None,
        method: method.into(),
        target: target.into(),
        key: "\"k 1\"".into(),
        hops: "".into(),
        headers: headers.collect(),
        body: Body::Inline(Vec::new()),
    }
}

fn rules(carry_id: Option<IdCarrier>) -> CopyRules {
    let entity = EntityRule::Template([EntityPart::Parameter("id".into())].into());
    let path = PathTemplate::parse("/orders/{*id}").unwrap();
    CopyRules { entity, created: Some(Naming::Location), carry_id, ..CopyRules::new(path) }
}

/// The copy of a write; all that it says of itself is in its map.
fn copy(intent: &Intent, rules: &CopyRules, rewrite: Rewrite, body: &'static str, created: Option<&str>) -> Question {
    let marker = Marker::new(&[1; KEY_BYTES], "here");
    let writer = Writer { intent, rules, marker: &marker, vault: None };
    let mut sent = writer.copy(&upstream(rewrite), Bytes::from_static(body.as_bytes()), created, None).unwrap();
    sent.fields.copy_into(&mut sent.headers);
    sent
}

#[test]
fn a_copy_is_the_write_with_its_key_its_mark_and_its_length() {
    let intent = intent("PUT", "/orders/1?a=b", &[("content-type", "text/plain"), ("accept", "a"), ("accept", "b")]);
    let sent = copy(&intent, &rules(None), Rewrite::default(), "hello", None);
    assert_eq!((&sent.method, sent.target.as_str(), &*sent.body), (&Method::PUT, "/orders/1?a=b", b"hello".as_slice()));
    let value = |name: &str| sent.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(value("idempotency-key"), Some("\"k 1\""));
    assert_eq!((value("content-length"), value("content-type")), (Some("5"), Some("text/plain")));
    assert_eq!((value("host"), sent.headers.get_all("accept").iter().count()), (Some("orders:9002"), 2));
    assert!(value("banyan-mirror").unwrap().contains("hops=\"here\""));
}

#[test]
fn what_the_primary_has_judged_is_not_asked_again() {
    let headers = [("if-match", "\"1\""), ("if-none-match", "*"), ("accept-encoding", "br"), ("host", "shop.example")];
    let sent = copy(&intent("PUT", "/orders/1", &headers), &rules(None), Rewrite::default(), "", None);
    assert!(["if-match", "if-none-match", "accept-encoding"].iter().all(|name| !sent.headers.contains_key(*name)));
    assert_eq!(sent.headers["host"], "shop.example");
    assert_eq!(sent.headers["content-length"], "0");
}

#[test]
fn the_destinations_rewrite_applies() {
    let rewrite = Rewrite {
        host: Some(HeaderValue::from_static("orders.internal")),
        path_prefix: Some(("/orders".into(), "/v2/orders".into())),
        set_headers: [(HeaderName::from_static("x-side"), HeaderValue::from_static("modern"))].into(),
        remove_headers: [HeaderName::from_static("x-user")].into(),
    };
    let intent = intent("PUT", "/orders/1?a", &[("x-user", "ada"), ("host", "shop.example")]);
    let sent = copy(&intent, &rules(None), rewrite, "", None);
    assert_eq!(
        (sent.target.as_str(), sent.headers["host"].as_bytes()),
        ("/v2/orders/1?a", b"orders.internal".as_slice())
    );
    assert!(sent.headers["x-side"] == "modern" && !sent.headers.contains_key("x-user"));
}

#[test]
fn an_id_goes_along_in_each_form() {
    let create = intent("POST", "/orders?x=1", &[]);
    let sent = |carrier| copy(&create, &rules(Some(carrier)), Rewrite::default(), r#"{"a":{"b":1}}"#, Some("1 7"));
    let path = sent(IdCarrier::Path);
    assert_eq!((&path.method, path.target.as_str()), (&Method::PUT, "/orders/1%207?x=1"));
    let header = sent(IdCarrier::Header(HeaderName::from_static("x-id")));
    assert_eq!((&header.method, header.headers["x-id"].as_bytes()), (&Method::POST, b"1 7".as_slice()));
    let json = sent(IdCarrier::Json("/a/id".into()));
    assert_eq!(&*json.body, br#"{"a":{"b":1,"id":"1 7"}}"#);
    assert_eq!(json.headers["content-length"], json.body.len().to_string());
    assert_eq!(&*with_id(b"{}", "/id", "17").unwrap(), br#"{"id":17}"#);
    assert_eq!(&*with_id(b"{}", "/a~1b", "007").unwrap(), br#"{"a/b":"007"}"#);
    assert!(with_id(b"no", "/id", "1").is_err() && with_id(b"[]", "/id", "1").is_err());
}

#[test]
fn bodies_are_compared_as_json() {
    assert!(is_same(br#"{"a":1,"b":[2]}"#, br#"{"b":[2], "a":1}"#) && !is_same(br#"{"a":1}"#, br#"{"a":2}"#));
    assert!(is_same(b"text", b"text") && !is_same(b"text", b"other"));
    assert!(holds(br#"{"id":1,"a":{"x":1,"y":2}}"#, br#"{"a":{"x":1}}"#));
    assert!(!holds(br#"{"id":1}"#, br#"{"a":1}"#) && !holds(br#"{"a":[1,2]}"#, br#"{"a":[1]}"#));
}
