//! `banyan reconcile` over real services: what differs is found, sent in its lane, and equal afterwards.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use super::migration;
use crate::support::{Origin, PATIENCE, Router};

/// A little service with orders, and what it has.
struct Service {
    origin: Origin,
    orders: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Service {
    fn with(orders: &[(&str, &str)]) -> Self {
        let orders: BTreeMap<String, String> =
            orders.iter().map(|(id, order)| ((*id).to_owned(), (*order).to_owned())).collect();
        let orders = Arc::new(Mutex::new(orders));
        let shared = Arc::clone(&orders);
        let origin = Origin::start(move |exchange| {
            while let Some(request) = exchange.request() {
                let method = request.line.split(' ').next().unwrap().to_owned();
                let id = request.target().trim_start_matches("/orders").trim_start_matches('/').to_owned();
                let mut orders = shared.lock().unwrap();
                let (status, body) = match (&*method, &*id) {
                    ("GET", "") => (
                        200,
                        json!({"items": orders.keys().map(|id| json!({"id": id})).collect::<Vec<_>>()}).to_string(),
                    ),
                    ("GET", _) => orders.get(&id).map_or((404, String::new()), |order| (200, order.clone())),
                    ("PUT", _) => {
                        orders.insert(id, request.text());
                        (200, String::new())
                    }
                    ("DELETE", _) => (if orders.remove(&id).is_some() { 204 } else { 404 }, String::new()),
                    _ => (405, String::new()),
                };
                drop(orders);
                let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
                exchange.send(format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{length}\r\n{body}"));
            }
        });
        Self { origin, orders }
    }

    fn orders(&self) -> BTreeMap<String, String> {
        self.orders.lock().unwrap().clone()
    }
}

fn reconcile(router: &Router, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    command.current_dir(router.directory()).args(["reconcile", "orders", "--from", "legacy", "--json"]).args(arguments);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let report =
        serde_json::from_str(&text).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&stderr).into_owned()));
    (status.code(), report)
}

