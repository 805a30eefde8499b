//! The promises of dual writes, G1 to G8 of the design, one test or more for each; every one fails without the behaviour.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::no_loss::{Entry, MARK, Service, World, routes, stage};
use crate::support::PATIENCE;
use crate::support::message::Message;
use crate::support::origin::Origin;
use crate::support::router::{Router, Setup};

/// A write by its number, which is the value as well; `fields` are further header lines.
fn write(router: &Router, method: &str, name: &str, id: u64, fields: &str) -> Message {
    let body = if method == "DELETE" { String::new() } else { format!("{{\"id\":{id}}}") };
    let slash = if name.is_empty() { "" } else { "/" };
    router.exchange(format!(
        "{method} /items{slash}{name} HTTP/1.1\r\nhost: a.example\r\nx-write: {id}\r\n{fields}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn wait_until(what: &str, mut is_it: impl FnMut() -> bool) {
    let deadline = Instant::now() + 3 * PATIENCE;
    while !is_it() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// What a side was asked for, without the writes by which the test sees that all has arrived.
fn entries(service: &Service) -> Vec<Entry> {
    service.entries().into_iter().filter(|entry| entry.entity != MARK).collect()
}

/// The copies that a side has done, as owner, value and entity.
fn done(service: &Service) -> Vec<(u64, Option<u64>, String)> {
    let copies = entries(service).into_iter().filter(|entry| entry.is_copy && entry.applied);
    copies.map(|entry| (entry.owner.unwrap_or_default(), entry.value, entry.entity)).collect()
}

fn own(id: u64, entity: &str) -> (u64, Option<u64>, String) {
    (id, Some(id), entity.to_owned())
}

/// What a side served itself.
fn served(service: &Service) -> Vec<Entry> {
    entries(service).into_iter().filter(|entry| !entry.is_copy).collect()
}

#[test]
fn g1_the_primary_is_called_once_and_the_copy_never_changes_the_answer() {
    let mut world = World::start("dualwrite", "", &[]);
    // Whatever the other side does, the answer is what the primary gives.
    for (id, how) in (1..).zip(["well", "busy", "garbage", "reset"]) {
        world.modern.behave(how);
        assert_eq!(write(&world.router, "PUT", "a", id, "").status(), 200, "{how}");
    }
    world.modern.kill();
    assert_eq!(write(&world.router, "PUT", "a", 5, "").status(), 200);
    // And what it gives is passed on when it fails, without a second try.
    for (id, wanted, status) in [(6, "reject", 422), (7, "error", 500), (8, "late_error", 500), (9, "busy", 503)] {
        assert_eq!(write(&world.router, "PUT", "b", id, &format!("x-primary: {wanted}\r\n")).status(), status);
    }
    assert_eq!(write(&world.router, "PUT", "b", 10, "x-primary: drop\r\n").status(), 502);
    let calls = served(&world.legacy);
    let owners: Vec<_> = calls.iter().filter_map(|entry| entry.owner).collect();
    assert_eq!(owners, (1..=10).collect::<Vec<_>>(), "each once");
    assert!(calls.iter().all(|entry| entry.key.is_some()), "with a key, by which a lookup could find it: {calls:?}");
    world.drain();
    assert_eq!(served(&world.legacy).len(), 10, "the copies asked the primary for no write");
    assert!(served(&world.modern).is_empty(), "and came as copies");
}

#[test]
fn g2_a_write_whose_success_was_seen_arrives_after_kill_9() {
    for mode in ["overlap", "strict", "sync_outcome"] {
        let mut world = World::start("dualwrite", &format!("mode: {mode}"), &[]);
        world.modern.kill();
        for id in 1..=20 {
            assert_eq!(write(&world.router, "PUT", &format!("e{}", id % 3), id, "").status(), 200);
        }
        world.kill();
        world.resume();
        world.drain();
        let mut arrived: Vec<_> = done(&world.modern).into_iter().map(|(owner, ..)| owner).collect();
        arrived.sort_unstable();
        arrived.dedup();
        assert_eq!(arrived, (1..=20).collect::<Vec<_>>(), "{mode}");
        // Under the key that the primary saw, in every attempt.
        let keys = |side: &Service| entries(side).into_iter().map(|entry| (entry.owner, entry.key));
        let known: std::collections::HashMap<_, _> = keys(&world.legacy).collect();
        assert!(keys(&world.modern).all(|(owner, key)| key.is_some() && known[&owner] == key), "{mode}");
    }
}

#[test]
fn g2_a_create_carries_the_id_of_the_primary() {
    let mut world = World::start("dualwrite", "", &[]);
    let answer = write(&world.router, "POST", "", 1, "");
    assert_eq!((answer.status(), answer.field("location").as_str()), (201, "/items/l0"));
    // What comes after it on the same entity stays behind it.
    assert_eq!(write(&world.router, "PUT", "l0", 2, "").status(), 200);
    world.drain();
    assert_eq!(done(&world.modern), [own(1, "l0"), own(2, "l0")]);
}

#[test]
fn g3_what_the_primary_rejected_is_never_delivered() {
    let mut world = World::start("dualwrite", "", &[]);
    assert_eq!(write(&world.router, "PUT", "a", 1, "").status(), 200);
    assert_eq!(write(&world.router, "PUT", "a", 2, "x-primary: reject\r\n").status(), 422);
    assert_eq!(write(&world.router, "PUT", "a", 3, "").status(), 200);
    world.drain();
    assert_eq!(done(&world.modern), [own(1, "a"), own(3, "a")]);
    assert!(world.parked().is_empty());
}

#[test]
fn g3_an_unknown_outcome_is_resolved_and_never_guessed() {
    let mut world = World::start("dualwrite", "", &[]);
    // Done, though the answer says 500 or does not come.
    assert_eq!(write(&world.router, "PUT", "a", 1, "x-primary: late_error\r\n").status(), 500);
    assert_eq!(write(&world.router, "PUT", "b", 2, "x-primary: drop\r\n").status(), 502);
    // Not done, with the same answers.
    assert_eq!(write(&world.router, "PUT", "c", 3, "x-primary: error\r\n").status(), 500);
    assert_eq!(write(&world.router, "PUT", "d", 4, "x-primary: vanish\r\n").status(), 502);
    // Not done, and an earlier value stays.
    assert_eq!(write(&world.router, "PUT", "e", 5, "").status(), 200);
    assert_eq!(write(&world.router, "PUT", "e", 6, "x-primary: error\r\n").status(), 500);
    // A create without a name: it is looked up by its key.
    assert_eq!(write(&world.router, "POST", "", 7, "x-primary: late_error\r\n").status(), 500);
    assert_eq!(write(&world.router, "POST", "", 8, "x-primary: error\r\n").status(), 500);
    world.drain();
    let values = |service: &Service| -> std::collections::BTreeMap<String, Option<u64>> {
        let applied = entries(service).into_iter().filter(|entry| entry.applied && entry.value.is_some());
        applied.map(|entry| (entry.entity, entry.value)).collect()
    };
    assert_eq!(values(&world.modern), values(&world.legacy), "{:#?}", entries(&world.legacy));
    assert_eq!(values(&world.modern).len(), 4, "a, b, e and the create");
    assert!(world.parked().is_empty());
}

/// A modern side that answers when it is told to, and a router that copies to it.
fn held() -> (World, Origin, mpsc::Sender<()>) {
    let (release, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |exchange| {
        while let Some(request) = exchange.request() {
            if request.target() == "/items/a" {
                let _ = wait.lock().unwrap().recv();
            }
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let world = World::start("dualwrite", "", &[]);
    world.router.edit_routes(&routes(&world.legacy.address, &origin.address.to_string(), ""));
    world.router.wait_for_metric("banyan_config_reloads_total", &[r#"result="published""#], 1.0);
    (world, origin, release)
}

#[test]
fn g4_one_entity_has_one_copy_under_way_and_keeps_its_order() {
    let (world, origin, release) = held();
    for id in 1..=5 {
        assert_eq!(write(&world.router, "PUT", "a", id, "").status(), 200);
    }
    for id in 6..=9 {
        assert_eq!(write(&world.router, "PUT", &format!("b{id}"), id, "").status(), 200);
    }
    let about_a = |origin: &Origin| -> Vec<String> {
        let requests = origin.requests().into_iter().filter(|request| request.target() == "/items/a");
        requests.map(|request| request.field("x-write")).collect()
    };
    // The other lanes go on while the first copy about `a` is unanswered, and no second one of `a` is sent.
    origin.wait_for_requests(5);
    assert_eq!(about_a(&origin), ["1"]);
    for arrived in 2..=5 {
        release.send(()).unwrap();
        origin.wait_for_requests(4 + arrived);
        assert_eq!(about_a(&origin).len(), arrived);
    }
    release.send(()).unwrap();
    assert_eq!(about_a(&origin), ["1", "2", "3", "4", "5"]);
}

#[test]
fn g5_a_poison_record_blocks_only_its_lane_and_is_parked() {
    let mut world = World::start("dualwrite", "attempts_max: 2", &[]);
    // Refused at once, and failed at each attempt.
    assert_eq!(write(&world.router, "PUT", "a", 1, "x-copy: reject\r\n").status(), 200);
    assert_eq!(write(&world.router, "PUT", "b", 2, "x-copy: always_error\r\n").status(), 200);
    for (id, name) in [(3, "a"), (4, "b"), (5, "c")] {
        assert_eq!(write(&world.router, "PUT", name, id, "").status(), 200);
    }
    world.drain();
    let mut arrived = done(&world.modern);
    arrived.sort_unstable();
    assert_eq!(arrived, [own(3, "a"), own(4, "b"), own(5, "c")]);
    let asked = entries(&world.modern);
    let attempts = |id| asked.iter().filter(|entry| entry.owner == Some(id)).count();
    assert_eq!((attempts(1), attempts(2)), (1, 2));
    let known = entries(&world.legacy);
    let key = |id| known.iter().find(|entry| entry.owner == Some(id)).and_then(|entry| entry.key.clone()).unwrap();
    let (mut parked, mut expected) = (world.parked(), vec![key(1), key(2)]);
    parked.sort_unstable();
    expected.sort_unstable();
    assert_eq!(parked, expected);
}

#[test]
fn g6_lag_is_a_metric_and_what_is_shed_leaves_a_gap() {
    let mut world = World::start("dualwrite", "body_bytes_max: 64, too_large: gap", &[]);
    world.modern.kill();
    let to = r#"destination="modern""#;
    assert_eq!(write(&world.router, "PUT", "a", 1, "").status(), 200);
    assert_eq!(write(&world.router, "PUT", "b", 2, "").status(), 200);
    wait_until("two are pending", || world.router.metric("banyan_copies_pending", &[to]) == 2.0);
    wait_until("they have an age", || world.router.metric("banyan_copies_oldest_seconds", &[to]) > 0.0);
    let large = format!("{{\"id\":3,\"more\":\"{}\"}}", "x".repeat(100));
    let request = format!(
        "PUT /items/c HTTP/1.1\r\nhost: a.example\r\nx-write: 3\r\ncontent-length: {}\r\n\r\n{large}",
        large.len()
    );
    assert_eq!(world.router.exchange(request).status(), 200);
    wait_until("the gap is counted", || world.router.metric("banyan_copies_gaps_total", &[]) == 1.0);
    world.drain();
    wait_until("nothing is pending", || world.router.metric("banyan_copies_pending", &[to]) == 0.0);
    assert_eq!(world.gaps(), ["c"]);
    assert_eq!(done(&world.modern).len(), 2);
}

#[test]
fn g7_a_copy_that_comes_back_is_not_copied_again() {
    // Each router's other side is the other router: without a mark a write would go round for ever.
    let logs = tempfile::tempdir().unwrap();
    let legacy = Service::start(logs.path(), crate::no_loss::Side::Legacy);
    let modern = Service::start(logs.path(), crate::no_loss::Side::Modern);
    let key = [7; 32];
    let start = |name: &str, primary: &Service| {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("mirror.key"), key).unwrap();
        let state = directory.path().display().to_string();
        let setup = Setup::routes(routes(&primary.address, "127.0.0.1:9", "")).flags(stage("dualwrite"));
        (setup.arguments(&["--via", name, "--state", &state]).start(), directory)
    };
    let ((one, _one), (other, _other)) = (start("one", &legacy), start("other", &modern));
    for (router, primary, next) in [(&one, &legacy, &other), (&other, &modern, &one)] {
        router.edit_routes(&routes(&primary.address, &next.listen.to_string(), ""));
        router.wait_for_metric("banyan_config_reloads_total", &[r#"result="published""#], 1.0);
    }
    for id in 1..=3 {
        assert_eq!(write(&one, "PUT", "a", id, "").status(), 200);
        wait_until("it has arrived", || modern.entries().len() as u64 == id);
    }
    wait_until("all has been delivered", || one.metric("banyan_copies_pending", &[]) == 0.0);
    wait_until("nothing is left", || other.metric("banyan_copies_pending", &[]) == 0.0);
    let owners = |side: &Service| side.entries().into_iter().filter_map(|entry| entry.owner).collect::<Vec<_>>();
    assert_eq!(owners(&modern), [1, 2, 3]);
    // Back where it began a write is served once more, as a route that copies to another route of the same router needs it,
    // under the same key, and there it ends.
    assert_eq!(one.metric("banyan_copies_writes_total", &[r#"what="loop""#]), 3.0);
    let mut at_legacy = owners(&legacy);
    at_legacy.sort_unstable();
    assert_eq!(at_legacy, [1, 1, 2, 2, 3, 3]);
    // A mark that a client makes up does not keep a write from being copied.
    let forged = "banyan-mirror: id=\"1\", hops=\"one\", sig=\"00\"\r\n";
    assert_eq!(write(&one, "PUT", "a", 4, forged).status(), 200);
    wait_until("it has arrived, too", || owners(&modern) == [1, 2, 3, 4]);
}

/// Writes to legacy while modern is dead, then makes modern serve: what is older must not overwrite what is newer.
fn switch_under_way(copies: &str, kill: bool) -> World {
    let mut world = World::start("dualwrite", copies, &[]);
    world.modern.behave("busy");
    for id in 1..=3 {
        assert_eq!(write(&world.router, "PUT", "a", id, "").status(), 200);
    }
    assert_eq!(write(&world.router, "PUT", "b", 4, "").status(), 200);
    world.router.edit_flags(&stage("live"));
    world.router.wait_for_metric("banyan_config_reloads_total", &[r#"result="published""#], 1.0);
    world.modern.behave("well");
    assert_eq!(write(&world.router, "PUT", "a", 5, "").status(), 200);
    if kill {
        world.kill();
        world.resume();
    }
    world.drain();
    world
}

#[test]
fn g8_after_a_switch_older_copies_do_not_overwrite_the_new_side() {
    for kill in [false, true] {
        let world = switch_under_way("switch: immediate", kill);
        let modern = entries(&world.modern);
        let at = modern.iter().position(|entry| entry.owner == Some(5) && !entry.is_copy).expect("modern serves it");
        let later = modern[at + 1..].iter().filter(|entry| entry.entity == "a" && entry.is_copy);
        assert_eq!(later.count(), 0, "{modern:?}");
        // What did not arrive before is set aside for a person, and the write reaches the other side.
        let before = modern[..at].iter().filter(|entry| entry.entity == "a" && entry.applied).count();
        assert_eq!(world.parked().len(), 3 - before);
        let mut arrived = done(&world.legacy);
        arrived.dedup();
        assert_eq!(arrived, [own(5, "a")]);
        assert!(done(&world.modern).contains(&own(4, "b")), "another entity is not fenced");
    }
}

#[test]
fn g8_with_drain_a_write_stays_on_its_side_until_older_copies_have_arrived() {
    let mut world = World::start("dualwrite", "switch: drain", &[]);
    world.modern.behave("busy");
    assert_eq!(write(&world.router, "PUT", "a", 1, "").status(), 200);
    world.router.edit_flags(&stage("live"));
    world.router.wait_for_metric("banyan_config_reloads_total", &[r#"result="published""#], 1.0);
    assert_eq!(write(&world.router, "PUT", "a", 2, "").status(), 200);
    assert_eq!(served(&world.legacy).len(), 2, "it is served where the older one was");
    world.drain();
    assert_eq!(write(&world.router, "PUT", "a", 3, "").status(), 200);
    assert_eq!(served(&world.modern).len(), 1, "now it changes sides");
    world.drain();
    assert_eq!((done(&world.modern), done(&world.legacy)), (vec![own(1, "a"), own(2, "a")], vec![own(3, "a")]));
    assert!(world.parked().is_empty());
}
