//! Limits L1 to L14 for HTTP/2: each is hit by one that goes beyond it, and leaves the others alone.

use super::{Pair, get};
use crate::support::frames::{
    CANCEL, DATA, GOAWAY, INITIAL_WINDOW_SIZE, NO_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, request,
};
use crate::support::router::Setup;
use crate::support::{Frames, Origin, Router};

fn limited(origin: &Origin, name: &str, value: u64) -> Router {
    Setup::upstream(origin.address, "").limit(name, value).start()
}

/// An origin that reads requests and never answers.
fn silent() -> Origin {
    Origin::start(|exchange| while exchange.request().is_some() {})
}

#[test]
fn l1_heads() {
    let mut pair = Pair::start();
    let long = "x".repeat(17_000);
    pair.refuses(431, &get(&[("x-long", &long)]));
    let path = format!("/{}", "a".repeat(8_300));
    pair.refuses(414, &request("GET", &path));
    let many: Vec<(&str, &str)> = (0..101).map(|_| ("x-one", "1")).collect();
    pair.refuses(431, &get(&many));
    pair.router.wait_for_metric("banyan_limit_hits_total", &["limit=\"head\""], 2.0);
    pair.router.wait_for_metric("banyan_limit_hits_total", &["limit=\"target\""], 1.0);
    let path = format!("/{}", "a".repeat(8_000));
    pair.forwards(&request("GET", &path));
}

#[test]
fn l3_a_preface_that_does_not_come() {
    let router = limited(&Origin::ok(), "head_timeout_ms", 200);
    let mut wire = router.connect();
    wire.send("PRI * HTTP/2.0\r\n");
    wire.assert_closed();
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"head_timeout\""], 1.0);
}

#[test]
fn l4_a_body_that_stands_still() {
    let origin = silent();
    let router = limited(&origin, "body_idle_timeout_ms", 200);
    let mut client = Frames::connect(router.listen);
    client.head(1, &request("POST", "/"), 0);
    client.send(DATA, 0, 1, b"hello");
    assert_eq!(client.answer(1).reset, Some(CANCEL));
    origin.wait_for_ends(1);
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"body_idle\""], 1.0);
    router.wait_for_metric("banyan_faults_total", &["fault=\"client_timeout\""], 1.0);
}

#[test]
fn l5_a_window_that_stays_shut_ends_its_stream_only() {
    let router = limited(&Origin::ok(), "write_stall_timeout_ms", 200);
    let mut client = Frames::with_settings(router.listen, &[(INITIAL_WINDOW_SIZE, 0)]);
    client.get(1, "/");
    let answer = client.answer(1);
    assert_eq!((answer.status, answer.reset), (200, Some(CANCEL)));
    client.get(3, "/");
    client.open_window(3, 10);
    assert_eq!(client.answer(3).text(), "ok");
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"write_stall\""], 1.0);
}

#[test]
fn l6_an_idle_connection_ends_with_goaway() {
    let router = limited(&Origin::ok(), "keep_alive_timeout_ms", 200);
    let mut client = Frames::connect(router.listen);
    client.assert_serves(1);
    assert_eq!(client.goodbye(), NO_ERROR);
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"keep_alive\""], 1.0);
}

#[test]
fn l6_pings_do_not_keep_a_connection() {
    let router = limited(&Origin::ok(), "keep_alive_timeout_ms", 300);
    let mut client = Frames::connect(router.listen);
    let ping = |client: &mut Frames| client.send(crate::support::frames::PING, 0, 0, &[1; 8]);
    ping(&mut client);
    while let Some(frame) = client.read() {
        if frame.kind == GOAWAY {
            return;
        }
        if frame.kind == crate::support::frames::PING {
            ping(&mut client);
        }
    }
    panic!("no GOAWAY came");
}

#[test]
fn l6_the_last_request_of_a_connection_is_answered() {
    let router = limited(&Origin::ok(), "keep_alive_requests_max", 2);
    let mut client = Frames::connect(router.listen);
    client.acknowledge_pings();
    client.assert_serves(1);
    client.assert_serves(3);
    assert_eq!(client.goodbye(), NO_ERROR);
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"keep_alive_requests\""], 1.0);
}

#[test]
fn l10_the_settings_say_what_is_held() {
    let router = Router::to(Origin::ok().address);
    let settings = Frames::connect(router.listen).until("settings", |frame| frame.kind == SETTINGS).payload;
    let mut named: Vec<(u16, u32)> = settings
        .chunks(6)
        .map(|one| (u16::from_be_bytes([one[0], one[1]]), u32::from_be_bytes(one[2..].try_into().unwrap())))
        .collect();
    named.sort_unstable();
    // Streams, window of a stream, frame, head as HTTP/2 counts it, extended CONNECT.
    assert_eq!(named, [(3, 100), (4, 65_536), (5, 16_384), (6, 32_768 + 100 * 32), (8, 1)]);
}

#[test]
fn l10_one_stream_more_is_refused() {
    let origin = silent();
    let router = limited(&origin, "h2_streams_max", 2);
    let mut client = Frames::connect(router.listen);
    client.until("settings", |frame| frame.kind == SETTINGS);
    for stream in [1, 3, 5] {
        client.get(stream, "/");
    }
    let refusal = client.until("the refusal", |frame| frame.kind == RST_STREAM);
    assert_eq!((refusal.stream, refusal.code()), (5, REFUSED_STREAM));
    origin.wait_for_requests(2);
}

#[test]
fn l14_draining_says_goaway_and_finishes_the_streams() {
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let origin = Origin::start(move |exchange| {
        while exchange.request().is_some() {
            gate.lock().unwrap().recv().unwrap();
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let mut router = Router::to(origin.address);
    let (mut idle, mut busy) = (Frames::connect(router.listen), Frames::connect(router.listen));
    for client in [&mut idle, &mut busy] {
        client.acknowledge_pings();
    }
    busy.get(1, "/");
    origin.wait_for_requests(1);
    router.signal(rustix::process::Signal::TERM);
    assert_eq!(idle.goodbye(), NO_ERROR);
    busy.until("GOAWAY", |frame| frame.kind == GOAWAY && frame.last_stream() == 1);
    go.send(()).unwrap();
    let answer = busy.answer(1);
    assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()));
    busy.assert_closed();
    assert!(router.wait_for_exit().success());
}

#[test]
fn l14_a_client_that_ignores_goaway_does_not_hold_the_process_when_idle() {
    let mut router = Router::to(Origin::ok().address);
    let mut client = Frames::connect(router.listen);
    client.assert_serves(1);
    router.signal(rustix::process::Signal::TERM);
    assert!(router.wait_for_exit().success());
}

#[test]
fn http2_can_be_switched_off() {
    let router = Setup::upstream(Origin::ok().address, "").arguments(&["--http2", "off"]).start();
    let mut wire = router.connect();
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    wire.assert_closed();
}

#[test]
fn a_first_request_in_pieces_is_still_http_1_1() {
    let router = Router::to(Origin::ok().address);
    for first in ["P", "PR", "PRI * HTTP/2.0\r\n\r\nS"] {
        let mut wire = router.connect();
        wire.send(first);
        wire.assert_silent(std::time::Duration::from_millis(60));
        match first {
            "P" => wire.send("OST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 2\r\n\r\nhi"),
            "PR" => wire.send("OPFIND / HTTP/1.1\r\nhost: a.example\r\n\r\n"),
            _ => wire.send("X / HTTP/1.1\r\n\r\n"),
        };
        assert_eq!(wire.answer().status(), if first.len() > 2 { 400 } else { 200 }, "{first:?}");
    }
}
