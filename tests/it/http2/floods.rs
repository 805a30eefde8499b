//! Rule L11: what costs the router more than the client. Each flood must end or do no harm: memory stays bounded and
//! others are served.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use super::get;
use crate::support::frames::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, integer, literal, request,
};
use crate::support::router::Setup;
use crate::support::{Frames, Origin, Router, Wire};

/// What a flood may add to the router's memory, in KiB; most of it is for connections to the upstream.
const GROWTH_KIB_MAX: u64 = 6 * 1024;

/// A router under attack, and what it needed before.
struct Target {
    router: Router,
    origin: Origin,
    before_kib: u64,
    bystander: RefCell<Option<Bystander>>,
}

/// Another client, who asks one request after the other for as long as the attack lasts.
struct Bystander {
    is_over: Arc<AtomicBool>,
    asking: JoinHandle<u32>,
}

impl Bystander {
    fn start(address: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let asking = std::thread::spawn(move || {
            let mut served = 0;
            let mut wire = Wire::connect(address);
            loop {
                if served % 1_000 == 999 {
                    // A connection carries 10,000 requests and no more.
                    wire = Wire::connect(address);
                }
                wire.assert_reusable();
                served += 1;
                if over.load(SeqCst) {
                    return served;
                }
            }
        });
        Self { is_over, asking }
    }

    /// How many answers there were; that each came in time and was right, the client has asserted.
    fn served(self) -> u32 {
        self.is_over.store(true, SeqCst);
        self.asking.join().expect("a bystander was not served")
    }
}

impl Target {
    /// The origin answers `/again` and lets everything else wait.
    fn start() -> Self {
        let origin = Origin::start(|exchange| {
            while let Some(request) = exchange.request() {
                if request.target() == "/again" {
                    exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                } else {
                    exchange.drain();
                }
            }
        });
        let setup = Setup::upstream(origin.address, "");
        Self::with(setup, origin)
    }

    fn with(setup: Setup, origin: Origin) -> Self {
        let router = setup.workers(1).start();
        for stream in [1, 3] {
            Frames::connect(router.listen).assert_serves(stream);
            assert_eq!(router.get("/again").status(), 200);
        }
        let before_kib = peak_kib(&router);
        let bystander = RefCell::new(Some(Bystander::start(router.listen)));
        Self { router, origin, before_kib, bystander }
    }

    fn attack(&self) -> Frames {
        Frames::connect(self.router.listen)
    }

    /// Others must have been served all along, and memory must have stayed bounded.
    fn assert_unharmed(&self) {
        let bystander = self.bystander.take().expect("one look is enough");
        assert!(bystander.served() > 0);
        Frames::connect(self.router.listen).assert_serves(1);
        assert_eq!(self.router.get("/again").status(), 200);
        let growth = peak_kib(&self.router) - self.before_kib;
        assert!(growth <= GROWTH_KIB_MAX, "the flood took {growth} KiB");
    }
}

/// The most memory that the process has had.
fn peak_kib(router: &Router) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", router.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Sends the same bytes over and over until the router has closed, at most so many times.
fn pour(client: &mut Frames, times: u32, bytes: impl Fn(u32) -> Vec<u8>) {
    for number in 0..times {
        if !client.write(&bytes(number)) {
            return;
        }
    }
}

#[test]
fn rapid_reset_in_one_burst() {
    let target = Target::start();
    let mut client = target.attack();
    let head = block(&request("GET", "/slow"));
    pour(&mut client, 20_000, |number| {
        let stream = 2 * number + 1;
        let opened = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        [opened, frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())].concat()
    });
    assert_eq!(client.goodbye(), ENHANCE_YOUR_CALM);
    target.router.wait_for_metric("banyan_limit_hits_total", &["limit=\"http2_"], 1.0);
    assert!(target.origin.connections() <= 1_000, "{} connections were made", target.origin.connections());
    target.assert_unharmed();
}

#[test]
fn rapid_reset_that_waits_until_each_request_has_arrived() {
    let target = Target::start();
    let mut client = target.attack();
    for number in 0..=200 {
        let stream = 2 * number + 1;
        client.get(stream, "/slow");
        target.origin.wait_for_requests(number as usize + 5);
        client.reset(stream, CANCEL);
    }
    assert_eq!(client.goodbye(), ENHANCE_YOUR_CALM);
    target.router.wait_for_metric("banyan_limit_hits_total", &["limit=\"http2_resets\""], 1.0);
    target.assert_unharmed();
}

#[test]
fn resets_among_answered_requests_are_no_flood() {
    let target = Target::start();
    let mut client = target.attack();
    for number in 0..600 {
        let stream = 4 * number + 1;
        client.get(stream, "/slow");
        client.reset(stream, CANCEL);
        client.assert_serves(stream + 2);
    }
}

#[test]
fn made_you_reset() {
    // Each makes the router reset a stream that the origin already works for.
    let faults: [fn(&mut Frames, u32); 3] = [
        |client, stream| _ = client.send(WINDOW_UPDATE, 0, stream, &[0; 4]),
        |client, stream| {
            client.open_window(stream, (1 << 31) - 1);
        },
        |client, stream| {
            client.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("connection", "close")]));
        },
    ];
    for fault in faults {
        let target = Target::start();
        let mut client = target.attack();
        for number in 0..400 {
            let stream = 2 * number + 1;
            client.head(stream, &request("POST", "/slow"), 0);
            fault(&mut client, stream);
        }
        assert!(client.goodbye() != 0);
        let of_client = &["side=\"client\""];
        target.router.wait_for_metric("banyan_faults_total", of_client, 1.0);
        target.assert_unharmed();
    }
}

