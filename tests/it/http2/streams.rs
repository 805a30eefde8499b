//! Streams: bodies and trailers both ways, several at once, those that are broken off by one side or the other.

use std::process::Command;

use http::{HeaderMap, HeaderValue, Request};

use super::{Pair, client};
use crate::support::frames::{CANCEL, DATA, END_STREAM, INTERNAL_ERROR, NO_ERROR, RST_STREAM, WINDOW_UPDATE, request};
use crate::support::router::Setup;
use crate::support::{Frames, Origin, Router};

#[test]
fn a_body_of_unknown_length_goes_on_in_chunks_with_its_trailers() {
    let pair = Pair::start();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("5"));
    trailers.insert("host", HeaderValue::from_static("b.example"));
    let post = Request::post("http://a.example/").header("trailer", "x-sum").body(()).unwrap();
    let answer = client::exchange(&pair.router, post, &[b"he", b"llo"], Some(trailers));
    assert_eq!((answer.head.status.as_u16(), &*answer.body), (200, "ok"));
    let received = pair.origin.request();
    assert_eq!((received.field("transfer-encoding"), received.text()), ("chunked".into(), "hello".into()));
    assert_eq!(received.trailers, [("x-sum".to_owned(), "5".to_owned())]);
}

#[test]
fn a_body_of_known_length_keeps_it() {
    let pair = Pair::start();
    let post = Request::post("http://a.example/").header("content-length", "5").body(()).unwrap();
    client::exchange(&pair.router, post, &[b"hello"], None);
    let received = pair.origin.request();
    assert_eq!((received.field("content-length"), received.text()), ("5".into(), "hello".into()));
    assert!(!received.has("transfer-encoding"));
}

#[test]
fn a_post_that_ends_with_its_head_has_length_zero() {
    let mut pair = Pair::start();
    assert_eq!(pair.forwards(&request("POST", "/")).field("content-length"), "0");
}

#[test]
fn h9_a_length_that_the_data_contradicts_never_ends_cleanly_upstream() {
    for (announced, sent) in [("3", &b"hello"[..]), ("9", b"hello"), ("0", b"hello")] {
        let origin = Origin::start(|exchange| while exchange.request().is_some() {});
        let mut pair = Pair::with(origin);
        pair.client.head(1, &[&request("POST", "/"), &[("content-length", announced)][..]].concat(), 0);
        pair.client.send(DATA, END_STREAM, 1, sent);
        assert!(pair.client.answer(1).reset.is_some(), "{announced}");
        pair.router.wait_for_metric("banyan_faults_total", &["side=\"client\""], 1.0);
        assert_eq!(pair.router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
        assert!(pair.origin.requests().is_empty(), "{announced}");
    }
}

#[test]
fn trailers_of_an_answer_arrive() {
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\nset-cookie: a=1\r\n\r\n",
    );
    let request = Request::get("http://a.example/").header("te", "trailers").body(()).unwrap();
    let answer = client::exchange(&Router::to(origin.address), request, &[], None);
    let trailers = answer.trailers.unwrap();
    assert_eq!((&*answer.body, &trailers["grpc-status"], trailers.len()), ("ok", &HeaderValue::from_static("0"), 1));
}

#[test]
fn many_streams_are_served_at_once() {
    let pair = Pair::start();
    client::run(&pair.router, async |mut sender| {
        let mut answers = Vec::new();
        for number in 0..80 {
            sender = sender.ready().await.unwrap();
            let request = Request::get(format!("http://a.example/{number}")).body(()).unwrap();
            answers.push(sender.send_request(request, true).unwrap().0);
        }
        for answer in answers {
            assert_eq!(answer.await.unwrap().status(), 200);
        }
    });
    assert_eq!(pair.origin.requests().len(), 80);
    pair.router.wait_for_metric("banyan_requests_total", &[], 80.0);
}

