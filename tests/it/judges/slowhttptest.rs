//! slowhttptest: hundreds of slow connections are closed by the limits, and others are served all along.

use std::process::{Command, Stdio};

use super::Judge;
use crate::support::router::Setup;
use crate::support::{Origin, Router};

/// Connections that each attack opens at once.
const CONNECTIONS: u32 = 300;
/// Seconds after which an attack that nobody stopped ends by itself.
const ATTACK_SECONDS_MAX: u32 = 30;
/// Larger than what the kernel buffers for a connection, so that a client that does not read holds us up.
const LARGE_BODY: &[u8] = &[b'x'; 8 * 1024 * 1024];

/// What an attack amounted to.
struct Attack {
    /// Whether it ended because none of its connections was left.
    is_spent: bool,
    /// Whether its own probe was answered each second.
    is_served: bool,
    said: String,
}

/// An origin that answers `GET /large` with a large body and all else with a small one.
fn origin() -> Origin {
    Origin::start(|exchange| {
        while let Some(request) = exchange.request() {
            if request.target() == "/large" {
                exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", LARGE_BODY.len()));
                exchange.send(LARGE_BODY);
            } else {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        }
    })
}

/// A router whose patience is short in one way and otherwise as shipped.
fn impatient(origin: &Origin, limit: &str) -> Router {
    Setup::upstream(origin.address, "").limit("connections_per_address_max", 0).limit(limit, 1_000).start()
}

/// Attacks a router, while a client of our own asks on connection after connection, and must be answered.
fn attack(router: &Router, target: &str, how: &[&str]) -> Attack {
    let report = tempfile::tempdir().unwrap();
    let mut command = Command::new("slowhttptest");
    let (connections, seconds) = (CONNECTIONS.to_string(), ATTACK_SECONDS_MAX.to_string());
    command.args(["-c", &connections, "-r", &connections, "-l", &seconds, "-i", "1", "-p", "5", "-g", "-o", "report"]);
    command.args(["-u", &format!("http://{}{target}", router.listen)]).args(how);
    command.current_dir(report.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut judge = Judge::start(command);
    let mut stdout = judge.0.stdout.take().expect("stdout is piped");
    let said = std::thread::spawn(move || std::io::read_to_string(&mut stdout));
    let mut answers = 0;
    while judge.0.try_wait().unwrap().is_none() {
        assert_eq!(router.get("/").status(), 200);
        answers += 1;
    }
    assert!(answers > 20, "only {answers} answers during the attack");
    let seconds = std::fs::read_to_string(report.path().join("report.csv")).expect("a report");
    let said = said.join().unwrap().expect("text");
    // The last column is 0 in seconds in which the probe was not answered.
    let is_served = seconds.lines().skip(1).all(|second| !second.ends_with(",0"));
    Attack { is_spent: said.contains("No open connections left"), is_served, said }
}

fn assert_withstood(router: &Router, attack: &Attack, limit: &str, hits: u32) {
    assert!(attack.is_served, "{}", attack.said);
    router.wait_for_metric("banyan_limit_hits_total", &[&format!("limit=\"{limit}\"")], f64::from(hits));
    // The metrics' own connection is none of the data plane's.
    router.wait_for_connections(0);
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}

#[test]
fn slow_heads() {
    let origin = origin();
    let router = impatient(&origin, "head_timeout_ms");
    let attack = attack(&router, "/", &["-H"]);
    assert!(attack.is_spent, "{}", attack.said);
    assert_withstood(&router, &attack, "head_timeout", CONNECTIONS);
}

#[test]
fn slow_bodies() {
    let origin = origin();
    let router = impatient(&origin, "body_rate_min_bytes");
    let attack = attack(&router, "/", &["-B"]);
    assert!(attack.is_spent, "{}", attack.said);
    assert_withstood(&router, &attack, "body_rate", CONNECTIONS);
}

#[test]
fn slow_readers() {
    let origin = origin();
    let router = impatient(&origin, "write_stall_timeout_ms");
    // A client that does not read does not see that it was closed, so the attack itself is given an end.
    let attack = attack(&router, "/large", &["-X", "-l", "5", "-w", "1", "-y", "1", "-n", "1", "-z", "1"]);
    assert_withstood(&router, &attack, "write_stall", CONNECTIONS);
}

#[test]
fn many_ranges() {
    let origin = origin();
    let router = impatient(&origin, "head_timeout_ms");
    // A Range field of 3,000 ranges is larger than a field may be.
    let attack = attack(&router, "/", &["-R", "-a", "10", "-b", "3000"]);
    assert!(attack.is_spent, "{}", attack.said);
    assert_withstood(&router, &attack, "head", CONNECTIONS);
}
