//! The protocol: values, reasons, metadata, entity tags, errors and limits.

use serde_json::{Value, json};

use super::{ask, evaluate, evaluate_all, json, plane, post, post_with};
use crate::override_commands::Plane;
use crate::support::Wire;
use banyan::control::Command;

const FLAGS: &str = r#"
metadata: {team: shop, critical: true}
flags:
  text: {state: ENABLED, variants: {a: left, b: right}, defaultVariant: a, metadata: {owner: ada, rank: 3}}
  truth: {state: ENABLED, variants: {"on": true, "off": false}, defaultVariant: "off"}
  count: {state: ENABLED, variants: {few: 3, many: 1000}, defaultVariant: many}
  ratio: {state: ENABLED, variants: {half: 0.5}, defaultVariant: half}
  shape: {state: ENABLED, variants: {one: {a: [1, {b: null}]}}, defaultVariant: one}
  dark: {state: DISABLED, variants: {a: a}, defaultVariant: a}
  open: {state: ENABLED, variants: {a: a}, defaultVariant: null}
  broken: {state: ENABLED, variants: {a: a}, defaultVariant: a, targeting: {cat: [b, {var: end}]}}
  ruled: {state: ENABLED, variants: {a: a, b: b}, defaultVariant: a, targeting: {if: [{"==": [{var: tenant}, acme]}, b]}}
  "odd/key é": {state: ENABLED, variants: {a: a}, defaultVariant: a}
"#;

const ROUTES: &str = "context: {tenant: \"header:x-tenant\"}\nupstreams: {one: {endpoints: [\"http://127.0.0.1:9\"]}}\nroutes:\n  - {name: all, match: {path: \"/{*rest}\"}, upstream: one}\n";

fn start() -> Plane {
    plane(FLAGS, ROUTES)
}

#[test]
fn each_type_of_value_comes_with_variant_reason_and_metadata() {
    let plane = start();
    let address = plane.handle.address();
    let (status, text) = evaluate(address, "text", &json!({}));
    assert_eq!(status, 200);
    let set = json!({"team": "shop", "critical": true, "owner": "ada", "rank": 3, "banyan.generation": 1, "banyan.hashing": "v3"});
    assert_eq!(text, json!({"key": "text", "reason": "STATIC", "variant": "a", "value": "left", "metadata": set}));
    for (key, value) in [
        ("truth", json!(false)),
        ("count", json!(1000)),
        ("ratio", json!(0.5)),
        ("shape", json!({"a": [1, {"b": null}]})),
    ] {
        assert_eq!(evaluate(address, key, &json!({})).1["value"], value, "{key}");
    }
    let (_, ruled) = evaluate(address, "ruled", &json!({"tenant": "acme"}));
    assert_eq!((&ruled["variant"], &ruled["reason"]), (&json!("b"), &json!("TARGETING_MATCH")));
    let (_, ruled) = evaluate(address, "ruled", &json!({"header": {"X-Tenant": "acme"}}));
    assert_eq!(ruled["variant"], "b", "context: of the route files applies");
    let (_, ruled) = evaluate(address, "ruled", &json!({"tenant": "other"}));
    assert_eq!((&ruled["variant"], &ruled["reason"]), (&json!("a"), &json!("DEFAULT")));
}

#[test]
fn a_code_default_has_no_value_and_no_variant() {
    let plane = start();
    for (key, reason) in [("dark", "DISABLED"), ("open", "DEFAULT")] {
        let (status, answer) = evaluate(plane.handle.address(), key, &json!({}));
        assert_eq!((status, &answer["reason"]), (200, &json!(reason)));
        assert!(answer.get("value").is_none() && answer.get("variant").is_none(), "{answer}");
    }
    plane.give(Command::Kill { flag: "text".to_owned() });
    let (_, killed) = evaluate(plane.handle.address(), "text", &json!({}));
    assert_eq!((&killed["reason"], killed.get("value")), (&json!("DISABLED"), None));
    assert_eq!(
        (&killed["metadata"]["banyan.override"], &killed["metadata"]["banyan.generation"]),
        (&json!("kill"), &json!(2))
    );
}

