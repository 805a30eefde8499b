//! Seeing and reloading in the real process: signals, the log, the access log, the metrics, edits under load.

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use crate::exposition::Exposition;
use crate::reload::wait_until;
use crate::support::origin::Origin;
use crate::support::router::{Router, Setup, member};
use crate::support::wire::Wire;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn flags(default: &str) -> String {
    format!(
        "flags:\n  side:\n    state: ENABLED\n    variants: {{left: left, right: right}}\n    defaultVariant: {default}\n    metadata: {{owner: tests}}\n"
    )
}

/// One route by a flag, to one origin under two names.
fn split(origin: &Origin) -> String {
    let address = origin.address;
    format!(
        "upstreams:\n  west: {{endpoints: [\"http://{address}\"]}}\n  east: {{endpoints: [\"http://{address}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, flag: side, variants: {{left: west, right: east}}, fallback: west}}\n"
    )
}

fn wait_for_message(router: &mut Router, text: &str) -> String {
    router.wait_for_log(text, |line| member(line, "message").is_some_and(|message| message == text))
}

#[test]
fn sighup_reloads_and_every_publication_is_logged() {
    let origin = Origin::answering(OK);
    let mut router = Setup::upstream(origin.address, "").start();
    router.signal(Signal::HUP);
    let line = wait_for_message(&mut router, "published");
    assert_eq!(member(&line, "cause").as_deref(), Some("request"));
    assert_eq!(member(&line, "generation").as_deref(), Some("2"));
    assert_eq!(member(&line, "routes").as_deref(), Some("1"));
    assert!(member(&line, "took_ms").is_some());
    assert_eq!(router.get("/").status(), 200);
}

#[test]
fn a_rejected_edit_is_logged_with_its_place_and_changes_nothing() {
    let origin = Origin::answering(OK);
    let mut router = Setup::upstream(origin.address, "").start();
    router.edit_routes("upstreams: {}\nroutes:\n  - {name: lost, match: {path: /}, upstream: nobody}\n");
    wait_for_message(&mut router, "rejected; the last good generation stays in force");
    let logs = router.logs();
    let finding = logs.iter().find(|line| line.contains("nobody")).expect("the finding is logged");
    assert_eq!(member(finding, "level").as_deref(), Some("ERROR"));
    assert!(member(finding, "message").is_some_and(|text| text.contains("test.yaml:3:")), "with its line: {finding}");
    assert_eq!(router.get("/").status(), 200);
    assert_eq!(router.metric("banyan_config_reloads_total", &[r#"result="rejected""#]), 1.0);
    assert!(router.metric("banyan_config_stale_seconds", &[]) > 0.0);
}

#[test]
fn each_request_has_a_line_that_says_what_happened() {
    let origin = Origin::answering(OK);
    let directory = Arc::new(tempfile::tempdir().unwrap());
    for (folder, text) in [("flags", flags("right")), ("routes", split(&origin))] {
        std::fs::create_dir(directory.path().join(folder)).unwrap();
        std::fs::write(directory.path().join(folder).join("test.yaml"), text).unwrap();
    }
    let mut command = Command::new("sh");
    let serve =
        "exec \"$0\" serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 --log-format json --access-log json >access";
    command.args(["-c", serve, env!("CARGO_BIN_EXE_banyan")]);
    let router = Router::run(command, Arc::clone(&directory));
    for path in ["/a?token=secret", "/b%22", "/c"] {
        assert_eq!(router.get(path).status(), 200);
    }
    let malformed = router.exchange("GET / HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\n\r\n");
    assert_eq!(malformed.status(), 400);

    let path = directory.path().join("access");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    wait_until("four lines", || read().lines().count() == 4);
    let text = read();
    assert!(!text.contains("secret"), "queries are not logged");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let served: Vec<&Value> = lines.iter().filter(|line| line["status"] == 200).collect();
    assert_eq!(served.len(), 3);
    for line in &served {
        let fields = ["route", "flag", "variant", "upstream", "reason"].map(|name| line[name].as_str());
        assert_eq!(fields, ["all", "side", "right", "east", "STATIC"].map(Some));
        assert_eq!(line["generation"], 1);
        assert_eq!(line["endpoint"], origin.address.to_string());
        assert_eq!((&line["method"], &line["host"]), (&Value::from("GET"), &Value::from("a.example")));
        assert_eq!(line["response_bytes"], 2);
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
        assert!(line.get("fault").is_none());
    }
    let ids: HashSet<&str> = lines.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 4, "each request has its own name");
    let refused = lines.iter().find(|line| line["status"] == 400).expect("the refused one, too");
    assert_eq!((&refused["fault_side"], &refused["fault"]), (&"client".into(), &"request_malformed".into()));

    let page = Exposition::read(&router.metrics());
    let leg = r#"banyan_requests_total{route="all",flag="side",variant="right",upstream="east",class="2xx"}"#;
    assert_eq!(page.value(leg), 3.0);
    assert_eq!(page.value(r#"banyan_faults_total{fault="request_malformed",side="client"}"#), 1.0);
    assert_eq!(page.value("banyan_decisions_total"), 3.0);
}

#[test]
fn edits_under_load_lose_no_request_and_are_in_force_in_time() {
    let origin = Origin::answering(OK);
    let router = Setup::routes(split(&origin)).flags(flags("left")).start();
    let is_over = AtomicBool::new(false);
    let (served, mut times) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut wire = Wire::connect(router.listen);
                    let mut served = 0_u64;
                    while !is_over.load(Ordering::Relaxed) {
                        let answer = wire.send("GET /x HTTP/1.1\r\nhost: a.example\r\n\r\n").answer();
                        assert_eq!((answer.status(), answer.complete), (200, true));
                        served += 1;
                        if answer.field("connection") == "close" {
                            // A connection has its number of requests.
                            wire = Wire::connect(router.listen);
                        }
                    }
                    served
                })
            })
            .collect();
        let times: Vec<_> = (1..=40).map(|edit| time_edit(&router, edit)).collect();
        is_over.store(true, Ordering::Relaxed);
        (clients.into_iter().map(|client| client.join().unwrap()).sum::<u64>(), times)
    });
    times.sort_unstable();
    println!("{served} requests; save to effect p50 {:?} max {:?}", times[times.len() / 2], times[times.len() - 1]);
    // The objective is 250 ms at p99 (bench `reload`); the margin is for debug builds on a shared machine.
    assert!(times[times.len() / 2].as_millis() < 250, "half the edits: {times:?}");
    assert_eq!(origin.requests().len() as u64, served + 40, "none lost and none sent twice");
}

/// Makes an edit, every tenth broken first, and times it until a request is decided by it.
fn time_edit(router: &Router, edit: u64) -> std::time::Duration {
    if edit.is_multiple_of(10) {
        let before = router.metric("banyan_config_reloads_total", &[r#"result="rejected""#]);
        router.edit_flags("flags: [");
        router.wait_for_metric("banyan_config_reloads_total", &[r#"result="rejected""#], before + 1.0);
    }
    let variant = ["left", "right"][usize::from(edit % 2 == 1)];
    let started = Instant::now();
    router.edit_flags(&flags(variant));
    router.wait_for_metric("banyan_config_reloads_total", &[r#"result="published""#], edit as f64);
    let took = started.elapsed();
    assert_eq!(router.get("/x").status(), 200);
    took
}
