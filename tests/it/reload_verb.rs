//! `banyan reload`, and overrides that are taken away while an edit of the files is not taken up yet: the real router.

use std::fs;

use banyan::control::{Action, read_history};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::edit_verbs::{banyan, out};
use crate::override_break_glass::{FLAGS, Two, served};
use crate::reload::wait_until;
use crate::support::Router;
use crate::support::router::Setup;

const BROKEN: &str = "flags: {side: {state: MAYBE\n";

/// A router that does not take up edits by itself as long as a test may last.
fn slow_router(two: &Two, flags: &str) -> Router {
    // Whoever asks has a key, which is what shares go by.
    let routes = format!("identity: {{targeting_key: [issue:visitor]}}\n{}", two.routes());
    Setup::routes(routes).flags(flags).arguments(&["--debounce-ms", "60000", "--poll-ms", "0"]).start()
}

/// The flag's file with another default, which is what a router without overrides serves.
fn at(side: &str) -> String {
    FLAGS.replace("defaultVariant: right", &format!("defaultVariant: {side}"))
}

/// The code and the JSON of a verb.
fn told(router: &Router, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = banyan(router.directory(), &[arguments, &["--json"]].concat());
    let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", out(&output)));
    (output.status.code(), told)
}

fn reload(router: &Router, arguments: &[&str]) -> (Option<i32>, u64, String) {
    let (code, told) = told(router, &[&["reload"], arguments].concat());
    (code, told["generation"].as_u64().unwrap(), told["result"].as_str().unwrap().to_owned())
}

#[test]
fn reload_returns_when_the_edit_is_in_force() {
    let two = Two::start();
    let router = slow_router(&two, FLAGS);
    assert_eq!(reload(&router, &[]), (Some(0), 1, "unchanged".into()));
    for round in 1..=20 {
        let side = if round % 2 == 0 { "right" } else { "left" };
        router.edit_flags(&at(side));
        assert_eq!(reload(&router, &[]), (Some(0), round + 1, "published".into()));
        assert_eq!(served(&router), side);
    }
    let said = banyan(router.directory(), &["reload"]);
    assert_eq!(out(&said), "in force on all workers: generation 21, as before: it is what the files say\n");
    router.edit_flags(&at("left"));
    let said = banyan(router.directory(), &["reload", "--who", "ada"]);
    assert_eq!(out(&said), "in force on all workers: generation 22, by state/admin.sock\n");
    // The history is written behind.
    let entry = || {
        read_history(&router.directory().join("state"))
            .unwrap()
            .entries
            .into_iter()
            .rfind(|entry| entry.generation == 22)
    };
    wait_until("the entry", || entry().is_some());
    let last = entry().unwrap();
    assert_eq!(last.action, Action::Publish);
    assert!(last.who.as_ref().is_some_and(|who| who.starts_with("ada via ")), "{last:?}");
    assert!(last.why.as_ref().is_some_and(|why| why.starts_with("asked: ")), "{last:?}");
}

#[test]
fn what_is_rejected_is_shown_as_check_shows_it() {
    let two = Two::start();
    let router = slow_router(&two, FLAGS);
    router.edit_flags(BROKEN);
    // Twice: what is known to be bad is no news, and shown all the same.
    for _ in 0..2 {
        let (said, checked) = (banyan(router.directory(), &["reload"]), banyan(router.directory(), &["check"]));
        assert_eq!((said.status.code(), checked.status.code()), (Some(1), Some(1)), "{}", out(&said));
        let (said, checked) = (out(&said), out(&checked));
        let place = checked.split("\n\n").next().unwrap();
        assert!(place.contains("test.yaml:1:") && said.contains(place), "{said}\n{checked}");
        assert!(said.ends_with("rejected: generation 1 stays in force\n"), "{said}");
    }
    let (code, told) = told(&router, &["reload"]);
    assert_eq!((code, &told["done"], &told["result"]), (Some(1), &json!(false), &json!("rejected")));
    assert_eq!(told["findings"][0]["severity"], "error", "{told}");
    assert_eq!(served(&router), "right");
    router.edit_flags(FLAGS);
    assert_eq!(reload(&router, &[]), (Some(0), 1, "unchanged".into()));
}

#[test]
fn a_much_smaller_set_is_published_when_it_is_meant() {
    let two = Two::start();
    let more = (0..5).map(|number| FLAGS.replace("flags:\n", "").replace("side:", &format!("side-{number}:")));
    let router = slow_router(&two, &(FLAGS.to_owned() + &more.collect::<String>()));
    router.edit_flags(&at("left"));
    for _ in 0..2 {
        assert_eq!(reload(&router, &[]), (Some(1), 1, "rejected".into()));
    }
    assert_eq!(reload(&router, &["--accept-shrink"]), (Some(0), 2, "published".into()));
    assert_eq!(served(&router), "left");
}

