//! Tokens: roles, files that change, wrong ones and how often, and what else needs one.

use std::fs;

use banyan::control::ControlPlan;
use banyan::settings::AdminAuth;
use tempfile::TempDir;

use super::{assert_problem, json, post, send};
use crate::override_commands::Plane;
use crate::reload::wait_until;
use crate::support::Message;

const READER: &str = "reader-secret-0123456789";
const OPERATOR: &str = "operator-secret-0123456789";

fn plane(tokens: &TempDir, change: impl FnOnce(&mut ControlPlan)) -> Plane {
    let path = tokens.path().join("tokens");
    if !path.exists() {
        fs::write(&path, format!("# who may what\nread grafana {READER}\noperate ci {OPERATOR}\n")).unwrap();
    }
    Plane::start_changed(|plan| {
        plan.admin_tokens = Some(path);
        change(plan);
    })
}

fn with(plane: &Plane, token: &str, line: &str) -> Message {
    let body = if line.starts_with("POST") { r#"{"reason": "x"}"# } else { "" };
    send(plane, line, &format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n"), body)
}

#[test]
fn a_reader_reads_and_an_operator_does_both() {
    let dir = TempDir::new().unwrap();
    let plane = plane(&dir, |_| {});
    for token in [READER, OPERATOR] {
        assert_eq!(with(&plane, token, "GET /api/v1/overrides").status(), 200);
    }
    let refused = with(&plane, READER, "POST /api/v1/kill-all");
    assert_problem(&refused, 403, "wrong-role");
    assert!(refused.field("www-authenticate").contains("insufficient_scope"));
    let done = with(&plane, OPERATOR, "POST /api/v1/kill-all");
    assert_eq!((done.status(), &json(&done)["after"]["kill_all"]["who"]), (200, &"ci".into()));
}

#[test]
fn without_a_token_nothing_is_told() {
    let dir = TempDir::new().unwrap();
    let plane = plane(&dir, |_| {});
    for path in ["/api/v1/overrides", "/api/v1/events", "/api/v1/nothing", "/api/"] {
        let answer = send(&plane, &format!("GET {path}"), "", "");
        assert_problem(&answer, 401, "no-token");
        assert_eq!(answer.field("www-authenticate"), "Bearer realm=\"banyan\"");
    }
    for wrong in ["Bearer nonsense", "Basic YWRhOng=", "Bearer ", &format!("Bearer {READER}x"), &READER[1..]] {
        let answer = send(&plane, "GET /api/v1/overrides", &format!("authorization: {wrong}\r\n"), "");
        assert_problem(&answer, 401, "unknown-token");
    }
    let twice = format!("authorization: Bearer {READER}\r\n").repeat(2);
    assert_problem(&send(&plane, "GET /api/v1/overrides", &twice, ""), 401, "no-token");
    for open in ["/healthz", "/metrics", "/openapi.json"] {
        assert_eq!(send(&plane, &format!("GET {open}"), "", "").status(), 200);
    }
}

#[test]
fn guessing_is_slowed_down_and_a_right_token_never_is() {
    let dir = TempDir::new().unwrap();
    let plane = plane(&dir, |_| {});
    let answers: Vec<_> =
        (0..60).map(|number| with(&plane, &format!("guess-{number}"), "GET /api/v1/overrides")).collect();
    let limited: Vec<_> = answers.iter().filter(|answer| answer.status() == 429).collect();
    assert!(limited.len() >= 20 && answers.iter().all(|answer| [401, 429].contains(&answer.status())));
    assert_problem(limited[0], 429, "too-many-failures");
    assert_eq!(limited[0].field("retry-after"), "1");
    assert_eq!(with(&plane, READER, "GET /api/v1/overrides").status(), 200);
    assert_eq!(with(&plane, OPERATOR, "POST /api/v1/kill-all").status(), 200);
}

#[test]
fn tokens_change_with_their_files_and_a_mistake_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let plane = plane(&dir, |_| {});
    let path = dir.path().join("tokens");
    let counts = |token: &str| with(&plane, token, "GET /api/v1/overrides").status() == 200;
    // Both files are looked at together, so that the new own token says that the mistake was seen.
    fs::write(&path, "read grafana\n").unwrap();
    let (own, before) = ("own-secret-0123456789-0123456789", super::token(&plane));
    fs::write(plane.state().join("admin.token"), format!("{own}\n")).unwrap();
    wait_until("the own token counts", || counts(own));
    assert!(!counts(&before));
    assert!(counts(READER), "a file with a mistake takes nobody's token");
    let renewed = "renewed-secret-0123456789";
    fs::write(&path, format!("read grafana {renewed}\n")).unwrap();
    wait_until("the token counts", || counts(renewed));
    assert!(!counts(READER) && !counts(OPERATOR));
}

#[test]
fn the_own_token_stays_over_a_restart() {
    let plane = Plane::start();
    let token = super::token(&plane);
    let plane = plane.restart();
    assert_eq!(super::token(&plane), token);
    assert_eq!(post(&plane, "/api/v1/kill-all", r#"{"reason": "x"}"#).status(), 200);
}

#[test]
fn metrics_and_ofrep_need_one_when_that_is_set() {
    let dir = TempDir::new().unwrap();
    let plane = plane(&dir, |plan| plan.admin_auth = AdminAuth::All);
    for line in ["GET /metrics", "POST /ofrep/v1/evaluate/flags", "GET /ofrep/v1/events"] {
        assert_problem(&send(&plane, line, "", ""), 401, "no-token");
    }
    assert_eq!(with(&plane, READER, "GET /metrics").status(), 200);
    assert_eq!(with(&plane, READER, "POST /ofrep/v1/evaluate/flags").status(), 200);
    for open in ["/healthz", "/openapi.json"] {
        assert_eq!(send(&plane, &format!("GET {open}"), "", "").status(), 200);
    }
}
