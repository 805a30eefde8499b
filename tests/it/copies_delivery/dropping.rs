//! What waits for a destination is given up by a person: said first, with gaps, and never silently, whenever the router dies.

use rustix::process::Signal;

use super::operators::{journal, json, modern, problems};
use super::*;

/// The route file without the migration.
fn without_modern(legacy: SocketAddr) -> String {
    format!(
        "upstreams:\n  legacy: {{endpoints: [\"http://{legacy}\"]}}\n\
         routes:\n  - {{name: orders, match: {{path: \"/orders/{{*rest}}\"}}, upstream: legacy}}\n"
    )
}

fn reload(router: &Router) {
    let reloaded = crate::edit_verbs::banyan(router.directory(), &["reload"]);
    assert_eq!(reloaded.status.code(), Some(0), "{reloaded:?}");
}

fn write(router: &Router, orders: std::ops::Range<usize>) {
    let mut wire = router.connect();
    for order in orders {
        assert_eq!(wire.send(request("PUT", &format!("/orders/{order}"), "{}")).answer().status(), 200);
    }
}

#[test]
fn what_waits_for_a_removed_destination_is_given_up_with_gaps() {
    let legacy = Service::default();
    let primary = legacy.start();
    let mut router = router(primary.address, nowhere(), "mode: async");
    write(&router, 0..40);
    // The same entity once more: it stands behind another one that waits.
    write(&router, 0..5);
    wait_until("all wait", || modern(&router)["pending"] == 45);
    let (done, text) = journal(&router, &["drop", "--destination", "modern", "--reason", "test"]);
    assert!(!done && text.contains("45 copies wait for `modern`") && text.contains("--yes"), "{text}");
    assert_eq!(modern(&router)["pending"], 45);
    router.edit_routes(&without_modern(primary.address));
    reload(&router);
    wait_until("it is seen", || problems(&router).contains(&"copies-nowhere".to_owned()));
    let (done, text) = journal(&router, &["drop", "--destination", "modern", "--reason", "it is gone"]);
    assert!(done && text.starts_with("45 copies wait for modern") && text.contains("done: 45 copies"), "{text}");
    wait_until("nothing waits", || modern(&router)["pending"] == 0);
    let standing = modern(&router);
    assert_eq!((&standing["gaps"], &standing["ended"]["dropped"]), (&45.into(), &45.into()), "{standing}");
    let gaps = json(&router, &["gaps", "--limit", "100"]);
    let gaps = gaps["gaps"].as_array().unwrap();
    assert!(gaps.iter().all(|gap| gap["reason"] == "dropped" && gap["route"] == "orders"), "{gaps:?}");
    assert!(gaps.iter().any(|gap| gap["target"] == "/orders/39" && gap["method"] == "PUT"), "{gaps:?}");
    router.wait_for_metric("banyan_copies_ended_total", &["destination=\"modern\"", "how=\"dropped\""], 45.0);
    let history = crate::edit_verbs::banyan(router.directory(), &["history", "--json"]);
    let history = String::from_utf8(history.stdout).unwrap();
    assert!(history.contains("it is gone") && history.contains(r#""destination":"modern""#), "{history}");
    // A line says what it is about, as that of a flag does.
    let lines = crate::edit_verbs::out(&crate::edit_verbs::banyan(router.directory(), &["history"]));
    assert!(lines.lines().any(|line| line.contains(" drop ") && line.contains(" modern  ")), "{lines}");
    assert!(!journal(&router, &["drop", "--destination", "nobody", "--reason", "x"]).0);
    router.signal(Signal::TERM);
    router.wait_for_exit();
    let again = router.again(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let standing = modern(&again);
    assert_eq!((&standing["pending"], &standing["gaps"]), (&0.into(), &45.into()), "{standing}");
}

#[test]
fn what_waits_for_a_destination_of_the_files_is_given_up_when_it_is_confirmed_and_later_copies_arrive() {
    let (legacy, copied) = (Service::default(), Service::default());
    let (primary, address) = (legacy.start(), nowhere());
    let router = router(primary.address, address, "");
    write(&router, 0..3);
    wait_until("all wait", || modern(&router)["pending"] == 3);
    let (done, text) = journal(&router, &["drop", "--destination", "modern", "--reason", "test data", "--yes"]);
    assert!(done, "{text}");
    wait_until("nothing waits", || modern(&router)["pending"] == 0);
    let destination = copied.start_on(TcpListener::bind(address).unwrap());
    write(&router, 1..2);
    wait_until("the later one arrives", || copied.thing("/orders/1").is_some());
    assert_eq!(destination.requests().len(), 1);
    assert_eq!(modern(&router)["gaps"], 3);
}

#[test]
fn a_router_that_is_killed_while_it_gives_copies_up_loses_none_silently() {
    const WRITES: usize = 3_000;
    let legacy = Service::default();
    let primary = legacy.start();
    let mut router = router(primary.address, nowhere(), "mode: async");
    write(&router, 0..WRITES);
    wait_until("all wait", || modern(&router)["pending"] == WRITES);
    router.edit_routes(&without_modern(primary.address));
    reload(&router);
    let mut rounds = 0;
    loop {
        let (done, text) = journal(&router, &["drop", "--destination", "modern", "--reason", "it is gone"]);
        assert!(done, "{text}");
        if rounds == 3 {
            break;
        }
        rounds += 1;
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..30)));
        router.signal(Signal::KILL);
        router.wait_for_exit();
        router = router.again(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let standing = modern(&router);
        let (pending, gaps) = (standing["pending"].as_u64().unwrap(), standing["gaps"].as_u64().unwrap());
        println!("killed with {pending} that wait and {gaps} gaps");
        assert!(pending + gaps >= WRITES as u64, "{standing}");
    }
    wait_until("nothing waits", || modern(&router)["pending"] == 0);
    assert_eq!(modern(&router)["gaps"], WRITES, "each once");
}