#[test]
fn keys_are_decoded_and_unknown_ones_are_not_found() {
    let plane = start();
    let address = plane.handle.address();
    for key in ["odd%2Fkey%20%C3%A9", "odd/key%20%c3%a9"] {
        assert_eq!(evaluate(address, key, &json!({})).1["key"], "odd/key é");
    }
    for (asked, key) in [("none", "none"), ("", ""), ("text%2F", "text/"), ("%22%0a", "\"\n")] {
        let (status, answer) = evaluate(address, asked, &json!({}));
        assert_eq!((status, &answer["errorCode"], &answer["key"]), (404, &json!("FLAG_NOT_FOUND"), &json!(key)));
        assert!(answer["errorDetails"].is_string());
    }
}

#[test]
fn all_flags_come_at_once_each_as_it_comes_alone() {
    let plane = start();
    let address = plane.handle.address();
    let context = json!({"tenant": "acme"});
    let all = evaluate_all(address, &context);
    assert_eq!(all["metadata"], json!({"banyan.generation": 1, "banyan.hashing": "v3"}));
    let stream = json!([{"type": "sse", "endpoint": {"requestUri": "/ofrep/v1/events"}, "inactivityDelaySec": 120}]);
    assert_eq!(all["eventStreams"], stream);
    let flags = all["flags"].as_array().unwrap();
    assert_eq!(flags.len(), 10);
    for flag in flags {
        let key = flag["key"].as_str().unwrap();
        let (status, mut alone) = evaluate(address, &key.replace(' ', "%20").replace('é', "%C3%A9"), &context);
        if let Some(Value::Object(metadata)) = alone.get_mut("metadata") {
            metadata.retain(|name, _| !name.starts_with("banyan."));
        }
        assert_eq!(*flag, alone);
        assert_eq!(status, if key == "broken" { 400 } else { 200 });
    }
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    let plane = start();
    let address = plane.handle.address();
    let get = |tag: &str, path: &str, context: &str| {
        let body = format!("{{\"context\": {context}}}");
        ask(address, &post_with(path, &format!("if-none-match: {tag}\r\n"), &body))
    };
    let first = get("\"\"", "evaluate/flags", r#"{"tenant": "acme"}"#);
    assert_eq!(first.status(), 200);
    let tag = first.field("etag");
    assert!(tag.starts_with("W/\""), "{tag}");
    for held in [tag.as_str(), tag.trim_start_matches("W/"), "*", &format!("\"a\", {tag}")] {
        let again = get(held, "evaluate/flags", r#"{"tenant": "acme"}"#);
        assert_eq!((again.status(), again.body.len(), again.field("etag")), (304, 0, tag.clone()), "{held}");
    }
    assert_eq!(get(&tag, "evaluate/flags", r#"{"tenant": "other"}"#).status(), 200, "another context");
    let told = get(&tag, "evaluate/flags?a=b&flagConfigEtag=other", r#"{"tenant": "acme"}"#);
    assert_eq!(told.status(), 200, "an event of another state than ours");
    plane.give(Command::Kill { flag: "dark".to_owned() });
    let marked = get(&tag, "evaluate/flags", r#"{"tenant": "acme"}"#);
    assert_eq!(marked.status(), 200, "the answer says that an override decides");
    plane.give(Command::Revive { flag: "dark".to_owned() });
    assert_eq!(get(&tag, "evaluate/flags", r#"{"tenant": "acme"}"#).status(), 304, "back to where it was");
}

#[test]
fn what_cannot_be_used_is_refused_with_the_protocols_codes() {
    let plane = start();
    let address = plane.handle.address();
    let deep = format!("{{\"context\": {{\"a\": {}{}}}}}", "[".repeat(16), "]".repeat(16));
    let wide = format!("{{\"context\": {{\"a\": [{}0]}}}}", "0,".repeat(1_024));
    let bottomless = "[".repeat(40_000);
    for (body, code) in [
        ("", "PARSE_ERROR"),
        ("{", "PARSE_ERROR"),
        ("[]", "PARSE_ERROR"),
        ("\"context\"", "PARSE_ERROR"),
        ("{\"context\": {}} x", "PARSE_ERROR"),
        (bottomless.as_str(), "PARSE_ERROR"),
        ("{\"context\": []}", "INVALID_CONTEXT"),
        ("{\"context\": \"a\"}", "INVALID_CONTEXT"),
        ("{\"context\": {\"targetingKey\": 1}}", "INVALID_CONTEXT"),
        (&deep, "INVALID_CONTEXT"),
        (&wide, "INVALID_CONTEXT"),
    ] {
        for (path, key) in [("evaluate/flags/text", Some("text")), ("evaluate/flags", None)] {
            let answer = ask(address, &post(path, body));
            let told = json(&answer);
            assert_eq!((answer.status(), &told["errorCode"]), (400, &json!(code)), "{body:.60}");
            assert_eq!(told.get("key").and_then(Value::as_str), key);
            assert!(told["errorDetails"].as_str().is_some_and(|details| !details.is_empty()));
        }
    }
    for body in
        ["{}", "{\"context\": null}", "{\"context\": {}, \"more\": 1}", "{\"context\": {\"targetingKey\": null}}"]
    {
        assert_eq!(ask(address, &post("evaluate/flags/text", body)).status(), 200, "{body}");
    }
    let (status, broken) = evaluate(address, "broken", &json!({"end": "c"}));
    assert_eq!((status, &broken["errorCode"]), (400, &json!("GENERAL")));
}

#[test]
fn large_bodies_other_types_methods_hosts_and_paths_are_refused() {
    let plane = start();
    let address = plane.handle.address();
    let body = format!("{{\"context\": {{\"a\": \"{}\"}}}}", "a".repeat(64 * 1024));
    let mut wire = Wire::connect(address);
    let large = wire.send(post("evaluate/flags/text", &body)).answer();
    assert_eq!((large.status(), &json(&large)["errorCode"]), (413, &json!("GENERAL")));
    assert_eq!(large.field("connection"), "close");
    let typed = |kind: &str| {
        let fields = format!("host: localhost\r\ncontent-length: 2\r\n{kind}\r\n{{}}");
        ask(address, &format!("POST /ofrep/v1/evaluate/flags/text HTTP/1.1\r\n{fields}")).status()
    };
    for kind in ["", "content-type: text/plain\r\n", "content-type: application/jsonp\r\n"] {
        assert_eq!(typed(kind), 415, "{kind}");
    }
    assert_eq!(typed("content-type: Application/JSON; charset=utf-8\r\n"), 200);
    let line = |line: &str, host: &str| ask(address, &format!("{line} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    let got = line("GET /ofrep/v1/evaluate/flags/text", "localhost");
    assert_eq!((got.status(), got.field("allow")), (405, "POST".to_owned()));
    let put = line("DELETE /ofrep/v1/events", "localhost");
    assert_eq!((put.status(), put.field("allow")), (405, "GET".to_owned()));
    assert_eq!(line("GET /ofrep/v1/events", "evil.example").status(), 421);
    for path in [
        "/ofrep/v1/",
        "/ofrep/v1/evaluate",
        "/ofrep/v1/evaluate/flagsx",
        "/ofrep/v2/evaluate/flags",
        "/ofrep/v1/configuration",
    ] {
        assert_eq!(line(&format!("GET {path}"), "localhost").status(), 404, "{path}");
    }
}

/// Flags whose rules do as much as an evaluation may.
fn slow_flags() -> String {
    let count = r#"{"map": [{"var": "list"}, {"reduce": [{"map": [["1","2","3","4","5","6","7","8"], {"cat": [{"var": ""}, "x"]}]}, {"cat": [{"var": "current"}, "y"]}, ""]}]}"#;
    let flag = |at| {
        format!(
            "  f{at}: {{state: ENABLED, variants: {{a: a}}, defaultVariant: a, targeting: {{if: [{{\"==\": [{count}, 1]}}, a]}}}}\n"
        )
    };
    format!("flags:\n{}", (0..60).map(flag).collect::<String>())
}

#[test]
fn bulks_are_few_at_a_time_and_in_nobodys_way() {
    let plane = plane(&slow_flags(), ROUTES);
    let body = json!({"context": {"list": vec![1; 1_000]}}).to_string();
    let request = post("evaluate/flags", &body);
    let mut wires: Vec<Wire> = (0..12).map(|_| Wire::connect(plane.handle.address())).collect();
    for wire in &mut wires {
        wire.send(&request);
    }
    let health = ask(plane.handle.address(), "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(health.status(), 200);
    let answers: Vec<_> = wires.iter_mut().map(Wire::answer).collect();
    let count = |status| answers.iter().filter(|answer| answer.status() == status).count();
    assert_eq!(count(200) + count(429), 12);
    assert!(count(200) >= 4 && count(429) >= 1, "{} answered, {} refused", count(200), count(429));
    let refused = answers.iter().find(|answer| answer.status() == 429).unwrap();
    assert_eq!(refused.field("retry-after"), "1");
    assert_eq!(ask(plane.handle.address(), &request).status(), 200, "a place is free again");
}
