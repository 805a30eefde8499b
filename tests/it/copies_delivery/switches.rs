//! Changes of sides and of processes while copies are on their way.

use super::operators::modern;
use super::*;

#[test]
fn older_copies_never_reach_the_side_that_serves_now() {
    let (legacy, copied) = (Service::default(), Service::default());
    let (primary, destination) = (legacy.start(), copied.start());
    copied.refuse_copies(true);
    let router = router(primary.address, destination.address, "");
    for (order, value) in [(1, 1), (1, 2), (2, 1)] {
        let body = format!("{{\"v\":{value}}}");
        assert_eq!(router.exchange(request("PUT", &format!("/orders/{order}"), &body)).status(), 200);
    }
    wait_until("copies were tried", || destination.requests().len() >= 2);
    router.edit_flags(&stage("live"));
    router.wait_for_metric("banyan_config_generation", &[], 2.0);
    assert_eq!(router.exchange(request("PUT", "/orders/1", r#"{"v":3}"#)).status(), 200);
    assert_eq!(copied.thing("/orders/1").as_deref(), Some(r#"{"v":3}"#));
    wait_until("the older ones are parked", || modern(&router)["ended"]["superseded"] == 2);
    copied.refuse_copies(false);
    // What nobody has written on its new side still arrives there.
    wait_until("the other arrives", || copied.thing("/orders/2").as_deref() == Some(r#"{"v":1}"#));
    wait_until("legacy follows", || legacy.thing("/orders/1").as_deref() == Some(r#"{"v":3}"#));
    assert_eq!(copied.thing("/orders/1").as_deref(), Some(r#"{"v":3}"#));
}

#[test]
fn a_write_that_is_held_says_where_it_was_served() {
    let (legacy, copied) = (Service::default(), Service::default());
    let (primary, destination) = (legacy.start(), copied.start());
    copied.refuse_copies(true);
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let files =
        [("flags", stage("dualwrite")), ("routes", routes(primary.address, destination.address, "switch: drain"))];
    for (folder, text) in files {
        std::fs::create_dir(directory.path().join(folder)).unwrap();
        std::fs::write(directory.path().join(folder).join("test.yaml"), text).unwrap();
    }
    let mut command = std::process::Command::new("sh");
    let serve = "exec \"$0\" serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 --log-format json --workers 2 > access.log";
    command.args(["-c", serve, env!("CARGO_BIN_EXE_banyan")]);
    let router = Router::run(command, Arc::clone(&directory));
    let put = |path: &str| assert_eq!(router.exchange(request("PUT", path, "{}")).status(), 200);
    put("/orders/1");
    router.edit_flags(&stage("live"));
    router.wait_for_metric("banyan_config_generation", &[], 2.0);
    put("/orders/1");
    put("/orders/2");
    let decision = |asked: &Message| asked.field("banyan-decision").to_owned();
    let held = decision(&primary.requests()[1]);
    assert!(held.contains(r#"variant="dualwrite""#) && held.ends_with(", held"), "{held}");
    let fresh =
        destination.requests().into_iter().find(|seen| seen.target() == "/orders/2" && !seen.has("banyan-mirror"));
    let fresh = decision(&fresh.expect("what has no older copies changes at once"));
    assert!(fresh.contains(r#"variant="live""#) && !fresh.contains("held"), "{fresh}");
    let logged = |parts: &[&str]| {
        let log = std::fs::read_to_string(directory.path().join("access.log")).unwrap_or_default();
        log.lines().any(|line| parts.iter().all(|part| line.contains(part)))
    };
    wait_until("the log says it", || logged(&[r#""held":true"#, r#""variant":"dualwrite""#, r#""upstream":"legacy""#]));
    wait_until("and of the other not", || logged(&["/orders/2", r#""variant":"live""#, r#""upstream":"modern""#]));
    assert!(!logged(&["/orders/2", "held"]));
}

#[test]
fn what_a_process_leaves_is_delivered_by_the_one_that_takes_over_and_first() {
    let (legacy, copied) = (Service::default(), Service::default());
    let (primary, destination) = (legacy.start(), copied.start());
    copied.refuse_copies(true);
    let mut first = router(primary.address, destination.address, "");
    let bodies: Vec<String> = (0..10).map(|value| format!("{{\"v\":{value}}}")).collect();
    for body in &bodies[..5] {
        assert_eq!(first.exchange(request("PUT", "/orders/1", body)).status(), 200);
    }
    let second = first.successor(2);
    first.wait_for_exit();
    for body in &bodies[5..] {
        assert_eq!(second.exchange(request("PUT", "/orders/1", body)).status(), 200);
    }
    let tried = destination.requests().len();
    copied.refuse_copies(false);
    wait_until("the last has arrived", || copied.thing("/orders/1").as_ref() == bodies.last());
    let mut arrived: Vec<String> = destination.requests_after(tried).iter().map(Message::text).collect();
    arrived.dedup();
    assert_eq!(arrived, bodies);
    let left = second.directory().join("state/journal/000001");
    wait_until("the empty journal is gone", || !left.exists());
}
