//! Reads: overrides, history, generations, events, the document, entity tags.

use banyan::control::Action;
use serde_json::Value;

use super::{assert_problem, get, json, post, send, token};
use crate::override_commands::{Plane, kill, revive};
use crate::support::Wire;

#[test]
fn what_lies_over_the_files_is_shown_with_a_tag() {
    let plane = Plane::start();
    plane.give(kill("side"));
    let answer = get(&plane, "/api/v1/overrides");
    assert_eq!(json(&answer)["flags"]["side"]["kill"]["who"], "ada");
    let tag = answer.field("etag");
    let again = |tag: &str| {
        let fields = format!("authorization: Bearer {}\r\nif-none-match: {tag}\r\n", token(&plane));
        send(&plane, "GET /api/v1/overrides", &fields, "")
    };
    let known = again(&tag);
    assert_eq!((known.status(), known.body.len(), known.field("etag")), (304, 0, tag.clone()));
    plane.give(revive("side"));
    let changed = again(&tag);
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.field("etag"), tag);
}

#[test]
fn the_history_is_read_backwards_in_pages() {
    let plane = Plane::start();
    for _ in 0..3 {
        plane.give(kill("side"));
        plane.give(kill("other"));
    }
    let page = |query: &str| json(&get(&plane, &format!("/api/v1/history{query}")));
    let numbers = |page: &Value| -> Vec<u64> {
        page["entries"].as_array().unwrap().iter().map(|entry| entry["number"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&page("")), [7, 6, 5, 4, 3, 2, 1]);
    let first = page("?limit=3");
    assert_eq!((numbers(&first), first["next"].as_u64()), (vec![7, 6, 5], Some(5)));
    let last = page("?limit=5&before=5");
    assert_eq!((numbers(&last), last["next"].as_u64()), (vec![4, 3, 2, 1], None));
    assert_eq!(numbers(&page("?flag=side")), [6, 4, 2]);
    let entry = json(&get(&plane, "/api/v1/history/6"));
    assert_eq!((&entry["action"], &entry["flag"]), (&Action::Kill.as_str().into(), &"side".into()));
    for number in ["99", "0", "x", "-1", "18446744073709551615"] {
        assert_problem(&get(&plane, &format!("/api/v1/history/{number}")), 404, "absent");
    }
    for query in ["limit=0", "limit=1001", "limit=x", "before=", "limit=1&limit=2", "page=1"] {
        assert_problem(&get(&plane, &format!("/api/v1/history?{query}")), 400, "malformed");
    }
}

#[test]
fn generations_say_what_can_be_restored() {
    let plane = Plane::start();
    plane.give(kill("side"));
    let shown = json(&get(&plane, "/api/v1/generations"));
    assert_eq!(shown, serde_json::json!({"generation": 2, "restored": null, "restorable": [1]}));
}

#[test]
fn events_tell_of_each_change() {
    let plane = Plane::start();
    let mut wire = Wire::connect(plane.handle.address());
    let token = token(&plane);
    wire.send(format!("GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"));
    assert_eq!(wire.head().field("content-type"), "text/event-stream");
    let mut next = || loop {
        let text = String::from_utf8(wire.chunk()).unwrap();
        if let Some((_, data)) = text.split_once("event: change\ndata: ") {
            return serde_json::from_str::<Value>(data.trim()).unwrap()["generation"].as_u64().unwrap();
        }
    };
    assert_eq!(next(), 1);
    plane.give(kill("side"));
    assert_eq!(next(), 2);
    assert_eq!(post(&plane, "/api/v1/kill-all", r#"{"reason": "x"}"#).status(), 200);
    assert_eq!(next(), 3);
}

#[test]
fn other_paths_and_methods_are_problems() {
    let plane = Plane::start();
    assert_problem(&get(&plane, "/api/v1/nothing"), 404, "no-such-path");
    assert_problem(&get(&plane, "/api/v2/overrides"), 404, "no-such-path");
    let answer = get(&plane, "/api/v1/kill-all");
    assert_problem(&answer, 405, "other-methods");
    assert_eq!(answer.field("allow"), "POST");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let fields = format!("authorization: Bearer {}\r\n", token(&plane));
        let answer = send(&plane, &format!("{method} /api/v1/overrides"), &fields, "");
        assert_problem(&answer, 405, "other-methods");
        assert_eq!(answer.field("allow"), "GET, HEAD");
    }
    let fields = format!("authorization: Bearer {}\r\n", token(&plane));
    let head = send(&plane, "HEAD /api/v1/overrides", &fields, "");
    assert_eq!((head.status(), head.body.len()), (200, 0));
}

#[test]
fn the_document_is_there_without_a_token() {
    let plane = Plane::start();
    let answer = send(&plane, "GET /openapi.json", "", "");
    assert_eq!((answer.status(), json(&answer)["openapi"].as_str()), (200, Some("3.1.0")));
}
