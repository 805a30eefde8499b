//! Two routers on one state directory, as during a hand-over: what either acknowledged holds in both.

use std::fs;
use std::sync::Arc;

use banyan::control::{Command, Durable};
use banyan::flag::OverrideKind;
use serde_json::Value;

use crate::override_commands::{Plane, kill, order, pin, revive};
use crate::reload::wait_until;

/// A second plane on the files of the first.
fn beside(first: &Plane) -> Plane {
    Plane::start_at(first.state().parent().unwrap(), Arc::new(tempfile::tempdir().unwrap()))
}

fn written(plane: &Plane) -> Value {
    let text = fs::read_to_string(plane.state().join("overrides.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn what_one_process_acknowledges_lies_over_the_other_one() {
    let old = Plane::start();
    let new = beside(&old);
    old.give(kill("side"));
    wait_until("the new one has it", || new.decider("side") == Some(OverrideKind::Kill));
    new.give(revive("side"));
    wait_until("and the old one loses it", || old.decider("side").is_none());
    old.give(Command::KillAll);
    wait_until("every flag", || new.decider("other") == Some(OverrideKind::KillAll));
}

#[test]
fn nothing_is_lost_when_both_take_commands_at_once() {
    let old = Plane::start();
    let new = beside(&old);
    std::thread::scope(|scope| {
        for (plane, users) in [(&old, 0..50), (&new, 50..100)] {
            scope.spawn(move || {
                for user in users {
                    let receipt = plane
                        .handle
                        .operator()
                        .execute(&order(pin("side", &format!("user-{user}"), "modern")))
                        .unwrap();
                    assert_eq!(receipt.durable, Durable::Yes);
                }
            });
        }
    });
    let pins = written(&old)["overrides"]["flags"]["side"]["pins"].as_array().unwrap().len();
    assert_eq!(pins, 100, "all are in the file");
    wait_until("all are in force in both", || {
        [&old, &new].iter().all(|plane| plane.modern("side") >= 100 && (0..100).all(|user| plane.is_pinned(user)))
    });
}

#[test]
fn whoever_removes_the_file_or_ruins_it_releases_nothing() {
    let plane = Plane::start();
    plane.give(kill("side"));
    let path = plane.state().join("overrides.json");
    fs::remove_file(&path).unwrap();
    wait_until("it is written anew", || path.exists());
    assert!(written(&plane)["overrides"]["flags"]["side"]["kill"].is_object());
    fs::write(&path, "ruined").unwrap();
    wait_until("it is written anew", || fs::read_to_string(&path).is_ok_and(|text| text.contains("\"kill\"")));
    assert_eq!(plane.decider("side"), Some(OverrideKind::Kill));
}
