//! What would undo newer writes is not done without being told: replaying an older one, reviving a side that lacks some.

use rustix::process::Signal;

use super::operators::{journal, json, modern};
use super::*;

fn put(router: &Router, order: u32, value: u32) {
    let body = format!("{{\"v\":{value}}}");
    assert_eq!(router.exchange(request("PUT", &format!("/orders/{order}"), &body)).status(), 200);
}

#[test]
fn a_replay_that_would_undo_a_newer_write_must_be_meant() {
    let (legacy, copied) = (Service::default(), Service::default());
    let refused = status("422 Unprocessable Content");
    for order in 1..=2 {
        copied.script(&format!("PUT /orders/{order}"), &[&refused]);
    }
    let (primary, destination) = (legacy.start(), copied.start());
    let mut router = router(primary.address, destination.address, "");
    put(&router, 1, 1);
    put(&router, 2, 1);
    wait_until("both are parked", || modern(&router)["parked"] == 2);
    put(&router, 1, 2);
    wait_until("the newer one arrives", || copied.thing("/orders/1").as_deref() == Some(r#"{"v":2}"#));
    wait_until("that is noted", || modern(&router)["pending"] == 0);
    let listed = json(&router, &["list"]);
    let parked = |target: &str| -> String {
        let found = listed["parked"].as_array().unwrap().iter().find(|copy| copy["target"] == target);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let group = listed["groups"][0]["group"].as_str().unwrap();
    let refuses = |router: &Router, name: &str| {
        let (done, text) = journal(router, &["replay", name, "--reason", "mended"]);
        let newer = primary.requests().last().unwrap().field("idempotency-key");
        assert!(!done && text.contains("PUT /orders/1") && text.contains(&newer) && text.contains("--yes"), "{text}");
    };
    refuses(&router, &parked("/orders/1"));
    refuses(&router, group);
    router.signal(Signal::KILL);
    router.wait_for_exit();
    let router = router.again(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    refuses(&router, &parked("/orders/1"));
    assert_eq!(modern(&router)["parked"], 2, "nothing was sent");
    // Nothing is newer than the other one.
    let (done, text) = journal(&router, &["replay", &parked("/orders/2"), "--reason", "mended"]);
    assert!(done, "{text}");
    wait_until("it arrives", || copied.thing("/orders/2").as_deref() == Some(r#"{"v":1}"#));
    let (done, text) = journal(&router, &["replay", &parked("/orders/1"), "--reason", "so be it", "--yes"]);
    assert!(done, "{text}");
    wait_until("the older one is back", || copied.thing("/orders/1").as_deref() == Some(r#"{"v":1}"#));
    wait_until("nothing is parked", || modern(&router)["parked"] == 0 && modern(&router)["pending"] == 0);
}

#[test]
fn reviving_a_side_that_lacks_writes_says_so() {
    let (legacy, copied) = (Service::default(), Service::default());
    let (primary, destination) = (legacy.start(), copied.start());
    let verb = |router: &Router, arguments: &[&str]| {
        let output = crate::edit_verbs::banyan(router.directory(), arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for (fallback, says_so) in [("", true), ("\n    fallback: dualwrite", false)] {
        let files = routes(primary.address, destination.address, "");
        let files = files.replace("modern: modern}", &format!("modern: modern}}{fallback}"));
        let mut router = Setup::routes(files).flags(stage("live")).start();
        verb(&router, &["kill", "orders", "--reason", "errors"]);
        put(&router, 1, 1);
        let revive = ["revive", "orders", "--reason", "mended"];
        let dry = verb(&router, &[&revive[..], &["--live", "--dry-run"]].concat());
        let told = verb(&router, &[&revive[..], &["--json"]].concat());
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let command = "banyan reconcile orders --from legacy --listing PATH --yes";
        assert_eq!(dry.contains(command), says_so, "{dry}");
        assert_eq!(told["remark"].as_str().is_some_and(|remark| remark.contains(command)), says_so, "{told}");
        if says_so {
            let one = &told["uncopied"][0];
            assert_eq!(
                (&one["from"], &one["to"], &one["command"]),
                (&"legacy".into(), &"modern".into(), &command.into())
            );
            assert!(one["since_unix_ms"].as_u64().is_some(), "{one}");
            router.wait_for_log("the same", |line| line.contains(command));
        } else {
            assert_eq!(told["uncopied"], serde_json::json!([]));
        }
        // What was not killed comes back with nothing missing.
        let again = verb(&router, &["revive", "--all", "--live", "--reason", "x", "--json"]);
        assert!(again.contains("\"uncopied\": []"), "{again}");
    }
}

#[test]
fn copies_that_go_on_and_writes_that_are_not_copied_are_logged() {
    let (legacy, copied) = (Service::default(), Service::default());
    let (primary, address) = (legacy.start(), nowhere());
    let mut router = router(primary.address, address, "body_bytes_max: 16");
    for order in 0..6 {
        put(&router, order, 1);
    }
    router.wait_for_log("they wait", |line| line.contains("copies wait: it fails"));
    let _destination = copied.start_on(TcpListener::bind(address).unwrap());
    router.wait_for_log("they go on", |line| line.contains("copies go on") && line.contains("\"modern\""));
    for order in 0..50 {
        router.exchange(request("PUT", &format!("/orders/{order}"), &"x".repeat(17)));
    }
    let is_told = |line: &String| line.contains("writes are not copied");
    router.wait_for_log("they are not copied", |line| is_told(&line.to_owned()) && line.contains("too_large"));
    assert_eq!(router.logs().iter().filter(|line| is_told(line)).count(), 1);
}
