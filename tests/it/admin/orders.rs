//! Writes: each verb, what they answer, dry runs, If-Match, Idempotency-Key, and what is refused.

use std::sync::Arc;

use banyan::control::{Action, read_history};
use banyan::flag::OverrideKind;
use serde_json::json;

use super::{assert_problem, get, json, over_socket, post, post_with, send, token};
use crate::override_commands::Plane;

#[test]
fn a_kill_is_in_force_durable_and_in_the_history_when_it_is_answered() {
    let plane = Plane::start();
    let answer = post_with(
        &plane,
        "/api/v1/flags/side/kill",
        "banyan-who: ada\r\n",
        r#"{"reason": "errors on checkout", "for": "30m"}"#,
    );
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let receipt = json(&answer);
    assert_eq!(plane.decider("side"), Some(OverrideKind::Kill));
    assert_eq!(
        (&receipt["generation"], &receipt["changed"], &receipt["durable"]),
        (&2.into(), &true.into(), &true.into())
    );
    assert_eq!(
        (&receipt["before"], &receipt["moved"], &receipt["not_durable_because"]),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!(receipt["after"]["kill"]["why"], "errors on checkout");
    let entries = read_history(&plane.state()).unwrap().entries;
    let entry = entries.iter().find(|entry| Some(entry.number) == receipt["entry"].as_u64()).unwrap();
    assert_eq!((entry.action, entry.who.as_deref()), (Action::Kill, Some("ada via admin.token")));
    let until = get(&plane, "/api/v1/overrides");
    let note = &json(&until)["flags"]["side"]["kill"];
    assert_eq!(note["until_unix_ms"].as_u64().unwrap() - note["since_unix_ms"].as_u64().unwrap(), 1_800_000);
}

#[test]
fn every_verb_does_what_it_says() {
    let plane = Plane::start();
    let done = |path: &str, body: &str| {
        let answer = post(&plane, &format!("/api/v1/{path}"), body);
        assert_eq!((answer.status(), &json(&answer)["changed"]), (200, &true.into()), "{path}: {}", answer.text());
    };
    let why = r#"{"reason": "test"}"#;
    done("flags/side/set", r#"{"shares": {"modern": "0%"}, "reason": "test"}"#);
    assert_eq!(plane.modern("side"), 0);
    done("flags/side/unset", why);
    assert!(plane.modern("side") > 400);
    done(
        "flags/side/pin",
        r#"{"attribute": "header.x-user", "value": "user-7", "variant": "legacy", "reason": "test"}"#,
    );
    assert!(plane.is_pinned(7) && !plane.is_pinned(8));
    done("flags/side/unpin", r#"{"attribute": "header.x-user", "value": "user-7", "reason": "test"}"#);
    assert!(!plane.is_pinned(7));
    done("kill-all", why);
    assert_eq!(plane.decider("other"), Some(OverrideKind::KillAll));
    done("revive-all", why);
    done("flags/side/kill", why);
    done("flags/side/revive", why);
    assert_eq!(plane.decider("side"), None);
    done("restore", r#"{"generation": 1, "reason": "test"}"#);
    assert_eq!(json(&get(&plane, "/api/v1/generations"))["restored"], 1);
    done("release", why);
    assert_eq!(json(&get(&plane, "/api/v1/generations"))["restored"], json!(null));
}

#[test]
fn a_dry_run_says_who_would_move_and_changes_nothing() {
    let plane = Plane::start();
    let answer =
        post(&plane, "/api/v1/flags/side/set?dry_run=true", r#"{"shares": {"modern": "60%"}, "reason": "test"}"#);
    let shown = json(&answer);
    assert_eq!((&shown["dry_run"], &shown["changed"], &shown["durable"]), (&true.into(), &true.into(), &false.into()));
    let moved = &shown["moved"];
    assert_eq!(moved["sampled"], 10_000);
    let share = moved["share"].as_f64().unwrap();
    assert!((0.08..0.12).contains(&share), "half of the users are modern, 60 % would be: {shown}");
    assert_eq!(plane.store.snapshot().generation, 1);
    let all = json(&post(&plane, "/api/v1/kill-all?dry_run=true", r#"{"reason": "test"}"#));
    assert_eq!(all["moved"]["share"], 1.0, "everybody loses a variant: {all}");
    let one = r#"{"attribute": "targetingKey", "value": "ada", "variant": "modern", "reason": "test"}"#;
    assert_eq!(json(&post(&plane, "/api/v1/flags/side/pin?dry_run=true", one))["moved"]["sampled"], 1);
    assert_problem(&post(&plane, "/api/v1/flags/none/kill?dry_run=true", r#"{"reason": "x"}"#), 404, "unknown-flag");
    assert_eq!(read_history(&plane.state()).unwrap().entries.iter().filter(|entry| entry.who.is_some()).count(), 0);
}

#[test]
fn of_orders_for_the_same_generation_one_is_carried_out() {
    let plane = Arc::new(Plane::start());
    let orders: Vec<_> = (0..8)
        .map(|number| {
            let plane = Arc::clone(&plane);
            std::thread::spawn(move || {
                let body = format!(r#"{{"shares": {{"modern": "{number}%"}}, "reason": "race"}}"#);
                post_with(&plane, "/api/v1/flags/side/set", "if-match: \"1\"\r\n", &body)
            })
        })
        .collect();
    let answers: Vec<_> = orders.into_iter().map(|order| order.join().unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status() != 200) {
        assert_problem(answer, 412, "generation-moved");
    }
    assert_eq!(plane.store.snapshot().generation, 2);
    for (tag, status) in [("*", 200), ("\"2\"", 412), ("2", 412), ("\"x\"", 412), ("\"3\"", 200)] {
        let answer =
            post_with(&plane, "/api/v1/flags/side/kill", &format!("if-match: {tag}\r\n"), r#"{"reason": "x"}"#);
        assert_eq!(answer.status(), status, "{tag}: {}", answer.text());
    }
}

#[test]
fn the_same_key_carries_an_order_out_once() {
    let plane = Plane::start();
    let kill = |key: &str, reason: &str| {
        let body = format!(r#"{{"reason": "{reason}"}}"#);
        post_with(&plane, "/api/v1/flags/side/kill", &format!("idempotency-key: {key}\r\n"), &body)
    };
    let (first, again) = (kill("a", "one"), kill("a", "one"));
    assert_eq!(first.body, again.body);
    assert_eq!((first.has("idempotency-replayed"), again.field("idempotency-replayed").as_str()), (false, "true"));
    assert_eq!(plane.store.snapshot().generation, 2);
    assert_problem(&kill("a", "two"), 422, "key-reused");
    assert_eq!(kill("b", "two").status(), 200);
    assert_problem(&kill(&"x".repeat(256), "two"), 400, "malformed");
    // A refusal is not kept: the same key may try again.
    let pin = |variant: &str| {
        let body = format!(r#"{{"attribute": "path", "value": "/", "variant": "{variant}", "reason": "x"}}"#);
        post_with(&plane, "/api/v1/flags/side/pin", "idempotency-key: c\r\n", &body)
    };
    assert_problem(&pin("none"), 409, "unknown-variant");
    assert_eq!(pin("modern").status(), 200);
}

#[test]
fn what_cannot_be_is_refused_with_a_reason_and_changes_nothing() {
    let plane = Plane::start();
    for (path, body, status, code) in [
        ("flags/none/kill", r#"{"reason": "x"}"#, 404, "unknown-flag"),
        ("flags/side/kill", "{}", 400, "malformed"),
        ("flags/side/kill", "", 400, "malformed"),
        ("flags/side/kill", r#"{"reason": "x", "until": "1m"}"#, 400, "malformed"),
        ("flags/side/kill", r#"{"reason": "x"} {}"#, 400, "malformed"),
        ("flags/side/kill", r#"{"reason": " "}"#, 422, "no-reason"),
        ("flags/side/kill", r#"{"reason": "x", "for": "soon"}"#, 422, "unfit"),
        ("flags/side/kill", r#"{"reason": "x", "for": "31d"}"#, 422, "bad-time"),
        ("flags/side/set", r#"{"shares": {}, "reason": "x"}"#, 422, "unfit"),
        ("flags/side/set", r#"{"shares": {"modern": "0.1"}, "reason": "x"}"#, 422, "unfit"),
        ("flags/side/set", r#"{"shares": {"none": "1%"}, "reason": "x"}"#, 409, "unknown-variant"),
        ("flags/side/set", r#"{"shares": {"modern": "60%", "legacy": "60%"}, "reason": "x"}"#, 409, "bad-shares"),
        ("flags/side/unpin", r#"{"attribute": "path", "reason": "x"}"#, 400, "malformed"),
        ("flags/side/kill?dry_run=perhaps", r#"{"reason": "x"}"#, 400, "malformed"),
        ("flags/side/kill?dryrun=true", r#"{"reason": "x"}"#, 400, "malformed"),
        ("restore", r#"{"generation": 99, "reason": "x"}"#, 409, "not-kept"),
    ] {
        assert_problem(&post(&plane, &format!("/api/v1/{path}"), body), status, code);
    }
    assert_eq!(plane.store.snapshot().generation, 1);
}

#[test]
fn a_write_is_json_of_a_bounded_size() {
    let plane = Plane::start();
    let bearer = format!("authorization: Bearer {}\r\n", token(&plane));
    let kill = "POST /api/v1/flags/side/kill";
    for kind in ["", "content-type: text/plain\r\n", "content-type: application/x-www-form-urlencoded\r\n"] {
        let answer = send(&plane, kill, &format!("{bearer}{kind}"), r#"{"reason": "x"}"#);
        assert_problem(&answer, 415, "not-json");
        assert_eq!(answer.field("connection"), "close");
    }
    let json_kind = format!("{bearer}content-type: application/json; charset=utf-8\r\n");
    let large = format!(r#"{{"reason": "{}"}}"#, "x".repeat(1024 * 1024));
    assert_problem(&send(&plane, kill, &json_kind, &large), 413, "too-large");
    assert_eq!(send(&plane, kill, &json_kind, r#"{"reason": "x"}"#).status(), 200);
    let body_of_read = send(&plane, "GET /api/v1/overrides", &bearer, "{}");
    assert_problem(&body_of_read, 413, "no-body");
}

#[test]
fn the_unix_socket_needs_no_token_and_names_its_user() {
    let plane = Plane::start();
    let body = r#"{"reason": "by hand"}"#;
    let answer = over_socket(
        &plane,
        &format!(
            "POST /api/v1/kill-all HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(plane.decider("other"), Some(OverrideKind::KillAll));
    let entries = read_history(&plane.state()).unwrap().entries;
    let who = entries.iter().find(|entry| entry.action == Action::KillAll).and_then(|entry| entry.who.clone()).unwrap();
    let uid = rustix::process::geteuid().as_raw();
    assert!(if uid == 0 { who == "root" } else { !who.is_empty() }, "{who}");
}
