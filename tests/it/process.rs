//! The process as a whole: starting with bad files, with a public admin address, while another one drains.

use std::process::{Command, Output};

use rustix::process::Signal;

use crate::support::origin::Origin;
use crate::support::router::{Router, Setup};

const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";

/// Starts the program in a router's directory and waits for its end.
fn run(router: &Router, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    command.arg("serve").args(arguments).current_dir(router.directory()).output().unwrap()
}

fn broken(router: &Router) {
    std::fs::write(router.directory().join("flags/test.yaml"), "flags:\n  side: {state: MAYBE}\n").unwrap();
}

#[test]
fn c5_a_start_with_a_bad_file_says_where_and_ends() {
    let origin = Origin::ok();
    let router = Router::to(origin.address);
    broken(&router);
    let ended = run(&router, &["--state", "other", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let log = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{log}");
    assert!(log.contains("flags/test.yaml:2:"), "{log}");
}

#[test]
fn c5_with_last_good_it_starts_from_the_kept_set() {
    let origin = Origin::ok();
    let mut router = Router::to(origin.address);
    let kept = router.directory().join("state/last-good/flags/test.yaml");
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while !kept.exists() {
        assert!(std::time::Instant::now() < deadline, "no copy was kept");
        std::thread::yield_now();
    }
    broken(&router);
    router.signal(Signal::TERM);
    assert!(router.wait_for_exit().success());
    let second = router.again(&["--last-good", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert_eq!(second.get("/").status(), 200);
    assert!(second.logs().iter().any(|line| line.contains("last good")));
}

#[test]
fn a1_admin_on_a_public_address_is_refused() {
    let origin = Origin::ok();
    let router = Router::to(origin.address);
    let ended = run(&router, &["--state", "other", "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("not loopback"));
}

#[test]
fn a_process_starts_while_another_one_drains() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |exchange| {
        while let Some(request) = exchange.request() {
            if request.target() == "/slow" {
                let _ = wait.lock().unwrap().recv();
            }
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let mut first = Router::to(origin.address);
    let mut busy = first.connect();
    busy.send("GET /slow HTTP/1.1\r\nhost: a.example\r\n\r\n");
    origin.wait_for_requests(1);
    first.signal(Signal::TERM);
    first.wait_for_log("it drains", |line| line.contains("draining"));
    let listen = first.listen.to_string();
    let second = first.again(&["--listen", &listen]);
    assert_eq!((second.listen, second.admin), (first.listen, first.admin));
    assert_eq!(second.get("/").status(), 200);
    release.send(()).unwrap();
    assert_eq!(busy.answer().status(), 200);
    assert!(first.wait_for_exit().success());
    assert_eq!(second.connect().send(GET).answer().status(), 200);
}

#[test]
fn c1_an_alias_bomb_is_refused() {
    let mut text = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (name, earlier) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"])
    {
        text += &format!("{name}: &{name} [{}]\n", vec![format!("*{earlier}"); 9].join(", "));
    }
    let set = banyan::config::FileSet::from_texts("flags", [("bomb.yaml", text.as_str())]);
    let mut report = banyan::config::Report::default();
    assert!(banyan::config::parse(&set.files[0], &mut report).is_none());
    assert!(report.has_errors());
}

#[test]
fn p14_an_answer_with_trailers_is_complete() {
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
    );
    let router = Setup::upstream(origin.address, "").start();
    let mut client = router.connect();
    for _ in 0..3 {
        let answer = client.send("GET / HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\n\r\n").answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    }
    // One connection carried all three, and no client was taken for gone.
    assert_eq!(origin.connections(), 1);
    assert_eq!(router.metric("banyan_faults_total", &[]), 0.0);
}

#[test]
fn a_port_that_another_router_has_is_not_shared() {
    let origin = Origin::ok();
    let router = Router::to(origin.address);
    let listen = router.listen.to_string();
    let ended = run(&router, &["--state", "other", "--listen", &listen, "--admin", "127.0.0.1:0"]);
    let log = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{log}");
    assert!(log.contains("cannot listen on") && log.contains("--listen"), "{log}");
}

#[test]
fn sockets_that_are_taken_over_keep_their_addresses_and_it_is_said() {
    let origin = Origin::ok();
    let first = Router::to(origin.address);
    let second = first.again(&["--listen", "127.0.0.1:1", "--admin", "127.0.0.1:2"]);
    assert_eq!(second.listen, first.listen);
    assert!(second.logs().iter().any(|line| line.contains("are not used")));
}

#[test]
fn a_tunnel_ends_soon_after_one_of_its_sides() {
    // The upstream switches, and then neither answers the end nor closes.
    let origin = Origin::start(|exchange| {
        exchange.request();
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        let mut held = Vec::new();
        while let Some(more) = exchange.chunk() {
            held.extend(more);
        }
        exchange.drain();
        std::thread::park();
    });
    let router = Setup::route(origin.address, "", "websocket: true").start();
    let mut client = router.connect();
    client.send(
        "GET / HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.head().status(), 101);
    client.half_close();
    router.wait_for_connections(0);
}

#[test]
fn h7_raw_bytes_above_ascii_are_refused() {
    let origin = Origin::ok();
    let router = Router::to(origin.address);
    for path in ["/\u{fc}", "/a?q=\u{fc}"] {
        let answer = router.exchange(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n"));
        assert_eq!(answer.status(), 400, "{path}");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn json_files_keep_to_json() {
    let set =
        banyan::config::FileSet::from_texts("flags", [("a.json", "{\"flags\": {},}"), ("b.json", "{\"flags\": {}}")]);
    let mut report = banyan::config::Report::default();
    assert!(banyan::config::parse(&set.files[0], &mut report).is_none());
    assert!(report.diagnostics[0].message.contains("JSON"));
    assert!(banyan::config::parse(&set.files[1], &mut report).is_some());
}

#[test]
fn the_demos_copies_are_the_shipped_files() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["flags/orders.yaml", "flags/search.yaml", "routes/shop.yaml"] {
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
        let (shipped, copy) = (read(root.join(name)), read(root.join("src/demo/shipped").join(name)));
        assert_eq!(shipped, copy, "{name}: undo the edit, or copy it to src/demo/shipped as well");
    }
}

#[test]
fn explain_hashes_as_the_router_does() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let explain = |hashing: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
        command.args(["explain", "--json", "--url", "/search", "-H", "x-user-id: user-1"]).current_dir(root);
        let output = command.env("BANYAN_HASHING", hashing).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (v2, v3) = (explain("v2"), explain("v3"));
    assert!(v2.contains("bucket") && v3.contains("bucket"), "{v2}{v3}");
    assert_ne!(v2, v3);
}
