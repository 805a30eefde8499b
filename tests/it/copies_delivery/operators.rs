//! What operators see of copies and do about parked ones, with the command line over the admin socket.

use std::process::Command;

use serde_json::Value;

use super::*;

/// Runs `banyan journal` against a router.
pub(super) fn journal(router: &Router, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    command.arg("journal").args(arguments).arg("--state").arg(router.directory().join("state"));
    let output = command.output().unwrap();
    let told = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(told).unwrap())
}

pub(super) fn json(router: &Router, arguments: &[&str]) -> Value {
    let (done, text) = journal(router, &[arguments, &["--json"]].concat());
    assert!(done, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// What `banyan status` calls wrong.
pub(super) fn problems(router: &Router) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    let output = command.args(["status", "--json", "--state"]).arg(router.directory().join("state")).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = status["problems"].as_array().unwrap().iter();
    found.map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
}

/// How the destination `modern` stands.
pub(super) fn modern(router: &Router) -> Value {
    let status = json(router, &["status"]);
    let found = status["destinations"].as_array().unwrap().iter().find(|one| one["name"] == "modern").cloned();
    found.unwrap_or_default()
}

#[test]
fn parked_copies_are_seen_mended_replayed_and_dropped() {
    let (legacy, copied) = (Service::default(), Service::default());
    let refused = status("422 Unprocessable Content");
    for order in 1..=3 {
        copied.script(&format!("PUT /orders/{order}"), &[&refused]);
    }
    let (primary, destination) = (legacy.start(), copied.start());
    let router = router(primary.address, destination.address, "");
    for order in 1..=3 {
        let body = format!("{{\"wrong\":{order}}}");
        assert_eq!(router.exchange(request("PUT", &format!("/orders/{order}"), &body)).status(), 200);
    }
    wait_until("all are parked", || modern(&router)["parked"] == 3 && modern(&router)["pending"] == 0);
    assert!(problems(&router).contains(&"copies-parked".to_owned()));
    let listed = json(&router, &["list"]);
    assert_eq!((&listed["groups"][0]["count"], &listed["groups"][0]["came"]), (&3.into(), &"422".into()), "{listed}");
    let parked = |target: &str| -> String {
        let found = listed["parked"].as_array().unwrap().iter().find(|copy| copy["target"] == target);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let shown = json(&router, &["show", &parked("/orders/1")]);
    assert_eq!(shown["copies"][0]["body"], "{\"wrong\":1}");
    let (_, text) = journal(&router, &["show", &parked("/orders/1")]);
    assert!(text.contains("no: 422") && text.contains("content-type: application/json"), "{text}");

    let mended = router.directory().join("mended.json");
    std::fs::write(&mended, r#"{"right":1}"#).unwrap();
    let mended = mended.to_str().unwrap();
    let (done, text) = journal(&router, &["replay", &parked("/orders/1"), "--body", mended, "--reason", "mended it"]);
    assert!(done && text.starts_with("done: 1 copy"), "{text}");
    wait_until("it arrives", || copied.thing("/orders/1").as_deref() == Some(r#"{"right":1}"#));
    let sent = |target: &str| -> Vec<String> {
        let to = destination.requests().into_iter().filter(|seen| seen.target() == target);
        to.map(|seen| seen.field("idempotency-key")).collect()
    };
    assert_eq!(sent("/orders/1")[0], sent("/orders/1")[1], "the key stays");

    let (done, _) = journal(&router, &["drop", &parked("/orders/2"), "--reason", "test data"]);
    assert!(done);
    let group = listed["groups"][0]["group"].as_str().unwrap();
    let (done, text) = journal(&router, &["replay", group, "--reason", "the schema knows it now"]);
    assert!(done, "{text}");
    wait_until("the rest arrives", || copied.thing("/orders/3").is_some());
    wait_until("nothing is parked", || modern(&router)["parked"] == 0 && modern(&router)["pending"] == 0);
    assert_eq!(copied.thing("/orders/2"), None);
    let (done, text) = journal(&router, &["replay", group, "--reason", "again"]);
    assert!(!done && text.contains("no copy or group `") && text.contains("; `banyan journal list`"), "{text}");

    let history = Command::new(env!("CARGO_BIN_EXE_banyan"))
        .args(["history", "--json", "--state"])
        .arg(router.directory().join("state"))
        .output()
        .unwrap();
    let history = String::from_utf8(history.stdout).unwrap();
    assert_eq!(history.matches("\"action\":\"replay\"").count(), 2, "{history}");
    assert!(history.contains("\"action\":\"drop\"") && history.contains("test data"), "{history}");
    router.wait_for_metric("banyan_copies_ended_total", &["destination=\"modern\"", "how=\"delivered\""], 2.0);
}

#[test]
fn lag_is_seen_and_a_paused_destination_is_tried_when_told() {
    let (legacy, copied) = (Service::default(), Service::default());
    copied.script("PUT /orders/1", &[&status("403 Forbidden")]);
    let (primary, destination) = (legacy.start(), copied.start());
    let router = router(primary.address, destination.address, "");
    router.exchange(request("PUT", "/orders/1", "{}"));
    wait_until("it is paused", || modern(&router)["paused"] == true);
    router.exchange(request("PUT", "/orders/2", "{}"));
    let standing = modern(&router);
    assert_eq!((&standing["pending"], &standing["breaker"]), (&2.into(), &"paused".into()), "{standing}");
    wait_until("it gets older", || modern(&router)["oldest_ms"].as_u64() > Some(10));
    let (done, text) = journal(&router, &["resume", "modern", "--reason", "the token is new"]);
    assert!(done, "{text}");
    wait_until("both arrive", || copied.thing("/orders/1").is_some() && copied.thing("/orders/2").is_some());
    wait_until("nothing is left", || modern(&router)["pending"] == 0 && modern(&router)["paused"] == false);
    let (done, text) = journal(&router, &["resume", "nobody", "--reason", "x"]);
    assert!(!done && text.contains("nothing is copied to `nobody`; `banyan journal status`"), "{text}");
}

#[test]
fn what_is_too_large_leaves_a_gap() {
    let (legacy, copied) = (Service::default(), Service::default());
    let (primary, destination) = (legacy.start(), copied.start());
    let router = router(primary.address, destination.address, "body_bytes_max: 16");
    router.exchange(request("PUT", "/orders/1", &"x".repeat(17)));
    wait_until("the gap is seen", || modern(&router)["gaps"] == 1);
    let gaps = json(&router, &["gaps"]);
    assert_eq!((&gaps["gaps"][0]["target"], &gaps["gaps"][0]["reason"]), (&"/orders/1".into(), &"too_large".into()));
    assert_eq!(destination.requests().len(), 0);

    let (_, text) = journal(&router, &["gaps"]);
    let (time, rest) = text.split_once("  ").unwrap();
    let shape: String = time.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    assert_eq!((&*shape, rest), ("0000-00-00T00:00:00.000Z", "orders to modern  PUT /orders/1  too_large\n"));
    router.exchange(request("PUT", "/orders/2", &"x".repeat(17)));
    wait_until("both are seen", || modern(&router)["gaps"] == 2);
    let (_, text) = journal(&router, &["gaps", "--limit", "1"]);
    assert!(text.ends_with("the newest 1 for modern; --all lists all that are kept\n"), "{text}");
    let (_, text) = journal(&router, &["gaps", "--all"]);
    assert_eq!((text.lines().count(), text.contains("--all")), (2, false), "{text}");
}

/// A regression: 20 were shown, and nothing said that there were more.
#[test]
fn a_list_says_how_many_it_leaves_out() {
    let (legacy, copied) = (Service::default(), Service::default());
    for order in 1..=22 {
        let line = if order > 21 { "410 Gone" } else { "422 Unprocessable Content" };
        copied.script(&format!("PUT /orders/{order}"), &[&status(line)]);
    }
    let (primary, destination) = (legacy.start(), copied.start());
    let router = router(primary.address, destination.address, "");
    for order in 1..=22 {
        assert_eq!(router.exchange(request("PUT", &format!("/orders/{order}"), "{}")).status(), 200);
    }
    wait_until("all are parked", || modern(&router)["parked"] == 22 && modern(&router)["pending"] == 0);
    let (_, text) = journal(&router, &["list"]);
    assert!(text.ends_with("\nand 2 more; --all lists them\n"), "{text}");
    let (_, text) = journal(&router, &["list", "--all"]);
    assert_eq!((text.matches("  PUT /orders/").count(), text.contains("more")), (22, false), "{text}");
    let listed = json(&router, &["list", "--all"]);
    assert_eq!(listed["parked"].as_array().unwrap().len(), 22, "{listed}");
    let group = listed["groups"][1]["group"].as_str().unwrap();
    let (_, text) = journal(&router, &["list", "--group", group]);
    assert_eq!((text.matches("  PUT /orders/").count(), text.contains("more")), (1, false), "{text}");
    assert_eq!(json(&router, &["list", "--all", "--group", group])["parked"].as_array().unwrap().len(), 1);

    let (done, text) = journal(&router, &["show", group]);
    assert!(!done && text.contains(&format!("no copy `{group}` is parked; `banyan journal list`")), "{text}");
    let (done, text) = journal(&router, &["drop", "a b/../c", "--reason", "x"]);
    assert!(!done && text.contains("no copy or group `a b/../c` is parked"), "{text}");
}
