//! The status document of a running router: what it says about flags, routes, upstreams, reloads and what is wrong.

use std::fs;

use banyan::control::{Asking, Command, ListenerKind, Reporter, StatusReport};
use banyan::observe::Reload;
use serde_json::json;
use std::time::Duration;

use crate::override_commands::{Plane, ROUTES, flags};
use crate::reload::wait_until;

fn report(plane: &Plane) -> StatusReport {
    plane.handle.reporter().status()
}

fn codes(report: &StatusReport) -> Vec<&str> {
    report.problems.iter().map(|problem| problem.code.as_str()).collect()
}

fn ready(plane: &Plane) -> Reporter {
    let reporter = plane.handle.reporter();
    wait_until("readiness", || reporter.status().ready);
    reporter
}

#[test]
fn a_router_that_is_well_says_so() {
    let plane = Plane::start();
    let found = ready(&plane).status();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    assert_eq!((found.generation, found.phase.as_str(), found.hashing.as_str()), (1, "running", "v3"));
    assert_eq!(found.version, env!("CARGO_PKG_VERSION"));
    assert!(found.started_unix_ms <= found.now_unix_ms);
    let listeners: Vec<_> = found.listeners.iter().map(|listener| (listener.kind, listener.address.clone())).collect();
    let socket = plane.state().join("admin.sock").display().to_string();
    let admin = plane.handle.address().to_string();
    assert_eq!(listeners, [(ListenerKind::AdminSocket, socket), (ListenerKind::Admin, admin)]);
    assert_eq!(found.reload.last, "none");
    assert_eq!(found.reload.restored, None);
}

#[test]
fn flags_are_shown_as_they_stand() {
    let plane = Plane::start();
    let found = report(&plane);
    let [side, other] = found.flags.as_slice() else { panic!("{:?}", found.flags) };
    assert_eq!((side.key.as_str(), side.state.as_str(), side.owner.as_deref()), ("side", "ENABLED", Some("tests")));
    assert_eq!(side.default_variant.as_deref(), Some("legacy"));
    assert_eq!(side.variants.iter().map(|variant| variant.share).collect::<Vec<_>>(), [Some(0.5), Some(0.5)]);
    assert_eq!((side.at_rest, side.migration, side.in_force.source.as_str()), (false, false, "file"));
    assert_eq!(side.routes, ["side"]);
    assert!(side.last_evaluated_unix_ms.is_none() && side.watched_since_unix_ms > 0);
    assert!(other.at_rest && other.at_rest_since_unix_ms.is_some());
    assert_eq!(other.variants[0].share, None);
}

#[test]
fn what_decides_is_named_with_who_and_why() {
    let plane = Plane::start();
    let give = |command| plane.give(command);
    let flag = |at: usize| report(&plane).flags.swap_remove(at);
    give(Command::Set { flag: "side".into(), shares: vec![("modern".into(), "20%".parse().unwrap())] });
    let side = flag(0);
    assert_eq!((side.in_force.source.as_str(), side.in_force.who.as_deref()), ("split", Some("ada")));
    assert!(side.in_force.why.is_some() && side.in_force.since_unix_ms.is_some());
    assert_eq!((side.variants[1].share, side.variants[1].file_share), (Some(0.2), Some(0.5)));

    let pin = |value: &str| Command::Pin {
        flag: "other".into(),
        attribute: "path".into(),
        value: value.into(),
        variant: "b".into(),
    };
    give(pin("/1"));
    give(pin("/2"));
    let other = flag(1);
    assert_eq!((other.in_force.source.as_str(), other.pins, other.at_rest), ("pin", 2, false));

    give(Command::Kill { flag: "side".into() });
    let side = flag(0);
    assert_eq!((side.in_force.source.as_str(), side.variants[1].share), ("kill", None));
    assert_eq!(side.variants[1].file_share, Some(0.5));

    give(Command::KillAll);
    let found = report(&plane);
    assert!(found.flags.iter().all(|flag| flag.in_force.source == "kill_all"));
    assert!(codes(&found).contains(&"kill-all"), "{:?}", found.problems);
    assert_eq!(found.overrides["kill_all"]["who"], "ada");
}