#[test]
fn a_large_answer_arrives_whole_and_in_order() {
    let body: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let sent = body.clone();
    let origin = Origin::start(move |exchange| {
        while exchange.request().is_some() {
            exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", sent.len()));
            exchange.send(&sent);
        }
    });
    let router = Router::to(origin.address);
    let mut client = Frames::connect(router.listen);
    client.open_window(0, 2_000_000);
    client.get(1, "/");
    client.open_window(1, 2_000_000);
    assert!(client.answer(1).body == body);
}

#[test]
fn u1_a_cut_answer_resets_its_stream_and_no_other() {
    for (cut, body) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"[..], "hello"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "hello"),
    ] {
        let origin = Origin::start(move |exchange| {
            while let Some(request) = exchange.request() {
                if request.target() == "/cut" {
                    exchange.send(cut);
                    return;
                }
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        });
        let mut pair = Pair::with(origin);
        pair.client.get(1, "/cut");
        let answer = pair.client.answer(1);
        assert_eq!((answer.status, &*answer.text(), answer.reset), (200, body, Some(INTERNAL_ERROR)));
        pair.client.assert_serves(3);
        pair.router.wait_for_metric("banyan_faults_total", &["fault=\"response_incomplete\""], 1.0);
    }
}

#[test]
fn f14_a_client_that_takes_its_request_back_leaves_it_incomplete() {
    let origin = Origin::start(|exchange| while exchange.request().is_some() {});
    let mut pair = Pair::with(origin);
    pair.client.head(1, &request("POST", "/"), 0);
    pair.client.send(DATA, 0, 1, b"hello");
    pair.origin.wait_for_bytes(b"hello");
    pair.client.reset(1, CANCEL);
    pair.origin.wait_for_ends(1);
    assert!(pair.origin.requests().is_empty());
    pair.router.wait_for_metric("banyan_faults_total", &["fault=\"client_gone\""], 1.0);
    assert_eq!(pair.router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}

#[test]
fn u10_a_client_that_takes_its_answer_back_is_no_fault_of_the_upstream() {
    let origin = Origin::start(|exchange| {
        while exchange.request().is_some() {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
            exchange.drain();
        }
    });
    let mut pair = Pair::with(origin);
    pair.client.get(1, "/");
    pair.client.until("data", |frame| frame.kind == DATA);
    pair.client.reset(1, CANCEL);
    pair.origin.wait_for_ends(1);
    pair.router.wait_for_metric("banyan_faults_total", &["fault=\"client_gone\""], 1.0);
    assert_eq!(pair.router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}

#[test]
fn u9_an_answer_before_the_body_is_delivered_and_the_rest_is_not_wanted() {
    let router = Setup::route(Origin::ok().address, "", "body_bytes_max: 4").start();
    let mut client = Frames::connect(router.listen);
    client.head(1, &request("POST", "/"), 0);
    client.send(DATA, 0, 1, b"hello");
    let answer = client.answer(1);
    assert_eq!((answer.status, answer.reset), (413, None));
    let end = client.until("the reset", |frame| frame.stream == 1);
    assert_eq!(end.code(), NO_ERROR);
    client.assert_serves(3);
}

/// Posts a body with curl and returns the status it saw, with its exit code.
fn curl_posts(router: &Router, host: &str, body_bytes: usize) -> (String, Option<i32>) {
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), vec![b'x'; body_bytes]).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["--http2-prior-knowledge", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
    curl.args(["--max-time", "10", "--header", &format!("host: {host}")]);
    curl.args(["--data-binary", &format!("@{}", body.path().display()), &format!("http://{}/", router.listen)]);
    let output = curl.output().expect("curl; run `make tools`");
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn f17_an_answer_of_our_own_is_not_lost_behind_the_reset_of_its_request() {
    let refusing = Router::to(Origin::refusing());
    let limited = Setup::route(Origin::ok().address, "", "body_bytes_max: 4").start();
    for (router, host, expected) in
        [(&refusing, "a.example", "502"), (&limited, "a.example", "413"), (&limited, "a@example", "400")]
    {
        for body_bytes in [10_000, 60_000, 200_000, 2_000_000] {
            for _ in 0..5 {
                let seen = curl_posts(router, host, body_bytes);
                assert_eq!(seen, (expected.to_owned(), Some(0)), "{body_bytes} bytes");
            }
        }
    }
}

#[test]
fn f17_what_is_left_of_a_body_is_taken_before_the_reset_and_no_more_than_the_limit() {
    let setup = || Setup::route(Origin::ok().address, "", "body_bytes_max: 4");
    let router = setup().limit("discard_timeout_ms", 3_600_000).start();
    let mut client = Frames::connect(router.listen);
    client.head(1, &request("POST", "/"), 0);
    client.send(DATA, 0, 1, b"hello");
    assert_eq!(client.answer(1).status, 413);
    // It ends in order: nothing is reset, and the next frame is another stream's.
    client.send(DATA, END_STREAM, 1, &[0; 16_000]);
    client.head(3, &request("GET", "/"), END_STREAM);
    let next = client.until("the next", |frame| frame.stream != 0 && frame.kind != WINDOW_UPDATE);
    assert_eq!((next.stream, next.status()), (3, 200));

    let router = setup().limit("discard_bytes_max", 30_000).limit("discard_timeout_ms", 300).start();
    let mut client = Frames::connect(router.listen);
    client.head(1, &request("POST", "/"), 0);
    (0..4).for_each(|_| _ = client.send(DATA, 0, 1, &[0; 16_000]));
    assert_eq!(client.answer(1).status, 413);
    let opened = std::cell::Cell::new(0);
    let end = client.until("the reset", |frame| {
        if frame.kind == WINDOW_UPDATE && frame.stream == 1 {
            opened.set(opened.get() + u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
        }
        frame.kind == RST_STREAM
    });
    assert_eq!((end.stream, end.code()), (1, NO_ERROR));
    assert!(opened.get() <= 48_000, "the window was opened by {opened:?} bytes");
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"discard\""], 1.0);
    client.assert_serves(3);
}

#[test]
fn p12_a_body_that_is_held_back_is_asked_for() {
    let pair = Pair::start();
    let post = Request::post("http://a.example/").header("expect", "100-continue").body(()).unwrap();
    let answer = client::exchange(&pair.router, post, &[b"hello"], None);
    assert_eq!(answer.interim.iter().map(|head| head.status().as_u16()).collect::<Vec<_>>(), [100]);
    assert_eq!((answer.head.status.as_u16(), pair.origin.request().text()), (200, "hello".to_owned()));
}

#[test]
fn what_the_upstream_does_not_take_the_client_cannot_send() {
    let origin = Origin::start(|exchange| {
        exchange.head();
        std::thread::park();
    });
    let mut pair = Pair::with(origin);
    pair.client.head(1, &request("POST", "/"), 0);
    // A window of 64 KiB, and what sockets hold: far below what is offered.
    let (mut sent, mut window) = (0_usize, 65_535_usize);
    let piece = [0; 16_000];
    while sent < 64_000_000 {
        while window < piece.len() {
            let Some(more) = pair.client.read_soon() else { break };
            if more.kind == crate::support::frames::WINDOW_UPDATE && more.stream == 1 {
                window += u32::from_be_bytes(more.payload[..4].try_into().unwrap()) as usize;
            }
        }
        if window < piece.len() {
            break;
        }
        pair.client.send(DATA, 0, 1, &piece);
        (sent, window) = (sent + piece.len(), window - piece.len());
    }
    assert!(sent < 32_000_000, "{sent} bytes were taken that nobody reads");
}

#[test]
fn p11_interim_answers_arrive_in_order() {
    let origin = Origin::answering(
        b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x-gone\r\nx-gone: 1\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let answer = client::get(&Router::to(origin.address), "/");
    let statuses: Vec<u16> = answer.interim.iter().map(|head| head.status().as_u16()).collect();
    assert_eq!((statuses, answer.head.status.as_u16()), (vec![103, 102], 200));
    let hints = answer.interim[0].headers();
    assert_eq!((&hints["link"], hints.len()), (&HeaderValue::from_static("</a.css>; rel=preload"), 1));
}
