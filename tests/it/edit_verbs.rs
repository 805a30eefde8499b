//! The verbs `kill`, `revive`, `set` and `pin` as a shell sees them: differences, who moves, refusals, exit codes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::reload::wait_until;
use crate::support::Origin;
use crate::support::router::Setup;

/// Runs the program in a directory, without settings from the outside.
pub(crate) fn banyan(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BANYAN_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(dir).output().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8_lossy(&output.stderr)
}

/// The shipped files in a directory of their own.
pub(crate) fn shipped() -> TempDir {
    let dir = TempDir::new().unwrap();
    for folder in ["flags", "routes"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), dir.path().join(folder).join(file.file_name())).unwrap();
        }
    }
    dir
}

pub(crate) fn read(dir: &TempDir, file: &str) -> String {
    fs::read_to_string(dir.path().join(file)).unwrap()
}

/// The shipped files after a verb that succeeds, and what it printed.
fn after(arguments: &[&str]) -> (TempDir, String) {
    let dir = shipped();
    let output = banyan(dir.path(), arguments);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    (dir, out(&output))
}

fn refused(dir: &TempDir, arguments: &[&str]) -> String {
    let before = (read(dir, "flags/orders.yaml"), read(dir, "flags/search.yaml"));
    let output = banyan(dir.path(), arguments);
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    assert_eq!(before, (read(dir, "flags/orders.yaml"), read(dir, "flags/search.yaml")), "nothing is written");
    out(&output)
}

