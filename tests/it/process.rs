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