#[test]
fn counts_and_latencies_are_those_of_the_workers() {
    let plane = Plane::start();
    for worker in [plane.metrics.worker(), plane.metrics.worker()] {
        let leg = worker.leg("side", Some("side"), Some("modern"), "one");
        (0..9).for_each(|_| leg.record(200, Duration::from_millis(4), None));
        leg.record(503, Duration::from_millis(4), None);
        worker.leg("other", Some("other"), Some("fallback"), "one").record(200, Duration::from_millis(4), None);
    }
    let found = report(&plane);
    let (side, other) = (&found.flags[0], &found.flags[1]);
    assert_eq!(side.variants.iter().map(|variant| variant.requests).collect::<Vec<_>>(), [0, 20]);
    assert!(side.last_evaluated_unix_ms.is_some() && other.last_evaluated_unix_ms.is_some());
    let route = &found.routes[0];
    assert_eq!((route.name.as_str(), route.matches.as_str(), route.flag.as_deref()), ("side", "/side", Some("side")));
    let modern = route.legs.iter().find(|leg| leg.variant.as_deref() == Some("modern")).unwrap();
    assert_eq!((modern.requests, modern.errors, modern.upstream.as_str()), (20, 2, "one"));
    assert!(modern.p50_ms.is_some_and(|p50| p50 > 2.5 && p50 <= 5.0), "{modern:?}");
    let idle = route.legs.iter().find(|leg| leg.variant.as_deref() == Some("legacy")).unwrap();
    assert_eq!((idle.requests, idle.p50_ms), (0, None));
    let [one] = found.upstreams.as_slice() else { panic!("{:?}", found.upstreams) };
    assert_eq!((one.name.as_str(), one.requests, one.errors), ("one", 22, 2));
}

#[test]
fn a_refused_set_is_told_with_what_check_prints_until_it_is_mended() {
    let plane = Plane::start();
    ready(&plane);
    plane.write("flags/f.yaml", &flags(50).replace("defaultVariant: legacy", "defaultVariant: legaci"));
    wait_until("the rejection", || codes(&report(&plane)) == ["rejected"]);
    let found = report(&plane);
    assert_eq!((found.reload.last.as_str(), found.generation), ("rejected", 1));
    let error = found.reload.diagnostics.iter().find(|finding| finding.severity == "error").unwrap();
    assert!(
        error.path.as_ref().is_some_and(|path| path.ends_with("flags/f.yaml")) && error.line == Some(5),
        "{error:?}"
    );
    assert!(
        found.reload.rendered.contains("legaci") && found.reload.rendered.contains("error["),
        "{}",
        found.reload.rendered
    );

    plane.write("flags/f.yaml", &flags(50));
    wait_until("all is well", || report(&plane).problems.is_empty());
    let found = report(&plane);
    assert_eq!(found.reload.last, "unchanged");
    assert!(found.reload.diagnostics.is_empty() && found.reload.rendered.is_empty());

    plane.write("flags/f.yaml", &flags(60));
    wait_until("the publication", || report(&plane).reload.last == "published");
    assert!(report(&plane).reload.at_unix_ms.is_some());
}

#[test]
fn a_restore_is_told_and_changed_files_wait() {
    let plane = Plane::start();
    ready(&plane);
    plane.write("flags/f.yaml", &flags(60));
    wait_until("the publication", || plane.metrics.control.reloads(Reload::Published) >= 1);
    plane.give(Command::Restore { generation: 1 });
    let found = report(&plane);
    assert_eq!((codes(&found), found.reload.restored), (vec!["restored"], Some(1)));
    plane.write("flags/f.yaml", &flags(70));
    wait_until("it waits", || report(&plane).reload.last == "held");
    assert_eq!(report(&plane).flags[0].variants[1].file_share, Some(0.5));
}

#[test]
fn upstreams_out_of_service_are_an_error() {
    let plane = Plane::start();
    ready(&plane);
    let routes = ROUTES.replace(
        "{endpoints: [\"http://127.0.0.1:9\"]}",
        "{endpoints: [\"http://127.0.0.1:9\"], health: {path: /, interval_ms: 100}}",
    );
    plane.write("routes/r.yaml", &routes);
    wait_until("the checks fail", || codes(&report(&plane)) == ["upstream-out"]);
    let found = report(&plane);
    assert_eq!(found.problems[0].severity, "error");
    let one = &found.upstreams[0];
    assert!(one.all_unhealthy && one.endpoints[0].share == 0.0 && one.endpoints[0].checks_failed > 0, "{one:?}");
}

