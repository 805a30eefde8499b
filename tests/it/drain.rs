//! The end of a process and the start of the next: draining, hand-over, socket activation.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::origin::Origin;
use crate::support::router::{Router, Setup};
use crate::support::wire::Wire;
use crate::support::{Frames, PATIENCE};

const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";

/// An origin that answers when told to.
fn held() -> (Origin, mpsc::Sender<()>) {
    let (release, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |exchange| {
        while exchange.request().is_some() {
            let _ = wait.lock().unwrap().recv();
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone");
        }
    });
    (origin, release)
}

fn wait_until(what: &str, mut is_it: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_it() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

fn ready(router: &Router) -> u16 {
    Wire::connect(router.admin)
        .send("GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        .answer()
        .status()
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_takes_nothing_more() {
    let (origin, release) = held();
    let mut router = Router::to(origin.address);
    let mut busy = router.connect();
    busy.send(GET);
    origin.wait_for_requests(1);
    assert_eq!(ready(&router), 200);

    router.signal(Signal::TERM);
    wait_until("readiness goes off", || ready(&router) == 503);
    wait_until("new connections are refused", || TcpStream::connect(router.listen).is_err());
    release.send(()).unwrap();

    let answer = busy.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "done"));
    assert_eq!(answer.field("connection"), "close");
    busy.assert_closed();
    assert!(router.wait_for_exit().success());
}

#[test]
fn sigterm_closes_idle_connections_after_a_grace() {
    let origin = Origin::ok();
    let mut router = Router::to(origin.address);
    let mut idle = router.connect();
    assert_eq!(idle.send(GET).answer().status(), 200);
    router.signal(Signal::TERM);
    idle.assert_closed();
    assert!(router.wait_for_exit().success());
}

#[test]
fn a_request_that_comes_while_draining_is_served_and_closes_its_connection() {
    let origin = Origin::ok();
    let mut router = Router::to(origin.address);
    let mut client = router.connect();
    assert_eq!(client.send(GET).answer().status(), 200);
    router.signal(Signal::TERM);
    wait_until("readiness goes off", || ready(&router) == 503);
    let answer = client.send(GET).answer();
    assert_eq!((answer.status(), answer.field("connection").as_str()), (200, "close"));
    assert!(router.wait_for_exit().success());
}

#[test]
fn the_drain_deadline_ends_what_is_left() {
    let (origin, _release) = held();
    let mut router = Setup::upstream(origin.address, "").limit("drain_timeout_ms", 200).start();
    let mut busy = router.connect();
    busy.send(GET);
    origin.wait_for_requests(1);
    router.signal(Signal::TERM);
    busy.assert_closed();
    assert!(router.wait_for_exit().success());
    assert!(router.logs().iter().any(|line| line.contains("drain deadline")));
}

#[test]
fn what_the_drain_deadline_cuts_is_the_routers_own_fault() {
    let (origin, _release) = held();
    let template = Router::to(origin.address);
    let directory = Arc::new(tempfile::tempdir().unwrap());
    for folder in ["flags", "routes"] {
        std::fs::create_dir(directory.path().join(folder)).unwrap();
        let from = template.directory().join(folder).join("test.yaml");
        std::fs::copy(from, directory.path().join(folder).join("test.yaml")).unwrap();
    }
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" > access.log", env!("CARGO_BIN_EXE_banyan"), "serve"]);
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"]);
    command.args(["--limit", "drain_timeout_ms=200"]);
    let mut router = Router::run(command, Arc::clone(&directory));
    let (mut plain, mut stream) = (router.connect(), Frames::connect(router.listen));
    plain.send(GET);
    stream.get(1, "/");
    origin.wait_for_requests(2);
    router.signal(Signal::TERM);
    plain.assert_closed();
    assert!(router.wait_for_exit().success());
    let lines = std::fs::read_to_string(directory.path().join("access.log")).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        let said = ["fault", "fault_side", "status"].map(|name| line[name].to_string());
        assert_eq!(said, ["\"drained\"", "\"router\"", "503"], "{line}");
    }
}

#[test]
fn a_second_sigterm_does_not_wait() {
    let (origin, _release) = held();
    let mut router = Router::to(origin.address);
    let mut busy = router.connect();
    busy.send(GET);
    origin.wait_for_requests(1);
    router.signal(Signal::TERM);
    wait_until("readiness goes off", || ready(&router) == 503);
    router.signal(Signal::TERM);
    busy.assert_closed();
    assert!(router.wait_for_exit().success());
}