fn services() -> (Service, Service) {
    let legacy = [("1", r#"{"a":1,"b":2}"#), ("2", r#"{"a":2}"#), ("3", r#"{"a":3}"#)];
    let modern = [("1", r#"{"b":2,"a":1}"#), ("2", r#"{"a":9}"#), ("4", r#"{"a":4}"#)];
    (Service::with(&legacy), Service::with(&modern))
}

/// Waits until modern has what legacy has.
fn assert_equal_soon(legacy: &Service, modern: &Service) {
    let deadline = Instant::now() + PATIENCE;
    let parsed = |service: &Service| {
        let value = |order: String| serde_json::from_str::<Value>(&order).unwrap();
        service.orders().into_iter().map(|(id, order)| (id, value(order))).collect::<BTreeMap<_, _>>()
    };
    while parsed(legacy) != parsed(modern) {
        assert!(Instant::now() < deadline, "{:?} and {:?}", legacy.orders(), modern.orders());
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

#[test]
fn what_differs_is_found_and_made_equal() {
    // What a person decides about writes does not hold up what a person asks for.
    for copies in ["", "unknown: park"] {
        let (legacy, modern) = services();
        let router = migration("dualwrite", legacy.origin.address, modern.origin.address, copies).start();
        let before = modern.orders();
        let (code, report) = reconcile(&router, &["--listing", "/orders", "--dry-run"]);
        assert_eq!(code, Some(1), "{report}");
        assert_eq!((&report["equal"], &report["sent"]), (&json!(1), &json!(0)), "{report}");
        let kinds = ["differing", "missing", "surplus"].map(|kind| report[kind].clone());
        assert_eq!(kinds, [json!(["/orders/2"]), json!(["/orders/3"]), json!(["/orders/4"])]);
        assert_eq!(modern.orders(), before);
        let (code, report) = reconcile(&router, &["--listing", "/orders"]);
        assert_eq!((code, &report["sent"]), (Some(0), &json!(3)), "{report}");
        assert_equal_soon(&legacy, &modern);
        let (code, report) = reconcile(&router, &["--listing", "/orders", "--dry-run"]);
        assert_eq!((code, &report["equal"]), (Some(0), &json!(3)), "{report}");
    }
}

#[test]
fn keys_come_from_a_file_and_a_run_goes_on_where_it_was() {
    let (legacy, modern) = services();
    let router = migration("dualwrite", legacy.origin.address, modern.origin.address, "").start();
    std::fs::write(router.directory().join("keys"), "2\n/orders/3\n\n4\n").unwrap();
    // The keys are sorted, `/orders/3` first: that one is done.
    std::fs::write(router.directory().join("progress"), "1 of 3\n").unwrap();
    let (code, report) = reconcile(&router, &["--keys", "keys", "--resume", "progress", "--rate", "1000"]);
    assert_eq!((code, &report["sent"]), (Some(0), &json!(2)), "{report}");
    assert!(!router.directory().join("progress").exists());
    let (code, _) = reconcile(&router, &["--keys", "keys"]);
    assert_eq!(code, Some(0));
    assert_equal_soon(&legacy, &modern);
}

/// A regression: a wrong line ended the run, and nothing said which line it was.
#[test]
fn a_line_that_names_no_entity_is_told_with_its_number() {
    let (legacy, modern) = services();
    let router = migration("dualwrite", legacy.origin.address, modern.origin.address, "").start();
    std::fs::write(router.directory().join("keys"), "2\n\n/elsewhere/1\r\n3\n4\n2\n").unwrap();
    let (code, report) = reconcile(&router, &["--keys", "keys"]);
    assert_eq!((code, &report["sent"]), (Some(1), &json!(3)), "{report}");
    let why = "keys:3: /elsewhere/1: names no entity of the route; give its path, such as `/orders/{*id}`";
    assert_eq!(report["failed"], json!([why]), "{report}");
    assert_equal_soon(&legacy, &modern);
}

#[test]
fn what_the_journal_knows_to_differ_is_made_equal() {
    let legacy = Service::with(&[]);
    let modern = Service::with(&[]);
    let router = migration("dualwrite", legacy.origin.address, modern.origin.address, "body_bytes_max: 4").start();
    let answer = router.exchange("PUT /orders/7 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 7\r\n\r\n{\"a\":7}");
    assert_eq!(answer.status(), 200);
    let deadline = Instant::now() + PATIENCE;
    while reconcile(&router, &["--journal"]).1["sent"] != 1 {
        assert!(Instant::now() < deadline, "the gap is never known");
    }
    assert_equal_soon(&legacy, &modern);
    crate::reload::wait_until("the gap is mended", || standing(&router) == (0, 1));
    // It does not come back from the journal.
    let mut router = router;
    router.signal(rustix::process::Signal::KILL);
    router.wait_for_exit();
    let router = router.again(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert_eq!(standing(&router), (0, 1), "it is known before the next write");
    let put = "PUT /orders/8 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 7\r\n\r\n{\"a\":8}";
    assert_eq!(router.exchange(put).status(), 200);
    crate::reload::wait_until("there is another one", || standing(&router) == (1, 1));
    let gaps = crate::edit_verbs::banyan(router.directory(), &["journal", "gaps", "--json"]);
    let gaps: Value = serde_json::from_slice(&gaps.stdout).unwrap();
    assert_eq!(
        (gaps["gaps"].as_array().unwrap().len(), &gaps["gaps"][0]["target"]),
        (1, &json!("/orders/8")),
        "{gaps}"
    );
    // Equal by itself counts as mended, too, and a dry run changes nothing.
    modern.orders.lock().unwrap().insert("8".to_owned(), r#"{"a":8}"#.to_owned());
    assert_eq!(reconcile(&router, &["--journal", "--dry-run"]).1["equal"], 1);
    assert_eq!(standing(&router), (1, 1));
    assert_eq!(reconcile(&router, &["--journal"]).1["equal"], 1);
    assert_eq!(standing(&router), (0, 2));
}

/// Gaps to modern that are open, and that are mended.
fn standing(router: &Router) -> (u64, u64) {
    let status = crate::edit_verbs::banyan(router.directory(), &["journal", "status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let destinations = status["destinations"].as_array().unwrap();
    let modern = destinations.iter().find(|one| one["name"] == "modern").unwrap_or_else(|| panic!("{status}"));
    (modern["gaps"].as_u64().unwrap(), modern["gaps_mended"].as_u64().unwrap())
}

#[test]
fn a_side_that_does_not_serve_is_right_only_when_it_is_meant_and_each_run_is_in_the_history() {
    let (legacy, modern) = services();
    let mut router = migration("live", legacy.origin.address, modern.origin.address, "").start();
    let before = modern.orders();
    let (code, report) = reconcile(&router, &["--listing", "/orders"]);
    let told = report["refused"].as_str().unwrap_or_default();
    assert!(
        code == Some(1) && told.contains("served by `modern` now, not by `legacy`") && told.contains("--yes"),
        "{report}"
    );
    assert_eq!(modern.orders(), before);
    let (code, report) = reconcile(&router, &["--listing", "/orders", "--dry-run"]);
    assert_eq!((code, &report["sent"]), (Some(1), &json!(0)), "{report}");
    let history = || {
        let history = crate::edit_verbs::banyan(router.directory(), &["history", "--json"]);
        let text = String::from_utf8(history.stdout).unwrap();
        text.lines().filter(|line| line.contains("\"reconcile\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(history().is_empty());
    let (code, report) = reconcile(&router, &["--listing", "/orders", "--yes"]);
    assert_eq!((code, &report["sent"]), (Some(0), &json!(3)), "{report}");
    assert_equal_soon(&legacy, &modern);
    let noted = history();
    let has = |what: &str| noted[0].contains(what);
    assert!(noted.len() == 1 && has(r#""sent":3"#) && has(r#""from":"legacy""#) && has(r#""over":true"#), "{noted:?}");
    router.wait_for_log("who sent what", |line| {
        line.contains("reconcile sends states") && line.contains("\"sends\":3") && line.contains("\"who\":")
    });
}

/// A run of many requests is two entries, not thousands.
#[test]
fn a_long_run_has_an_entry_when_it_begins_and_one_when_it_is_over() {
    let orders: Vec<(String, String)> =
        (0..120).map(|order| (order.to_string(), format!("{{\"a\":{order}}}"))).collect();
    let orders: Vec<(&str, &str)> = orders.iter().map(|(id, order)| (&**id, &**order)).collect();
    let (legacy, modern) = (Service::with(&orders), Service::with(&[]));
    let router = migration("dualwrite", legacy.origin.address, modern.origin.address, "").start();
    let (code, report) = reconcile(&router, &["--listing", "/orders", "--rate", "1000"]);
    assert_eq!((code, &report["sent"]), (Some(0), &json!(120)), "{report}");
    let history = crate::edit_verbs::banyan(router.directory(), &["history", "--json"]);
    let text = String::from_utf8(history.stdout).unwrap();
    let noted: Vec<_> = text.lines().filter(|line| line.contains("\"reconcile\"")).collect();
    assert_eq!(noted.len(), 2, "{text}");
    assert!(text.contains(r#""sent":50"#) && text.contains(r#""sent":120"#), "{text}");
}

/// What is read while a write that left a gap is under way does not mend it: the primary may do it later.
#[test]
fn a_gap_of_a_write_under_way_is_not_taken_for_mended() {
    let (begun, held) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(())));
    let (legacy, modern) = (Service::with(&[]), Service::with(&[]));
    let (shared, is_begun, gate) = (Arc::clone(&legacy.orders), Arc::clone(&begun), Arc::clone(&held));
    let slow = Origin::start(move |exchange| {
        while let Some(request) = exchange.request() {
            if request.line.starts_with("PUT") {
                *is_begun.lock().unwrap() = true;
                drop(gate.lock().unwrap());
                shared.lock().unwrap().insert("7".to_owned(), request.text());
                exchange.send("HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n");
                continue;
            }
            let answer = shared.lock().unwrap().get("7").map_or_else(
                || "HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n".to_owned(),
                |body| format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
            );
            exchange.send(answer);
        }
    });
    let router = migration("dualwrite", slow.address, modern.origin.address, "body_bytes_max: 4").start();
    let gate = held.lock().unwrap();
    let put = "PUT /orders/7 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 7\r\n\r\n{\"a\":7}";
    std::thread::scope(|scope| {
        let write = scope.spawn(|| router.exchange(put).status());
        crate::reload::wait_until("the write is under way", || *begun.lock().unwrap());
        crate::reload::wait_until("its gap is kept", || standing(&router) == (1, 0));
        assert_eq!(reconcile(&router, &["--journal"]).1["equal"], 1, "neither side has it yet");
        drop(gate);
        assert_eq!(write.join().unwrap(), 200);
    });
    assert_eq!(standing(&router), (1, 0));
    assert_eq!(reconcile(&router, &["--journal"]).1["sent"], 1);
    assert_equal_soon(&legacy, &modern);
    crate::reload::wait_until("now it is mended", || standing(&router) == (0, 1));
}

#[test]
fn more_is_known_to_differ_than_one_answer_lists() {
    const WRITES: usize = 1_050;
    let legacy = Service::with(&[]);
    let modern = Service::with(&[]);
    let router = migration("dualwrite", legacy.origin.address, modern.origin.address, "body_bytes_max: 4").start();
    let mut wire = router.connect();
    for order in 0..WRITES {
        let put = format!("PUT /orders/{order} HTTP/1.1\r\nhost: a.example\r\ncontent-length: 7\r\n\r\n{{\"a\":7}}");
        assert_eq!(wire.send(put).answer().status(), 200);
    }
    router.wait_for_metric("banyan_copies_gaps_total", &[], WRITES as f64);
    let (code, report) = reconcile(&router, &["--journal", "--rate", "100000"]);
    assert_eq!((code, &report["sent"]), (Some(0), &Value::from(WRITES)), "{report}");
    assert_equal_soon(&legacy, &modern);
}

#[test]
fn mistakes_are_told() {
    let (legacy, modern) = services();
    let router = migration("dualwrite", legacy.origin.address, modern.origin.address, "").start();
    let told = |arguments: &[&str], code: i32, what: &str| {
        let (found, report) = reconcile(&router, arguments);
        assert_eq!(found, Some(code), "{report}");
        let said = report["refused"].as_str().or(report.as_str()).unwrap();
        assert!(said.contains(what), "{report}");
    };
    told(&[], 2, "--listing PATH, --keys FILE or --journal");
    told(&["--listing", "/nothing"], 1, "legacy answers");
    told(&["--keys", "absent"], 1, "absent: No such file");
    std::fs::write(router.directory().join("keys"), b"1\n\xff\n").unwrap();
    told(&["--keys", "keys"], 1, "keys:2: the line is not UTF-8");
    let other = Command::new(env!("CARGO_BIN_EXE_banyan"))
        .current_dir(router.directory())
        .args(["reconcile", "orders", "--from", "nobody", "--journal"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    // Nothing is known to differ, so nobody is asked about the side; with something it is.
    assert!(other.status.success() || said.contains("from is one of: legacy, modern"), "{said}");
}

/// A regression: a write under way since before copying began was neither listed nor copied.
#[test]
fn a_write_from_before_copying_began_is_waited_for() {
    let (begun, held) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(())));
    let (legacy, modern) = (Service::with(&[("1", r#"{"a":1}"#)]), Service::with(&[]));
    // Legacy holds writes back until the test lets go.
    let (shared, is_begun, gate) = (Arc::clone(&legacy.orders), Arc::clone(&begun), Arc::clone(&held));
    let slow = Origin::start(move |exchange| {
        while let Some(request) = exchange.request() {
            let id = request.target().trim_start_matches("/orders").trim_start_matches('/').to_owned();
            let body = if request.line.starts_with("PUT") {
                *is_begun.lock().unwrap() = true;
                drop(gate.lock().unwrap());
                shared.lock().unwrap().insert(id, request.text());
                String::new()
            } else if id.is_empty() {
                json!(shared.lock().unwrap().keys().collect::<Vec<_>>()).to_string()
            } else {
                shared.lock().unwrap()[&id].clone()
            };
            let length = body.len();
            exchange.send(format!(
                "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            ));
        }
    });
    let router = migration("off", slow.address, modern.origin.address, "").start();
    let gate = held.lock().unwrap();
    std::thread::scope(|scope| {
        let write = scope.spawn(|| {
            router.exchange("PUT /orders/2 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 7\r\n\r\n{\"a\":2}").status()
        });
        crate::reload::wait_until("the write is under way", || *begun.lock().unwrap());
        router.edit_flags(&super::flag("dualwrite"));
        let reloaded = crate::edit_verbs::banyan(router.directory(), &["reload"]);
        assert_eq!(reloaded.status.code(), Some(0));
        let reconciled = scope.spawn(|| reconcile(&router, &["--listing", "/orders"]));
        // It would have listed by then; what it waits for is the write.
        let asked = slow.requests().len();
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        assert_eq!(slow.requests().len(), asked);
        drop(gate);
        assert_eq!(write.join().unwrap(), 200);
        assert_eq!(reconciled.join().unwrap().0, Some(0));
    });
    assert_equal_soon(&legacy, &modern);
}