#[test]
fn endless_continuation() {
    for piece in [0, 1, 16_000] {
        let target = Target::start();
        let mut client = target.attack();
        client.send(HEADERS, END_STREAM, 1, &block(&get(&[])));
        let filler = block(&[("x-filler", &"x".repeat(piece))]);
        let more = if piece == 0 { &[][..] } else { &filler };
        pour(&mut client, 100_000, |_| frame(CONTINUATION, 0, 1, more));
        assert!(client.goodbye() != 0, "{piece}");
        target.assert_unharmed();
    }
}

#[test]
fn frames_that_ask_for_an_answer_which_nobody_reads() {
    for (kind, payload) in [(PING, vec![0; 8]), (SETTINGS, Vec::new()), (SETTINGS, vec![0, 4, 0, 0, 255, 255])] {
        let target = Target::start();
        let mut client = target.attack();
        client.with_write_timeout(|client| {
            let batch = frame(kind, 0, 0, &payload).repeat(100);
            pour(client, 2_000, |_| batch.clone());
        });
        target.assert_unharmed();
    }
}

#[test]
fn frames_without_content() {
    let empty = |_| frame(DATA, 0, 1, &[]).repeat(50);
    let padded = |_| frame(DATA, 8, 1, &[3, 0, 0, 0]).repeat(50);
    let priority = |_| frame(2, 0, 1, &[0, 0, 0, 3, 1]).repeat(50);
    let unknown = |_| frame(0x42, 0, 1, &[0; 32]).repeat(50);
    for bytes in [empty as fn(u32) -> Vec<u8>, padded, priority, unknown] {
        let target = Target::start();
        let mut client = target.attack();
        client.head(1, &request("POST", "/slow"), 0);
        pour(&mut client, 2_000, bytes);
        target.assert_unharmed();
    }
}

#[test]
fn small_data_that_nobody_takes() {
    let origin = Origin::start(|exchange| {
        while let Some(request) = exchange.head() {
            if request.target() != "/again" {
                std::thread::park();
            }
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let target = Target::with(Setup::upstream(origin.address, ""), origin);
    let mut client = target.attack();
    for number in 0..50 {
        client.head(2 * number + 1, &request("POST", "/slow"), 0);
    }
    client.with_write_timeout(|client| {
        pour(client, 1_000, |number| frame(DATA, 0, 2 * (number % 50) + 1, b"x").repeat(50));
    });
    target.assert_unharmed();
}

#[test]
fn more_streams_than_allowed() {
    let target = Target::start();
    let mut client = target.attack();
    let head = block(&request("GET", "/slow"));
    pour(&mut client, 20_000, |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head));
    assert_eq!(client.goodbye(), ENHANCE_YOUR_CALM);
    target.router.wait_for_metric("banyan_limit_hits_total", &["limit=\"http2_flood\""], 1.0);
    let slow = target.origin.requests().iter().filter(|request| request.target() == "/slow").count();
    assert!(slow <= 200, "{slow}");
    target.assert_unharmed();
}

/// Answers with a megabyte, which no stalled client takes.
fn large() -> Origin {
    let body = vec![b'x'; 1_000_000];
    Origin::start(move |exchange| {
        while let Some(request) = exchange.request() {
            if request.target() == "/again" {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                continue;
            }
            exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()));
            exchange.send(&body);
        }
    })
}

#[test]
fn windows_that_stay_shut() {
    for window in [0, 1] {
        let origin = large();
        let setup = Setup::upstream(origin.address, "").limit("write_stall_timeout_ms", 500);
        let target = Target::with(setup, origin);
        let mut client = Frames::with_settings(target.router.listen, &[(INITIAL_WINDOW_SIZE, window)]);
        for number in 0..100 {
            client.get(2 * number + 1, "/large");
        }
        for _ in 0..100 {
            let reset = client.until("a reset", |frame| frame.kind == RST_STREAM);
            assert_eq!(reset.code(), CANCEL);
        }
        target.router.wait_for_metric("banyan_limit_hits_total", &["limit=\"write_stall\""], 100.0);
        target.assert_unharmed();
    }
}

#[test]
fn a_socket_that_is_not_read() {
    let origin = large();
    let setup = Setup::upstream(origin.address, "").limit("write_stall_timeout_ms", 500);
    let target = Target::with(setup, origin);
    let mut client = Frames::with_settings(target.router.listen, &[(INITIAL_WINDOW_SIZE, (1 << 31) - 1)]);
    client.open_window(0, (1 << 30) - 1);
    for number in 0..100 {
        client.get(2 * number + 1, "/large");
    }
    target.router.wait_for_metric("banyan_limit_hits_total", &["limit=\"write_stall\""], 1.0);
    // What is left is the bystander's.
    target.router.wait_for_connections(1);
    target.assert_unharmed();
}

#[test]
fn a_small_head_that_unpacks_to_a_large_one() {
    let target = Target::start();
    let mut client = target.attack();
    // One field of 4,000 bytes enters the table (index 62), and is then named by one byte, over and over.
    let mut head = block(&request("GET", "/slow"));
    head.push(0x40);
    literal(&mut head, b"x-large");
    literal(&mut head, &[b'x'; 3_900]);
    integer(&mut head, 0x80, 7, 62);
    head.extend([0x80 | 62; 8_000]);
    for number in 0..100 {
        if !client.send(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head) {
            break;
        }
    }
    let end = client.until("a refusal", |frame| frame.kind == GOAWAY || frame.kind == RST_STREAM);
    assert!(end.code() != 0, "{end:?}");
    target.assert_unharmed();
}
