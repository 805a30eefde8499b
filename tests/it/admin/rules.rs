//! Rules A1 to A10: pages of other origins, rebound names, bodies, floods of connections.

use banyan::flag::OverrideKind;

use super::{assert_problem, over_socket, post_with, send, token};
use crate::override_commands::Plane;
use crate::support::Wire;

const WHY: &str = r#"{"reason": "x"}"#;

#[test]
fn pages_of_other_origins_may_neither_write_nor_read() {
    let plane = Plane::start();
    for fields in [
        "origin: http://evil.example\r\n",
        "origin: null\r\n",
        "origin: http://localhost:1\r\n",
        "origin: http://localhost.evil.example\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
        "origin: http://localhost\r\nsec-fetch-site: cross-site\r\n",
        "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\n",
    ] {
        assert_problem(&post_with(&plane, "/api/v1/kill-all", fields, WHY), 403, "cross-origin");
        let fields = format!("authorization: Bearer {}\r\n{fields}", token(&plane));
        assert_problem(&send(&plane, "GET /api/v1/overrides", &fields, ""), 403, "cross-origin");
    }
    assert_eq!(plane.store.snapshot().generation, 1);
    for fields in ["origin: http://localhost\r\nsec-fetch-site: same-origin\r\n", "sec-fetch-site: none\r\n"] {
        assert_eq!(post_with(&plane, "/api/v1/kill-all", fields, WHY).status(), 200);
    }
}

#[test]
fn no_answer_lets_another_origin_read_it() {
    let plane = Plane::start();
    let preflight = "origin: http://evil.example\r\naccess-control-request-method: POST\r\naccess-control-request-headers: authorization\r\n";
    for (line, fields) in [("OPTIONS /api/v1/kill-all", preflight), ("GET /healthz", ""), ("GET /openapi.json", "")] {
        let answer = send(&plane, line, fields, "");
        let cors = answer.fields.iter().any(|(name, _)| name.to_lowercase().starts_with("access-control-"));
        assert!(!cors && !answer.has("set-cookie"), "{line}: {:?}", answer.fields);
        assert_eq!(answer.field("x-content-type-options"), "nosniff");
    }
}

#[test]
fn a_rebound_name_is_turned_away_even_with_a_token() {
    let plane = Plane::start_changed(|plan| plan.admin_hosts = vec!["banyan.internal".into()]);
    let ask = |host: &str| {
        let token = token(&plane);
        let request =
            format!("GET /api/v1/overrides HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n");
        Wire::connect(plane.handle.address()).send(request).answer().status()
    };
    assert_eq!((ask("127.evil.com"), ask("127.0.0.1.evil.example")), (421, 421));
    assert_eq!((ask("banyan.internal"), ask("127.0.0.1")), (200, 200));
}

#[test]
fn a_kill_finds_a_connection_whatever_the_others_do() {
    let plane = Plane::start();
    // All of the listener's connections, each of them silent.
    let _held: Vec<_> = (0..64).map(|_| Wire::connect(plane.handle.address())).collect();
    let request = format!(
        "POST /api/v1/kill-all HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{WHY}",
        WHY.len()
    );
    assert!(over_socket(&plane, &request).starts_with("HTTP/1.1 200 "));
    assert_eq!(plane.decider("side"), Some(OverrideKind::KillAll));
}

#[test]
fn a_client_of_the_data_plane_reaches_no_admin_path() {
    use crate::support::Origin;
    let origin = Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nup");
    let router = crate::support::Router::to(origin.address);
    for path in ["/api/v1/kill-all", "/api/v1/overrides", "/openapi.json", "/metrics"] {
        assert_eq!(router.get(path).text(), "up", "{path} belongs to the upstream");
    }
}