#[test]
fn under_a_restore_files_are_held_and_a_release_takes_them_as_they_are() {
    let two = Two::start();
    let router = slow_router(&two, FLAGS);
    assert_eq!(told(&router, &["restore", "1", "--reason", "x"]).0, Some(0));
    router.edit_flags(&at("left"));
    // Whether they are judged for the first time or known.
    for _ in 0..2 {
        assert_eq!(reload(&router, &[]), (Some(1), 2, "held".into()));
    }
    assert_eq!(served(&router), "right");
    router.edit_flags(&at("right").replace("owner: tests", "owner: others"));
    router.edit_flags(&at("left").replace("owner: tests", "owner: others"));
    let (code, receipt) = told(&router, &["release", "--reason", "x"]);
    assert_eq!((code, &receipt["files"]), (Some(0), &json!("held")), "{receipt}");
    assert_eq!(served(&router), "left");
    assert_eq!(reload(&router, &[]), (Some(0), 3, "unchanged".into()));
}

/// A regression: `set`, which edits the file, and then `revive` had the old file in force for a moment.
#[test]
fn what_an_override_uncovers_is_what_the_files_say_now() {
    let two = Two::start();
    let router = slow_router(&two, FLAGS);
    let pairs: [(&[&str], &[&str]); 4] = [
        (&["kill", "side", "--reason", "x"], &["revive", "side", "--reason", "x"]),
        (&["kill", "--all", "--reason", "x"], &["revive", "--all", "--reason", "x"]),
        (
            &["set", "side", "left=100%", "--live", "--reason", "x"],
            &["set", "side", "--live", "--release", "--reason", "x"],
        ),
        (
            &["pin", "side", "method=GET", "left", "--live", "--reason", "x"],
            &["pin", "side", "--live", "--release", "--reason", "x"],
        ),
    ];
    for (lay, take_away) in pairs {
        router.edit_flags(FLAGS);
        reload(&router, &[]);
        let (code, receipt) = told(&router, lay);
        assert_eq!((code, &receipt["files"], served(&router).as_str()), (Some(0), &Value::Null, "left"), "{receipt}");
        // Its old text would give `right`.
        router.edit_flags(&at("left"));
        let before = receipt["generation"].as_u64().unwrap();
        let (code, receipt) = told(&router, take_away);
        assert_eq!((code, &receipt["files"]), (Some(0), &json!("published")), "{take_away:?}: {receipt}");
        assert_eq!(receipt["generation"], before + 2, "first the files, then what lay over them");
        assert!(receipt["remark"].as_str().is_some_and(|remark| remark.contains("published first")), "{receipt}");
        assert_eq!(served(&router), "left");
    }
}

#[test]
fn broken_files_keep_nobody_from_a_revive() {
    let two = Two::start();
    let router = slow_router(&two, FLAGS);
    assert_eq!(told(&router, &["kill", "side", "--reason", "x"]).0, Some(0));
    router.edit_flags(BROKEN);
    let (code, receipt) = told(&router, &["revive", "side", "--live", "--reason", "x"]);
    assert_eq!((code, &receipt["files"], &receipt["changed"]), (Some(0), &json!("rejected"), &json!(true)));
    let remark = receipt["remark"].as_str().unwrap();
    assert!(remark.contains("the files have errors now (") && remark.contains("the last good ones apply"), "{remark}");
    assert_eq!(served(&router), "right");
}

#[test]
fn a_kill_and_a_dry_run_look_at_no_file() {
    let two = Two::start();
    let router = slow_router(&two, FLAGS);
    router.edit_flags(&at("left").replace("owner: tests", "owner: others"));
    let (_, receipt) = told(&router, &["kill", "side", "--reason", "x"]);
    assert_eq!((&receipt["generation"], &receipt["files"]), (&json!(2), &Value::Null), "{receipt}");
    let (_, receipt) = told(&router, &["revive", "side", "--live", "--dry-run", "--reason", "x"]);
    assert_eq!((&receipt["generation"], &receipt["files"]), (&json!(2), &Value::Null), "{receipt}");
}

#[test]
fn without_a_router_reload_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let said = banyan(directory.path(), &["reload"]);
    assert_eq!(said.status.code(), Some(3), "{}", out(&said));
    assert!(out(&said).contains("no router answers"), "{}", out(&said));
    let two = Two::start();
    let mut router = slow_router(&two, FLAGS);
    fs::write(router.directory().join("flags/other.yaml"), BROKEN).unwrap();
    router.signal(Signal::TERM);
    router.wait_for_exit();
    assert_eq!(banyan(router.directory(), &["reload"]).status.code(), Some(3));
}
