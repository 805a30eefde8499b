//! The verbs `status` and `explain --live` as a shell sees them, with a router that runs.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use banyan::control::StatusReport;
use serde_json::Value;

use crate::override_commands::flags;
use crate::support::router::Setup;
use crate::support::{Origin, Router};

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

/// What differs from run to run is replaced by a word.
fn normalised(text: &str, router: &Router) -> String {
    let text = text.replace(&router.listen.to_string(), "LISTEN").replace(&router.admin.to_string(), "ADMIN");
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for at in 1..words.len() {
            if words[at].starts_with('s') && words[at].len() <= 2 && words[at - 1].parse::<u64>().is_ok() {
                words[at - 1] = "N".to_owned();
            }
            if words[at].starts_with("ms") {
                words[at - 1] = "N".to_owned();
            }
        }
        lines.push(words.join(" "));
    }
    lines.join("\n") + "\n"
}

#[test]
fn one_screen_shows_how_the_router_stands() {
    let (router, _origin) = start();
    let output = banyan(&router, &["status"]);
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()), "{}", out(&output));
    super::snapshot!("status_well", normalised(&out(&output), &router));

    let kill = ["kill", "side", "--live", "--reason", "5xx since the \x1b[31mdeploy"];
    assert_eq!(banyan(&router, &kill).status.code(), Some(0));
    router.edit_flags(&flags(50).replace("defaultVariant: legacy", "defaultVariant: legaci"));
    router.wait_for_metric("banyan_config_reloads_total", &["result=\"rejected\""], 1.0);
    let user = rustix::process::geteuid().as_raw();
    let output = banyan(&router, &["status"]);
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    let text = normalised(&out(&output), &router);
    let who = text.split("by ").find_map(|rest| rest.split_once(" N s ago: 5xx")).expect("who killed it").0;
    assert!(!who.is_empty() && !text.contains('\x1b'), "{user}: {text}");
    super::snapshot!("status_wrong", text.replace(&format!("by {who} N"), "by WHO N"));
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
    assert!(err(&output).contains("gives no status"), "{}", err(&output));
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
    let set = ["set", "side", "modern=100%", "--live", "--reason", "all in"];
    assert_eq!(banyan(&router, &set).status.code(), Some(0));
    let live = json(&["--live", "--json"]);
    assert_eq!((&live["variant"], &live["override"], &live["generation"]), (&"modern".into(), &"split".into(), &2.into()));
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
