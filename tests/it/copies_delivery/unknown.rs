//! Writes whose outcome nobody knows: the primary is asked, never guessed about.

use super::*;

#[test]
fn a_failed_write_that_was_done_is_copied_and_one_that_was_not_is_undone() {
    let (legacy, modern) = (Service::default(), Service::default());
    let broken = status("500 Internal Server Error");
    for path in ["/orders/1", "/orders/2"] {
        legacy.script(&format!("PUT {path}"), &[&broken]);
        modern.put(path, r#"{"old":1}"#);
    }
    legacy.put("/orders/1", r#"{"done":1}"#);
    let (primary, copied) = (legacy.start(), modern.start());
    let router = router(primary.address, copied.address, "");
    for path in ["/orders/1", "/orders/2"] {
        assert_eq!(router.exchange(request("PUT", path, r#"{"asked":1}"#)).status(), 500);
    }
    wait_until("what was done is copied", || modern.thing("/orders/1").as_deref() == Some(r#"{"done":1}"#));
    wait_until("what is not there goes", || modern.thing("/orders/2").is_none());
    drop(router);
}

#[test]
fn what_was_acknowledged_before_the_state_was_read_is_not_done_again() {
    let (legacy, modern) = (Service::default(), Service::default());
    legacy.script("PUT /orders/1", &[&status("500 Internal Server Error")]);
    legacy.script("PATCH /orders/1", &[&ok("{}"), &ok("{}")]);
    modern.refuse_copies(true);
    let (primary, copied) = (legacy.start(), modern.start());
    let router = router(primary.address, copied.address, "");
    assert_eq!(router.exchange(request("PUT", "/orders/1", r#"{"count":0}"#)).status(), 500);
    for count in [1, 2] {
        assert_eq!(router.exchange(request("PATCH", "/orders/1", r#"{"add":1}"#)).status(), 200);
        legacy.put("/orders/1", &format!(r#"{{"count":{count}}}"#));
    }
    // Once a later write is known to the courier, so are those before it.
    assert_eq!(router.exchange(request("PUT", "/orders/2", "{}")).status(), 200);
    let asked = |line: &str| copied.requests().iter().filter(|seen| seen.line.starts_with(line)).count();
    wait_until("a later copy is tried", || asked("PUT /orders/2") > 0);
    modern.refuse_copies(false);
    wait_until("the state arrives", || modern.thing("/orders/1").as_deref() == Some(r#"{"count":2}"#));
    wait_until("nothing is pending", || router.metric("banyan_copies_pending", &[]) == 0.0);
    assert_eq!(asked("PATCH"), 0);
    assert_eq!(router.metric("banyan_copies_ended_total", &[r#"how="resolved""#]), 3.0);
    let reads = primary.requests();
    let read = reads.iter().find(|seen| seen.line.starts_with("GET /orders/1")).unwrap();
    assert_eq!(read.field("cache-control"), "no-cache");
    // What comes later is delivered as ever.
    legacy.script("PATCH /orders/1", &[&ok("{}")]);
    modern.script("PATCH /orders/1", &[&ok("{}")]);
    assert_eq!(router.exchange(request("PATCH", "/orders/1", r#"{"add":1}"#)).status(), 200);
    wait_until("the next one is sent", || asked("PATCH") == 1);
}

#[test]
fn a_create_is_looked_up_by_its_key() {
    let (legacy, modern) = (Service::default(), Service::default());
    let broken = status("500 Internal Server Error");
    legacy.script("POST /orders", &[&broken, &broken]);
    legacy.script("GET /orders/by-key", &[&ok(r#"{"id":17}"#), &status("404 Not Found")]);
    let (primary, copied) = (legacy.start(), modern.start());
    let copies =
        "entity: \"order:{rest}\", created: \"json:/id\", carry_id: path, lookup: \"/orders/by-key?key={key}\"";
    let router = router(primary.address, copied.address, copies);
    assert_eq!(router.exchange(request("POST", "/orders", r#"{"a":1}"#)).status(), 500);
    wait_until("the one that was done is copied", || modern.thing("/orders/17").as_deref() == Some(r#"{"a":1}"#));
    assert_eq!(router.exchange(request("POST", "/orders", r#"{"a":2}"#)).status(), 500);
    let asked = |seen: &Message| seen.target().starts_with("/orders/by-key");
    wait_until("both are looked up", || primary.requests().iter().filter(|seen| asked(seen)).count() == 2);
    router.exchange(request("PUT", "/orders/3", "{}"));
    wait_until("others go on", || modern.thing("/orders/3").is_some());
    assert_eq!(copied.requests().len(), 2, "what was not done is not copied");
    let key = primary.requests()[0].field("idempotency-key");
    assert!(primary.requests().iter().any(|seen| asked(seen) && seen.target().contains(key.trim_matches('"'))));
}

#[test]
fn without_a_way_to_ask_a_create_is_parked() {
    let (legacy, modern) = (Service::default(), Service::default());
    legacy.script("POST /orders", &[&status("500 Internal Server Error")]);
    let (primary, copied) = (legacy.start(), modern.start());
    let mut router = router(primary.address, copied.address, "entity: \"order:{rest}\", created: location");
    router.exchange(request("POST", "/orders", "{}"));
    router.wait_for_log("it is parked", |line| line.contains("a copy is parked") && line.contains("unknown_outcome"));
    assert_eq!(copied.requests().len(), 0);
}