/// Clients that never pause; any answer but a whole 200 is a failure.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr, clients: usize) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |number: usize| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            // Every other client opens a connection a request: those sit in the accept queues.
            std::thread::spawn(move || drive(address, number.is_multiple_of(2), &stop, &served))
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, served, clients }
    }

    fn wait_for(&self, more: u64) {
        let goal = self.served.load(Ordering::Relaxed) + more;
        wait_until("the load goes on", || {
            self.served.load(Ordering::Relaxed) >= goal || self.clients.iter().any(JoinHandle::is_finished)
        });
    }

    fn finish(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (self.served.load(Ordering::Relaxed), failures)
    }
}

fn drive(address: SocketAddr, keep_alive: bool, stop: &AtomicBool, served: &AtomicU64) -> Vec<String> {
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        match one_request(address, &mut connection, keep_alive) {
            Ok(()) => served.fetch_add(1, Ordering::Relaxed),
            Err(error) => return vec![error.to_string()],
        };
    }
    Vec::new()
}

fn one_request(address: SocketAddr, kept: &mut Option<TcpStream>, keep_alive: bool) -> std::io::Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => TcpStream::connect(address)?,
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(GET.as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    let end = loop {
        let bytes = stream.read(&mut buffer)?;
        if bytes == 0 {
            let got = String::from_utf8_lossy(&answer).into_owned();
            return Err(std::io::Error::other(format!("closed in the middle of an answer: {got:?}")));
        }
        answer.extend_from_slice(&buffer[..bytes]);
        if let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let length = length.ok_or_else(|| std::io::Error::other(format!("no length: {head}")))?;
    let mut rest = vec![0; length.saturating_sub(answer.len() - end)];
    stream.read_exact(&mut rest)?;
    if !head.starts_with("http/1.1 200") {
        return Err(std::io::Error::other(head));
    }
    if keep_alive && !head.contains("connection: close") {
        *kept = Some(stream);
    }
    Ok(())
}

#[test]
fn a_new_process_takes_over_under_load_without_a_failed_request() {
    let origin = Origin::ok();
    let mut first = Router::to(origin.address);
    let address = first.listen;
    let load = Load::start(address, 8);
    load.wait_for(500);
    // One worker more, then one less: sockets and workers need not match.
    let mut second = first.successor(3);
    assert_eq!(second.listen, address);
    assert!(first.wait_for_exit().success());
    load.wait_for(500);
    let third = second.successor(1);
    assert!(second.wait_for_exit().success());
    load.wait_for(500);
    let (served, failures) = load.finish();
    println!("hand-over: {served} requests over two hand-overs, {} failed", failures.len());
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(third.get("/").status(), 200);
}

#[test]
fn a_successor_with_broken_files_changes_nothing() {
    let origin = Origin::ok();
    let router = Router::to(origin.address);
    std::fs::write(router.directory().join("flags/broken.yaml"), "flags: [").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_banyan"));
    let ended = command.arg("serve").current_dir(router.directory()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(router.get("/").status(), 200);
}

#[test]
fn systemd_passes_sockets() {
    // Plays systemd: opens two sockets, puts them at 3 and 4, and becomes the router.
    const ACTIVATE: &str = "
import os, socket, sys
opened = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
for place, one in enumerate([os.dup(one.fileno()) for one in opened]):
    os.dup2(one, 100 + place)
for place in range(2):
    os.dup2(100 + place, 3 + place, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2')
os.execv(sys.argv[1], [sys.argv[1], 'serve', '--log-format', 'json'])
";
    let origin = Origin::ok();
    let template = Router::to(origin.address);
    let directory = Arc::new(tempfile::tempdir().unwrap());
    for folder in ["flags", "routes"] {
        std::fs::create_dir(directory.path().join(folder)).unwrap();
        let from = template.directory().join(folder).join("test.yaml");
        std::fs::copy(from, directory.path().join(folder).join("test.yaml")).unwrap();
    }
    let mut command = std::process::Command::new("python3");
    command.args(["-c", ACTIVATE, env!("CARGO_BIN_EXE_banyan")]);
    let router = Router::run(command, directory);
    assert_ne!(router.listen.port(), 8080);
    assert_eq!(router.get("/").status(), 200);
    assert_eq!(ready(&router), 200);
}
