//! The verb `simulate` as a shell sees it: who moves, what a log has not, bounded memory, exit codes.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use proptest::prelude::*;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::edit_verbs::{banyan, out, shipped};
use crate::support::{Origin, Router};

/// Requests of so many users, each with a tenth to the search.
fn requests(users: u32) -> String {
    (0..users).fold(String::new(), |mut text, user| {
        let tenant = if user % 50 == 0 { r#", "x-tenant": "acme""# } else { "" };
        let headers = format!(r#"{{"x-user-id": "user-{user}"{tenant}}}"#);
        for url in ["/search?q=1", "http://shop.example/api/orders/7", "/account"] {
            writeln!(text, r#"{{"url": "{url}", "headers": {headers}}}"#).unwrap();
        }
        text
    })
}

fn log(dir: &TempDir, text: &str) {
    fs::write(dir.path().join("log.jsonl"), text).unwrap();
}

fn simulate(dir: &Path, arguments: &[&str]) -> Output {
    banyan(dir, &[&["simulate", "--log", "log.jsonl"], arguments].concat())
}

fn json(dir: &Path, arguments: &[&str]) -> Value {
    let output = simulate(dir, &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a router that served the shipped files would have logged.
fn access_log() -> &'static str {
    r#"{"time":"2026-11-28T03:00:00.000Z","client":"192.0.2.1","method":"GET","host":"shop.example","path":"/search","status":200,"route":"search","flag":"search-engine","variant":"modern","reason":"TARGETING_MATCH","bucket":"3/100","generation":1}
{"client":"192.0.2.2","method":"GET","host":"shop.example","path":"/api/orders/1","status":200,"route":"orders","flag":"orders-migration","variant":"live","generation":1}
{"client":"192.0.2.3","method":"GET","host":"shop.example","path":"/account","status":200,"route":"rest","upstream":"monolith","generation":1}
{"client":"192.0.2.4","method":"GET","host":"shop.example","path":"/search","status":200,"headers":{"x-user-id":"user-2"}}
{"client":"192.0.2.5","status":400,"fault":"request_malformed","fault_side":"client","generation":1}
"#
}

#[test]
fn who_moves_is_shown_by_route_and_flag() {
    let dir = shipped();
    log(&dir, &requests(1000));
    let output = simulate(dir.path(), &["--set", "search-engine=modern=25%"]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    super::snapshot!("simulate_set", out(&output));
}

#[test]
fn what_an_access_log_has_not_is_said() {
    let dir = shipped();
    log(&dir, &(access_log().to_owned() + "GET / HTTP/1.1\n"));
    let arguments = ["--set", "search-engine=modern=100%", "--set", "orders-migration=live=20%,shadow=80%"];
    let output = simulate(dir.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    super::snapshot!("simulate_access_log", out(&output));

    let found = json(dir.path(), &["--set", "search-engine=modern=100%"]);
    assert_eq!((&found["decided"]["requests"], &found["moved"]["requests"]), (&json!(2), &json!(1)));
    assert_eq!(
        (&found["unchanged"], &found["refused"], &found["malformed"]["lines"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let because = json!([{"route": "search", "flag": "search-engine", "missing": "header:x-user-id", "requests": 1}]);
    assert_eq!(found["undecided"]["because"], because);
}

#[test]
fn the_counts_are_those_of_explain() {
    let dir = shipped();
    log(&dir, &requests(100));
    let found = json(dir.path(), &["--set", "search-engine=modern=50%"]);
    let way = |from: &str, to: &str| {
        let search = found["routes"].as_array().unwrap().iter().find(|route| route["route"] == "search").unwrap();
        let ways = search["ways"].as_array().unwrap().iter();
        ways.filter(|way| way["from"]["variant"] == from && way["to"]["variant"] == to)
            .map(|way| way["users"].as_u64().unwrap())
            .sum::<u64>()
    };
    let slot = |user: u32| {
        let header = format!("x-user-id: user-{user}");
        let shown = banyan(dir.path(), &["explain", "--url", "/search", "-H", &header, "--json"]);
        serde_json::from_slice::<Value>(&shown.stdout).unwrap()["bucket"]["slot"].as_u64().unwrap()
    };
    let slots: Vec<u64> = (0..100).map(slot).collect();
    let count = |range: std::ops::Range<u64>| slots.iter().filter(|slot| range.contains(slot)).count() as u64;
    assert_eq!(way("modern", "modern"), count(0..10));
    assert_eq!(way("legacy", "modern"), count(10..50));
    assert_eq!(way("legacy", "legacy"), count(50..100));
    assert_eq!(way("modern", "legacy"), 0, "nobody is taken back");
}

#[test]
fn what_a_router_logs_with_headers_can_be_replayed() {
    let origin = Origin::ok();
    let dir = Arc::new(shipped());
    let routes = fs::read_dir(dir.path().join("routes")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&routes).unwrap();
    let address = origin.address.to_string();
    fs::write(&routes, text.replace("127.0.0.1:9001", &address).replace("127.0.0.1:9002", &address)).unwrap();
    let mut command = Command::new("sh");
    let serve = "exec \"$0\" serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 --log-format json \
                 --access-log-headers x-user-id,x-tenant > log.jsonl";
    command.args(["-c", serve, env!("CARGO_BIN_EXE_banyan")]);
    let mut router = Router::run(command, Arc::clone(&dir));
    for user in 0..40 {
        for path in ["/search", "/api/orders/1"] {
            let tenant = if user % 4 == 0 { "x-tenant: acme\r\n" } else { "" };
            let head = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\nx-user-id: user-{user}\r\n{tenant}\r\n");
            assert_eq!(router.exchange(head).status(), 200);
        }
    }
    router.signal(Signal::TERM);
    assert!(router.wait_for_exit().success());
    let found = json(dir.path(), &["--set", "search-engine=modern=50%", "--set", "orders-migration=live=60%"]);
    assert_eq!((&found["decided"]["requests"], &found["decided"]["users"]), (&json!(80), &json!(40)), "{found:#}");
    assert_eq!(found["undecided"]["requests"], 0);
    // What the router did is what the set before is said to do.
    let logged = fs::read_to_string(dir.path().join("log.jsonl")).unwrap();
    for (route, variant) in [("search", "modern"), ("orders", "live"), ("orders", "shadow")] {
        let served = logged.lines().filter(|line| line.contains(&format!(r#""route":"{route}""#)));
        let served = served.filter(|line| line.contains(&format!(r#""variant":"{variant}""#))).count() as u64;
        let route = found["routes"].as_array().unwrap().iter().find(|one| one["route"] == route).unwrap();
        let ways = route["ways"].as_array().unwrap().iter().filter(|way| way["from"]["variant"] == variant);
        assert_eq!(ways.map(|way| way["requests"].as_u64().unwrap()).sum::<u64>(), served, "{found:#}");
    }
}

#[test]
fn routes_that_change_are_told_apart() {
    let dir = shipped();
    log(&dir, &requests(20));
    fs::create_dir(dir.path().join("next")).unwrap();
    let routes = fs::read_dir(dir.path().join("routes")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&routes).unwrap().replace("match: {path: \"/{*rest}\"}", "match: {path: /account/x}");
    fs::write(dir.path().join("next/r.yaml"), text).unwrap();
    let found = json(dir.path(), &["--to-routes", "next"]);
    let moved = found["routes"].as_array().unwrap().iter().find(|route| route["route"] == "rest").unwrap();
    assert_eq!((&moved["to_route"], &moved["moved"]["requests"]), (&Value::Null, &json!(20)));
    assert_eq!(moved["ways"][0]["to"]["refused"], "no route, 404");
    let output = simulate(dir.path(), &["--to-routes", "next", "--fail-on", "moves"]);
    assert_eq!(output.status.code(), Some(1));
    let output = simulate(dir.path(), &["--to-routes", "next", "--fail-on", "errors"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn stdin_is_a_log_too_and_many_lines_give_a_sign_of_the_estimate() {
    let dir = shipped();
    let mut child = Command::new(env!("CARGO_BIN_EXE_banyan"))
        .args(["simulate", "--log", "-", "--set", "search-engine=modern=30%"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(requests(5_000).as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let shown = out(&output);
    let users = shown.lines().find_map(|line| line.strip_prefix("decided: requests 15,000, users ~")).unwrap();
    let users: f64 = users.replace(',', "").parse().unwrap();
    assert!((users / 5_000.0 - 1.0).abs() < 0.03, "{shown}");
}

#[test]
fn what_cannot_be_replayed_exits_with_1_and_wrong_usage_with_2() {
    let dir = shipped();
    log(&dir, "not a request\n");
    let cases = [
        (&["--set", "search-engine=modern=25%"][..], 1, "no requests: lines 1, the first log.jsonl:1:"),
        (&["--log", "nowhere.jsonl"], 1, "nowhere.jsonl cannot be read"),
        (&["--to-flags", "nowhere"], 1, "the set after is refused"),
        (&["--set", "search-engin=modern=25%"], 1, "did you mean `search-engine`"),
        (&["--set", "search-engine=modern=25"], 2, "write the share with its sign"),
        (&["--set", "search-engine"], 2, "write flag, variant and share"),
    ];
    for (arguments, code, message) in cases {
        let output = simulate(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", out(&output));
        assert!(out(&output).contains(message), "{arguments:?}: {}", out(&output));
    }
}

/// One line of each kind there is.
fn line() -> impl Strategy<Value = String> {
    let url =
        prop_oneof![Just("/search"), Just("/search?a=b"), Just("/api/orders/1"), Just("/x/..%2fsearch"), Just("/")];
    let headers = prop::collection::btree_map(
        prop_oneof![Just("x-user-id"), Just("x-tenant"), Just("cookie"), Just("host")],
        prop_oneof![
            Just(json!("acme")),
            Just(json!("session=1")),
            "[a-z0-9]{1,8}".prop_map(|text| json!(text)),
            Just(json!(null))
        ],
        0..4,
    );
    let kind = prop_oneof![Just("url"), Just("path")];
    let method = prop_oneof![Just("GET"), Just("POST")];
    (kind, url, headers, method)
        .prop_map(|(kind, url, headers, method)| json!({kind: url, "headers": headers, "method": method}).to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn with_the_same_files_nobody_moves(lines in prop::collection::vec(line(), 1..200)) {
        let dir = shipped();
        log(&dir, &lines.join("\n"));
        let found = json(dir.path(), &[]);
        prop_assert_eq!(&found["moved"]["requests"], &json!(0), "{}", found);
        prop_assert_eq!(&found["failed"]["new"], &json!(0));
    }

    #[test]
    fn raising_a_share_moves_nobody_back(lines in prop::collection::vec(line(), 1..200), share in 10u32..=100) {
        let dir = shipped();
        log(&dir, &lines.join("\n"));
        let found = json(dir.path(), &["--set", &format!("search-engine=modern={share}%")]);
        for way in found["routes"].as_array().unwrap().iter().flat_map(|route| route["ways"].as_array().unwrap()) {
            if way["moved"] == true {
                prop_assert_eq!((&way["from"]["variant"], &way["to"]["variant"]), (&json!("legacy"), &json!("modern")));
            }
        }
    }
}
