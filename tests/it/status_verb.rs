//! The verbs `status` and `explain --live` as a shell sees them, with a router that runs.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use banyan::control::StatusReport;
use serde_json::Value;

use crate::override_commands::flags;
use crate::support::router::Setup;
use crate::support::{Origin, Router, Wire};

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BANYAN_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(directory);
    command
}

fn banyan(router: &Router, arguments: &[&str]) -> Output {
    command(router.directory(), arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A router whose flag `side` leads to two upstreams, and the origin behind both.
fn start() -> (Router, Origin) {
    let origin = Origin::ok();
    let address = origin.address;
    let mut routes = "identity: {targeting_key: [\"header:x-user\"]}\nupstreams:\n".to_owned();
    let _ = writeln!(routes, "  monolith: {{endpoints: [\"http://{address}\"]}}");
    let _ = writeln!(routes, "  search: {{endpoints: [\"http://{address}\"]}}");
    routes.push_str(
        "routes:\n  - {name: side, match: {path: /side, methods: [GET]}, flag: side, variants: {legacy: monolith, modern: search}, fallback: monolith}\n  - {name: other, match: {path: /other}, flag: other, variants: {a: monolith, b: search}, fallback: monolith}\n",
    );
    (Setup::routes(routes).flags(flags(50)).start(), origin)
}

/// Gives an order over the admin API.
fn give(router: &Router, path: &str, body: &str) {
    let token = std::fs::read_to_string(router.directory().join("state/admin.token")).unwrap();
    let head = format!(
        "POST /api/v1/{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        token.trim(),
        body.len()
    );
    let answer = Wire::connect(router.admin).send(format!("{head}{body}")).answer();
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

/// What differs from run to run is replaced by a word.
fn normalised(text: &str, router: &Router) -> String {
    let text = text.replace(&router.listen.to_string(), "LISTEN").replace(&router.admin.to_string(), "ADMIN");
    let words: Vec<&str> = text.split(' ').collect();
    let is_unit = |at: usize| {
        let unit = words.get(at).map(|word| word.trim_end_matches(|letter: char| !letter.is_ascii_lowercase()));
        matches!(unit, Some("s" | "min"))
            || words.get(at).is_some_and(|word| word.starts_with("s\n") || word.starts_with("s:"))
    };
    let word = |at: usize| if words[at].parse::<u64>().is_ok() && is_unit(at + 1) { "N" } else { words[at] };
    (0..words.len()).map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn one_screen_shows_how_the_router_stands() {
    let (router, _origin) = start();
    let output = banyan(&router, &["status"]);
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()), "{}", out(&output));
    super::snapshot!("status_well", normalised(&out(&output), &router));

    give(&router, "flags/side/kill", r#"{"reason": "5xx since the deploy", "for": "30m"}"#);
    router.edit_flags(&flags(50).replace("defaultVariant: legacy", "defaultVariant: legaci"));
    router.wait_for_metric("banyan_config_reloads_total", &["result=\"rejected\""], 1.0);
    let output = banyan(&router, &["status"]);
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    super::snapshot!("status_wrong", normalised(&out(&output), &router));
}

#[test]
fn traffic_is_counted_and_json_is_the_whole_document() {
    let (router, _origin) = start();
    for _ in 0..3 {
        assert_eq!(router.get("/other").status(), 200);
    }
    router.wait_for_metric("banyan_requests_total", &["route=\"other\""], 3.0);
    let output = banyan(&router, &["status", "--json"]);
    let status: StatusReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status.upstreams[0].requests, 3);
    let other = &status.flags[1];
    assert_eq!((other.variants[0].requests, other.last_evaluated_unix_ms.is_some()), (3, true));
    assert_eq!(status.routes[0].matches, "GET /side");
    let kinds: Value = serde_json::to_value(&status.listeners).unwrap();
    let kinds: Vec<_> = kinds.as_array().unwrap().iter().map(|listener| listener["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["clients", "admin-socket", "admin"]);
    assert!(out(&banyan(&router, &["status"])).contains("3 requests, 0% errors, p50 "));
}

#[test]
fn without_a_router_or_without_a_right_token_there_is_no_status() {
    let (router, _origin) = start();
    let admin = router.admin.to_string();
    assert_eq!(banyan(&router, &["status", "--admin", &admin]).status.code(), Some(0));
    std::fs::write(router.directory().join("wrong"), "ops 0000").unwrap();
    let output = banyan(&router, &["status", "--admin", &admin, "--token-file", "wrong"]);
    assert_eq!((output.status.code(), out(&output)), (Some(3), String::new()));
    assert!(
        err(&output).contains("no such token counts here; --token-file FILE names another token"),
        "{}",
        err(&output)
    );
    let output = banyan(&router, &["explain", "--live", "--url", "/", "--admin", &admin, "--token-file", "wrong"]);
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));

    let nowhere = tempfile::tempdir().unwrap();
    let unused = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
    let output = command(nowhere.path(), &["status", "--admin", &unused]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("no router answers"), "{}", err(&output));
    assert_eq!(banyan(&router, &["status", "--every", "1"]).status.code(), Some(2));
}

/// Kills a child when a test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watching_shows_it_anew_also_when_the_router_goes_away() {
    let (mut router, _origin) = start();
    let watch = |arguments: &[&str]| {
        let arguments = [&["status", "--watch"], arguments].concat();
        Running(command(router.directory(), &arguments).stdout(Stdio::piped()).spawn().unwrap())
    };
    let mut plain = watch(&[]);
    let mut screens = BufReader::new(plain.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    // Not a terminal: no escapes, one screen after the other.
    for _ in 0..2 {
        let line = screens.find(|line| line.starts_with("banyan ")).unwrap();
        assert!(line.contains("running, ready") && !line.contains('\x1b'), "{line}");
    }
    let mut json = watch(&["--json"]);
    let mut lines = BufReader::new(json.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap()).unwrap();
    assert_eq!(next()["generation"], 1);
    router.signal(rustix::process::Signal::TERM);
    router.wait_for_exit();
    assert!(std::iter::repeat_with(&mut next).any(|line| line["unreachable"].is_string()));
    assert!(screens.any(|line| line.contains("no router answers")));
    // Nobody reads any more: it ends by itself.
    drop(screens);
    assert!(plain.0.wait().unwrap().success());
    let mut rest = String::new();
    let _ = plain.0.stderr.take().map(|mut stderr| stderr.read_to_string(&mut rest));
    assert!(rest.is_empty(), "{rest}");
}

#[test]
fn explaining_live_knows_overrides_and_says_the_same_as_the_router_does() {
    let (router, _origin) = start();
    let ask = |more: &[&str]| {
        let arguments = ["explain", "--url", "http://a.example/side?x=1", "-H", "x-user: ada"];
        banyan(&router, &[&arguments[..], more].concat())
    };
    let json = |more: &[&str]| serde_json::from_slice::<Value>(&ask(more).stdout).unwrap();
    // The same as from the files, as long as nothing lies over them.
    assert_eq!(json(&["--live", "--json"]), json(&["--json"]));
    give(&router, "flags/side/set", r#"{"shares": {"modern": "100%"}, "reason": "all in"}"#);
    let live = json(&["--live", "--json"]);
    assert_eq!(
        (&live["variant"], &live["override"], &live["generation"]),
        (&"modern".into(), &"split".into(), &2.into())
    );
    assert_eq!(json(&["--json"])["override"], Value::Null);
    let output = ask(&["--live"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    super::snapshot!("explain_live", out(&output));
    let output = banyan(&router, &["explain", "--live", "--url", "/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("no route takes it"), "{}", out(&output));
    let output = banyan(&router, &["explain", "--live", "--flags", "flags", "--url", "/"]);
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
}
