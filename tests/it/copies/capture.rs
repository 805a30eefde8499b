//! What of a write is kept for its copy, and what the client and the primary notice of it: nothing but a key.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use banyan::mirror::{Body, Class};
use rustix::process::Signal;

use super::{Held, flag, migration, read_journal};
use crate::support::router::Setup;
use crate::support::{Origin, Router, Wire};

/// Ends a router and reads what it kept. Nobody listens at the other side, so that nothing is delivered.
fn held(mut router: Router) -> Held {
    router.signal(Signal::TERM);
    router.wait_for_exit();
    read_journal(router.directory())
}

fn dualwrite(legacy: &Origin, copies: &str) -> Router {
    migration("dualwrite", legacy.address, Origin::refusing(), copies).start()
}

fn body(intent: &banyan::mirror::Intent) -> Vec<u8> {
    match &intent.body {
        Body::Inline(parts) => parts.concat(),
        Body::Side(_) => panic!("a side file"),
    }
}

#[test]
fn a_write_is_kept_whole_with_its_outcome() {
    let legacy = Origin::answering(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok");
    let router = dualwrite(&legacy, "entity: \"order:{id}\"");
    let answer = router.exchange(
        "PUT /orders/17?x=1 HTTP/1.1\r\nhost: a.example\r\nauthorization: Bearer secret\r\nx-user-id: ada\r\ncontent-length: 5\r\n\r\nhello",
    );
    assert_eq!((answer.status(), answer.text().as_str()), (201, "ok"));
    let seen = legacy.request();
    let key = seen.field("idempotency-key");
    assert_eq!(key.len(), 34, "{key}");
    let held = held(router);
    let [intent] = &held.intents[..] else { panic!("{held:?}") };
    assert_eq!((&*intent.destination, &*intent.primary, &*intent.route), ("modern", "legacy", "orders"));
    assert_eq!((&*intent.method, &*intent.target), ("PUT", "/orders/17?x=1"));
    assert_eq!(intent.entity.as_deref(), Some("order:17"));
    assert_eq!(*intent.key, *key);
    assert_eq!(body(intent), b"hello");
    let has = |name: &str| intent.headers.iter().any(|(known, _)| **known == *name);
    assert!(has("x-user-id") && has("host") && !has("authorization") && !has("content-length"), "{intent:?}");
    let [outcome] = &held.outcomes[..] else { panic!("{held:?}") };
    assert_eq!((outcome.id, outcome.class, outcome.status), (intent.id, Class::Acknowledged, 201));
    assert!(held.gaps.is_empty());
}

#[test]
fn a_clients_own_key_is_kept() {
    let legacy = Origin::ok();
    let router = dualwrite(&legacy, "");
    router.exchange("DELETE /orders/17 HTTP/1.1\r\nhost: a.example\r\nidempotency-key: mine\r\n\r\n");
    assert_eq!(legacy.request().values("idempotency-key"), ["mine"]);
    let held = held(router);
    assert_eq!(&*held.intents[0].key, "mine");
    assert_eq!(held.intents[0].entity.as_deref(), Some("/orders/17"));
}

#[test]
fn chunks_and_large_bodies_are_kept_while_they_stream() {
    let legacy = Origin::ok();
    let router = dualwrite(&legacy, "");
    let mut wire = router.connect();
    wire.send("POST /orders/1 HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    // The primary has the first part while the second is not there yet.
    legacy.wait_for_bytes(b"abc");
    wire.send("3\r\ndef\r\n0\r\n\r\n");
    assert_eq!(wire.answer().status(), 200);
    let large = vec![b'x'; 3 * 1024 * 1024];
    let mut wire = router.connect();
    wire.send(format!("PUT /orders/2 HTTP/1.1\r\nhost: a.example\r\ncontent-length: {}\r\n\r\n", large.len()));
    assert_eq!(wire.send(&large).answer().status(), 200);
    let held = held(router);
    assert_eq!(body(&held.intents[0]), b"abcdef");
    assert_eq!(held.intents[1].body, Body::Side(large.len() as u64));
    assert_eq!(held.outcomes.len(), 2);
}

#[test]
fn what_the_primary_says_is_the_outcome() {
    let legacy = Origin::start(|exchange| {
        while let Some(request) = exchange.request() {
            let status = request.target().rsplit('/').next().unwrap().to_owned();
            if status == "gone" {
                return;
            }
            exchange.send(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    let router = dualwrite(&legacy, "");
    for (what, seen) in [("204", 204), ("302", 302), ("409", 409), ("500", 500), ("gone", 502)] {
        let answer =
            router.exchange(format!("POST /orders/{what} HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!(answer.status(), seen, "{what}");
    }
    let classes: Vec<_> = held(router).outcomes.iter().map(|outcome| outcome.class).collect();
    let expected = [Class::Acknowledged, Class::Acknowledged, Class::Rejected, Class::Unknown, Class::Unknown];
    assert_eq!(classes, expected);
}

#[test]
fn a_primary_that_was_never_asked_has_rejected() {
    let router = migration("dualwrite", Origin::refusing(), Origin::refusing(), "").start();
    assert_eq!(router.exchange("PUT /orders/1 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n").status(), 502);
    // It has come to its end, so the journal may have forgotten it.
    router.wait_for_metric("banyan_copies_ended_total", &["how=\"rejected\""], 1.0);
}

#[test]
fn reads_and_other_stages_leave_nothing() {
    let legacy = Origin::ok();
    let router = dualwrite(&legacy, "reads: [POST]");
    assert_eq!(router.get("/orders/1").status(), 200);
    router.exchange("POST /orders/1 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n");
    router.edit_flags(&flag("off"));
    router.wait_for_metric("banyan_config_generation", &[], 2.0);
    router.exchange("PUT /orders/1 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n");
    let held = held(router);
    assert!(held.intents.is_empty() && held.gaps.is_empty(), "{held:?}");
}

#[test]
fn a_request_that_its_client_cuts_is_never_kept() {
    let legacy = Origin::start(|exchange| exchange.drain());
    let router = dualwrite(&legacy, "");
    let mut wire = router.connect();
    wire.send("PUT /orders/1 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 10\r\n\r\nhalf");
    legacy.wait_for_bytes(b"half");
    wire.reset();
    legacy.wait_for_ends(1);
    let held = held(router);
    assert!(held.intents.is_empty() && held.gaps.is_empty(), "{held:?}");
}

#[test]
fn a_client_that_leaves_makes_the_outcome_unknown() {
    let legacy = Origin::start(|exchange| {
        exchange.request();
        exchange.drain();
    });
    let router = dualwrite(&legacy, "");
    // Over HTTP/2 a client can leave one request alone, and the router hears of it at once.
    let output = curl(&router, &["--max-time", "0.5"]);
    assert_eq!(output, b"000");
    legacy.wait_for_ends(1);
    let held = held(router);
    assert_eq!((held.intents.len(), held.outcomes[0].class), (1, Class::Unknown));
}

#[test]
fn a_create_names_what_it_made() {
    let legacy = Origin::answering(
        b"HTTP/1.1 201 Created\r\nlocation: /orders/41\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{\"id\":42}",
    );
    for (rule, id) in [("location", "41"), ("json:/id", "42")] {
        let router = dualwrite(&legacy, &format!("created: \"{rule}\", entity: \"order:{{id}}\""));
        router.exchange("POST /orders HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n");
        let held = held(router);
        assert_eq!(held.intents[0].entity, None);
        let last = held.outcomes.last().unwrap();
        assert!(last.is_final, "{rule}");
        assert_eq!((last.created.as_deref(), last.entity.as_deref()), (Some(id), Some(&*format!("order:{id}"))));
    }
}

#[test]
fn a_body_that_is_too_large_leaves_a_gap_or_is_refused() {
    let legacy = Origin::ok();
    let post = "POST /orders/1 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 9\r\n\r\n123456789";
    let chunked =
        "POST /orders/1 HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n";
    let router = dualwrite(&legacy, "body_bytes_max: 8");
    assert_eq!(router.exchange(post).status(), 200);
    // The courier has put the gap into the tables, so the journal may have forgotten it.
    router.wait_for_metric("banyan_copies_gaps_total", &["destination=\"modern\""], 1.0);
    assert!(held(router).intents.is_empty());
    for copies in ["body_bytes_max: 8, too_large: refuse", "body_bytes_max: 8, mode: strict"] {
        let router = dualwrite(&legacy, copies);
        assert_eq!(router.exchange(post).status(), 413, "{copies}");
        assert_eq!(router.exchange(chunked).status(), 413, "{copies}");
    }
}

#[test]
fn every_mode_answers_and_keeps() {
    for mode in ["async", "overlap", "strict", "sync_outcome"] {
        let legacy = Origin::ok();
        let router = dualwrite(&legacy, &format!("mode: {mode}"));
        for chunked in [false, true] {
            let request = match chunked {
                true => {
                    "PUT /orders/1 HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                }
                false => "PUT /orders/1 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nhello",
            };
            assert_eq!(router.exchange(request).status(), 200, "{mode}");
        }
        let received: Vec<_> = legacy.requests().iter().map(crate::support::Message::text).collect();
        assert_eq!(received, ["hello", "hello"], "{mode}");
        let held = held(router);
        assert_eq!((held.intents.len(), held.outcomes.len()), (2, 2), "{mode}");
    }
}

#[test]
fn strict_asks_the_primary_only_when_the_write_is_whole() {
    let legacy = Origin::ok();
    let router = dualwrite(&legacy, "mode: strict");
    let mut wire = router.connect();
    wire.send("PUT /orders/1 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 4\r\n\r\nha");
    wire.assert_silent(Duration::from_millis(200));
    assert_eq!(legacy.connections(), 0);
    assert_eq!(wire.send("lf").answer().status(), 200);
    assert_eq!(legacy.request().text(), "half");
}

#[test]
fn copies_work_over_http2_too() {
    let legacy = Origin::ok();
    let router = dualwrite(&legacy, "");
    assert_eq!(curl(&router, &[]), b"200");
    assert_eq!(body(&held(router).intents[0]), b"hello");
}

/// A regression: it was told 503, and nothing said that the sides may differ.
#[test]
fn a_write_that_the_primary_has_and_the_journal_not_leaves_a_gap_where_it_is_refused() {
    for (mode, gaps) in [("overlap", 1.0), ("strict", 0.0)] {
        let legacy = Origin::ok();
        let copies = format!("overflow: fail_closed, mode: {mode}");
        let setup = migration("dualwrite", legacy.address, Origin::refusing(), &copies);
        let router = setup.arguments(&["--journal-bytes-max", "33554432"]).start();
        let large = vec![b'x'; 1_000_000];
        let mut wire = router.connect();
        let mut put = |order: u32| {
            wire.send(format!(
                "PUT /orders/{order} HTTP/1.1\r\nhost: a.example\r\ncontent-length: {}\r\n\r\n",
                large.len()
            ));
            wire.send(&large).answer().status()
        };
        let full = (0..60).find(|order| put(*order) == 503).expect("the journal is full");
        let asked = legacy.requests().len();
        assert_eq!(asked, full as usize, "it is seen before the primary is asked");
        // Nobody knows how long this one is before it is there.
        let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", large.len(), String::from_utf8_lossy(&large));
        let head = "PUT /orders/chunked HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = router.exchange(format!("{head}{chunk}"));
        assert_eq!((answer.status(), legacy.requests().len()), (503, asked + gaps as usize), "{mode}");
        if gaps > 0.0 {
            router.wait_for_metric("banyan_copies_gaps_total", &["destination=\"modern\""], gaps);
        }
        assert_eq!(router.metric("banyan_copies_writes_total", &["what=\"gap\""]), gaps, "{mode}");
    }
}

/// Puts `hello` over HTTP/2; gives the status.
fn curl(router: &Router, arguments: &[&str]) -> Vec<u8> {
    let output = std::process::Command::new("curl")
        .args(["-s", "--http2-prior-knowledge", "-X", "PUT", "-d", "hello", "-o", "/dev/null", "-w", "%{http_code}"])
        .args(arguments)
        .arg(format!("http://{}/orders/1", router.listen))
        .output()
        .expect("curl is there: apt-get install curl");
    output.stdout
}

#[test]
fn a_copy_of_ours_is_not_copied_again() {
    let legacy = Origin::ok();
    let forged = "PUT /orders/1 HTTP/1.1\r\nhost: a.example\r\nbanyan-mirror: id=\"1\", hops=\"banyan\", sig=\"00\"\r\ncontent-length: 0\r\n\r\n";
    let router = dualwrite(&legacy, "");
    router.exchange(forged);
    assert!(!legacy.request().has("banyan-mirror"));
    let directory = router.directory().join("state");
    let key: [u8; 32] = std::fs::read(directory.join("mirror.key")).unwrap().try_into().unwrap();
    let marker = banyan::mirror::Marker::new(&key, "banyan");
    let mark = marker.mark(banyan::mirror::CopyId(7), "");
    let marked = forged.replace("id=\"1\", hops=\"banyan\", sig=\"00\"", mark.to_str().unwrap());
    assert_eq!(router.exchange(marked).status(), 200);
    // The forged one was copied like any other, the marked one was not.
    assert_eq!(held(router).intents.len(), 1);
}

#[test]
fn a_router_without_copies_keeps_no_segment() {
    let origin = Origin::ok();
    let router = Setup::upstream(origin.address, "").start();
    Wire::connect(router.listen).send("PUT / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n").answer();
    let journal = router.directory().join("state/journal/000001");
    let files = std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    let bytes: u64 = files.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum();
    assert!(bytes < 4096, "{bytes} bytes");
}

#[test]
fn a_route_that_insists_is_refused_by_a_router_that_keeps_nothing_whenever_it_comes() {
    let legacy = Origin::ok();
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let files = |copies: &str| super::routes(legacy.address, legacy.address, copies);
    for (folder, text) in [("flags", super::flag("dualwrite")), ("routes", files(""))] {
        std::fs::create_dir(directory.path().join(folder)).unwrap();
        std::fs::write(directory.path().join(folder).join("test.yaml"), text).unwrap();
    }
    // A file where the journals should be.
    std::fs::create_dir(directory.path().join("state")).unwrap();
    std::fs::write(directory.path().join("state/journal"), "").unwrap();
    let serve = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"]);
        command
    };
    let mut router = Router::run(serve(), Arc::clone(&directory));
    let put = "PUT /orders/1 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(router.exchange(put).status(), 200);
    router.edit_routes(&files("overflow: fail_closed"));
    router.wait_for_metric("banyan_config_reloads_total", &[r#"result="rejected""#], 1.0);
    router.wait_for_log("why it is refused", |line| {
        line.contains("routes/test.yaml:9:") && line.contains("insists on copies") && line.contains("state directory")
    });
    // What is in force goes on, and what sheds is taken.
    assert_eq!(router.exchange(put).status(), 200);
    router.edit_routes(&files("overflow: shed, mode: strict"));
    router.wait_for_metric("banyan_config_generation", &[], 2.0);
    drop(router);
    std::fs::write(directory.path().join("routes/test.yaml"), files("overflow: fail_closed")).unwrap();
    let output = serve().current_dir(directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "at the start it is refused, too");
}