#[test]
fn the_use_of_flags_outlives_the_process() {
    let plane = Plane::start();
    let before = report(&plane).flags;
    plane.metrics.worker().leg("side", Some("side"), Some("modern"), "one").record(200, Duration::ZERO, None);
    let asked = report(&plane).flags[0].last_evaluated_unix_ms;
    assert!(asked.is_some());
    let plane = plane.restart();
    let after = report(&plane).flags;
    assert_eq!(after[0].last_evaluated_unix_ms, asked);
    assert_eq!(after[0].watched_since_unix_ms, before[0].watched_since_unix_ms);
    assert_eq!(after[1].at_rest_since_unix_ms, before[1].at_rest_since_unix_ms);
}

#[test]
fn flags_grow_stale_with_time() {
    const DAY_MS: u64 = 86_400_000;
    let plane = Plane::start();
    let now = report(&plane).now_unix_ms;
    let file = plane.state().join("flag-usage.json");
    let root = plane.leave();
    let kept = json!({
        "side": {"rest": null, "rests_since_unix_ms": null, "asked_unix_ms": now - 29 * DAY_MS, "watched_since_unix_ms": 1},
        "other": {"rest": "`a`", "rests_since_unix_ms": now - 40 * DAY_MS, "asked_unix_ms": null, "watched_since_unix_ms": now - 50 * DAY_MS},
    });
    fs::write(file, kept.to_string()).unwrap();
    let plane = Plane::start_in(root);
    let found = report(&plane);
    assert!(found.flags[0].stale.is_empty(), "{:?}", found.flags[0].stale);
    let stale: Vec<_> = found.flags[1].stale.iter().map(|stale| (stale.code.as_str(), stale.text.as_str())).collect();
    assert!(
        matches!(stale.as_slice(), [("at-rest", rest), ("not-evaluated", asked)]
        if rest.starts_with("gives `a` to everybody, and has done so for 40 days (since ")
            && asked.starts_with("has not been asked for 50 days (watched since ")),
        "{stale:?}"
    );
    let gauges = || plane.metrics.control.stale_flags.each_ref().map(|gauge| gauge.value());
    wait_until("the metric", || gauges() == [0, 1, 1, 0]);

    // What is asked or changed is no longer stale.
    plane.metrics.worker().leg("other", Some("other"), Some("a"), "one").record(200, Duration::ZERO, None);
    assert_eq!(report(&plane).flags[1].stale.len(), 1);
    plane.give(Command::Set { flag: "other".into(), shares: vec![("b".into(), "20%".parse().unwrap())] });
    assert!(report(&plane).flags[1].stale.is_empty());
}

#[test]
fn a_request_is_explained_from_what_is_in_force() {
    let plane = Plane::start();
    plane.give(Command::Kill { flag: "side".into() });
    let ask =
        |asking: serde_json::Value| plane.handle.reporter().explain(&serde_json::from_value::<Asking>(asking).unwrap());
    let answer = ask(json!({"url": "/side", "headers": {"x-user": "ada"}})).unwrap();
    assert_eq!((answer.route.as_deref(), answer.overridden.as_deref()), (Some("side"), Some("kill")));
    assert_eq!((answer.generation, answer.reason.as_deref()), (2, Some("DISABLED")));
    let nowhere = ask(json!({"method": "POST", "url": "http://a.example/x", "client": "10.0.0.1"})).unwrap();
    assert!(nowhere.refused.is_some() && nowhere.route.is_none());
    assert!(ask(json!({"url": "side"})).unwrap_err().starts_with("`url`: "));
    assert!(ask(json!({"url": "/", "method": "G T"})).unwrap_err().starts_with("`method` is "));
    assert!(ask(json!({"url": "/", "headers": {"a b": "c"}})).unwrap_err().starts_with("`headers`: "));
}