#[test]
fn kill_changes_one_word_and_revive_changes_it_back() {
    let (dir, shown) = after(&["kill", "orders-migration", "--reason", "errors since the deploy"]);
    super::snapshot!("edit_kill", shown);
    let original = read(&shipped(), "flags/orders.yaml");
    assert_eq!(read(&dir, "flags/orders.yaml"), original.replacen("state: ENABLED", "state: DISABLED", 1));

    let again = banyan(dir.path(), &["kill", "orders-migration"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(out(&again).starts_with("nothing to do: the files say so already\n"), "{}", out(&again));
    assert_eq!(banyan(dir.path(), &["revive", "orders-migration"]).status.code(), Some(0));
    assert_eq!(read(&dir, "flags/orders.yaml"), original);
}

#[test]
fn kill_all_reaches_every_file() {
    let (dir, _) = after(&["kill", "--all"]);
    for file in ["flags/orders.yaml", "flags/search.yaml"] {
        assert!(read(&dir, file).contains("    state: DISABLED\n"), "{file}");
    }
    let names: Vec<_> =
        fs::read_dir(dir.path().join("flags")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing is left behind: {names:?}");
}

#[test]
fn a_dry_run_shows_all_and_writes_nothing() {
    let (dir, shown) = after(&["set", "search-engine", "modern=12.5%", "--dry-run"]);
    super::snapshot!("edit_set", shown);
    assert_eq!(read(&dir, "flags/search.yaml"), read(&shipped(), "flags/search.yaml"));
}

#[test]
fn set_takes_nobody_back_who_gets_more() {
    let dir = shipped();
    for (share, weights) in [("0.001%", "[[modern, 1], [legacy, 99999]]"), ("100%", "[[modern, 100000], [legacy, 0]]")]
    {
        let wish = format!("modern={share}");
        let output = banyan(dir.path(), &["set", "search-engine", &wish, "--json"]);
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(read(&dir, "flags/search.yaml").contains(weights), "{shown}");
        let moves = shown["flags"][0]["moves"].as_array().unwrap();
        assert!(moves.len() <= 1, "one way only: {shown}");
    }
}

#[test]
fn pin_goes_before_all_else() {
    let (dir, shown) = after(&["pin", "orders-migration", "tenant=initech", "complete"]);
    super::snapshot!("edit_pin", shown);
    let explained = banyan(dir.path(), &["explain", "--url", "/api/orders/1", "-H", "x-tenant: initech", "--json"]);
    let explained: Value = serde_json::from_slice(&explained.stdout).unwrap();
    assert_eq!(explained["variant"], "complete");
    let output = banyan(dir.path(), &["pin", "orders-migration", "tenant=initech", "off"]);
    assert!(out(&output).contains("-        - complete\n+        - \"off\"\n"), "{}", out(&output));
}

#[test]
fn json_has_what_scripts_need() {
    let dir = shipped();
    let output = banyan(dir.path(), &["kill", "search-engine", "--reason", "why not", "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["verb"], &shown["done"], &shown["reason"]), (&"kill".into(), &true.into(), &"why not".into()));
    assert_eq!(shown["written"], serde_json::json!(["flags/search.yaml"]));
    let flag = &shown["flags"][0];
    assert_eq!((&flag["sampled"], &flag["moved"]), (&100_000.into(), &100_000.into()));
    assert_eq!(flag["moves"].as_array().unwrap().iter().map(|one| one["keys"].as_u64().unwrap()).sum::<u64>(), 100_000);
    assert!(flag["moves"][0]["to"].is_null(), "the fallback has no name");

    let output = banyan(dir.path(), &["kill", "nobody", "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["done"], &shown["findings"][0]["code"]), (&false.into(), &"unknown-flag".into()));
}

#[test]
fn what_cannot_be_is_refused_with_help() {
    let dir = shipped();
    let cases: &[&[&str]] = &[
        &["kill", "orders-migratoin"],
        &["set", "search-engine", "modren=10%"],
        &["set", "search-engine", "modern=60%", "legacy=50%"],
        &["set", "search-engine", "modern=60%", "legacy=30%"],
        &["set", "search-engine", "modern=60%", "modern=30%"],
        &["set", "orders-migration", "complete=1%"],
        &["pin", "search-engine", "tenant=acme", "live"],
    ];
    let shown: String =
        cases.iter().map(|case| format!("$ banyan {}\n{}\n", case.join(" "), refused(&dir, case))).collect();
    super::snapshot!("edit_refusals", shown);
}

#[test]
fn a_set_that_is_refused_already_is_not_edited() {
    let dir = shipped();
    fs::write(dir.path().join("flags/other.yaml"), "flags: {broken: {state: MAYBE}}\n").unwrap();
    let shown = refused(&dir, &["kill", "search-engine"]);
    assert!(shown.contains("error[refused-before]") && shown.contains("other.yaml:1:"), "{shown}");
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_to_write() {
    let dir = shipped();
    let cases: [(&[&str], &str); 6] = [
        (&["kill"], "<FLAG|--all>"),
        (&["kill", "search-engine", "--all"], "cannot be used with"),
        (&["set", "search-engine"], "VARIANT=SHARE%"),
        (&["set", "search-engine", "modern=10"], "such as 10% or 0.5%"),
        (&["set", "search-engine", "modern=0.0001%"], "at most three decimals"),
        (&["pin", "search-engine", "acme", "modern"], "as in tenant=acme"),
    ];
    for (arguments, message) in cases {
        let output = banyan(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", out(&output));
        assert!(out(&output).contains(message), "{arguments:?}: {}", out(&output));
    }
}

#[test]
fn a_running_router_takes_the_edit_up() {
    let legacy = Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nlegacy");
    let modern = Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nmodern");
    let routes = format!(
        "identity: {{targeting_key: [header:x-user-id]}}\nupstreams:\n  old: {{endpoints: [\"http://{}\"]}}\n  new: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, flag: side, variants: {{left: old, right: new}}, fallback: old}}\n",
        legacy.address, modern.address
    );
    let flags = "flags:\n  side:\n    state: ENABLED # on\n    variants: {left: left, right: right}\n    defaultVariant: right\n    metadata: {owner: tests}\n";
    let router = Setup::routes(routes).flags(flags).start();
    let request = "GET / HTTP/1.1\r\nhost: a.example\r\nx-user-id: ada\r\n\r\n";
    let served = || router.exchange(request).text();
    assert_eq!(served(), "modern");
    let verb = |arguments: &[&str]| {
        let output = banyan(router.directory(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    };
    verb(&["kill", "side", "--reason", "a test"]);
    wait_until("legacy serves", || served() == "legacy");
    verb(&["revive", "side"]);
    wait_until("modern serves", || served() == "modern");
    verb(&["set", "side", "right=0%", "left=100%"]);
    wait_until("legacy serves", || served() == "legacy");
    verb(&["pin", "side", "method=GET", "right"]);
    wait_until("modern serves", || served() == "modern");
    assert_eq!(router.metric("banyan_config_reloads_total", &[r#"result="rejected""#]), 0.0);
}

#[test]
fn a_disabled_flag_is_said_to_be_one() {
    let dir = shipped();
    assert_eq!(banyan(dir.path(), &["kill", "search-engine"]).status.code(), Some(0));
    let output = banyan(dir.path(), &["set", "search-engine", "modern=50%"]);
    assert!(out(&output).contains("note[disabled]") && out(&output).contains("0 of 100,000"), "{}", out(&output));
}

#[test]
fn many_flags_are_sampled_less_and_all_are_killed() {
    let dir = shipped();
    let flag = |number: usize| {
        format!(
            "  f{number}: {{state: ENABLED, variants: {{x: x, y: y}}, defaultVariant: x, metadata: {{owner: me}}}}\n"
        )
    };
    let text = format!("flags:\n{}", (0..2_000).map(flag).collect::<String>());
    fs::write(dir.path().join("flags/many.yaml"), &text).unwrap();
    let output = banyan(dir.path(), &["kill", "--all"]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert_eq!(read(&dir, "flags/many.yaml"), text.replace("ENABLED", "DISABLED"));
    assert!(out(&output).contains("999 of 999 sampled users move"), "{}", out(&output));
    assert!(out(&output).contains("and 1982 flags more"), "{}", out(&output));
}
