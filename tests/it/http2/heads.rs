//! Rules H8, H9 and P1 to P17 for HTTP/2: heads of requests and answers as they are translated.

use super::{Pair, get};
use crate::support::frames::{END_STREAM, request};
use crate::support::router::Setup;
use crate::support::{Frames, Origin, Router};

#[test]
fn h9_a_request_arrives_as_http_1_1() {
    let mut pair = Pair::start();
    let received = pair.forwards(
        &[&request("GET", "/a%2Fb//c?d=%20"), &[("x-stays", "1"), ("cookie", "a=1"), ("cookie", "b=2")][..]].concat(),
    );
    assert_eq!(received.line, "GET /a%2Fb//c?d=%20 HTTP/1.1");
    let field = |name| received.field(name);
    assert_eq!((field("host"), field("x-stays")), ("a.example".into(), "1".into()));
    assert_eq!(field("cookie"), "a=1; b=2");
    assert_eq!((field("via"), field("x-forwarded-proto")), ("2.0 banyan".into(), "http".into()));
    assert_eq!((field("x-forwarded-host"), field("x-forwarded-for")), ("a.example".into(), "127.0.0.1".into()));
    assert!(!received.has("transfer-encoding") && !received.has("content-length"), "{received:?}");
}

#[test]
fn h8_one_authority() {
    let mut pair = Pair::start();
    assert_eq!(pair.forwards(&get(&[("host", "A.example:80")])).field("host"), "a.example");
    pair.refuses(400, &get(&[("host", "b.example")]));
    pair.refuses(400, &get(&[("host", "a.example:81")]));
    let without = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    pair.refuses(400, &without);
    assert_eq!(pair.forwards(&[&without[..], &[("host", "c.example")]].concat()).field("host"), "c.example");
    let with = |authority| [(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", "/")];
    pair.refuses(400, &with("user@a.example"));
    pair.refuses(400, &with("a,example"));
    pair.refuses(400, &[(":method", "GET"), (":scheme", "ftp"), (":authority", "a.example"), (":path", "/")]);
}

#[test]
fn h8_one_path() {
    let mut pair = Pair::start();
    assert_eq!(pair.forwards(&request("OPTIONS", "*")).line, "OPTIONS * HTTP/1.1");
    pair.refuses(400, &request("GET", "*"));
    for path in ["", "a", "a?b"] {
        pair.resets(&request("GET", path));
    }
    pair.resets(&[&request("GET", "/"), &[(":path", "/b")][..]].concat());
    pair.resets(&[("x-first", "1"), (":method", "GET"), (":scheme", "http"), (":path", "/")]);
    pair.resets(&[(":scheme", "http"), (":authority", "a.example"), (":path", "/")]);
}

#[test]
fn h8_no_connection_fields_and_no_upper_case() {
    let mut pair = Pair::start();
    for field in [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "trailers, deflate"),
        (":status", "200"),
    ] {
        pair.resets(&get(&[field]));
    }
    assert_eq!(pair.forwards(&get(&[("te", "trailers")])).field("te"), "trailers");
    // What the crate calls an error of the whole connection ends that connection only.
    for field in [(":unknown", "1"), ("X-Upper", "1"), ("x-value", "a\r\nb: c"), ("x-value", "a\0b"), ("a b", "1")] {
        let mut client = Frames::connect(pair.router.listen);
        client.head(1, &get(&[field]), END_STREAM);
        client.assert_closed_or_reset(1);
    }
    assert_eq!(pair.origin.requests().len(), 1);
}

#[test]
fn h4_connect_and_trace_are_refused() {
    let mut pair = Pair::start();
    pair.refuses(405, &[(":method", "CONNECT"), (":authority", "a.example:443")]);
    pair.refuses(405, &request("TRACE", "/"));
}

#[test]
fn p3_to_p10_hold_as_in_http_1_1() {
    let mut pair = Pair::start();
    let received = pair.forwards(&get(&[
        ("via", "2.0 edge"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=192.0.2.1"),
        ("banyan-decision", "x"),
        ("under_score", "1"),
    ]));
    assert_eq!(received.field("via"), "2.0 edge | 2.0 banyan");
    assert_eq!(received.field("x-forwarded-for"), "127.0.0.1");
    assert_eq!(received.field("x-forwarded-proto"), "http");
    assert_eq!(received.field("forwarded"), "for=127.0.0.1;proto=http");
    assert!(!received.has("banyan-decision") && !received.has("under_score"), "{received:?}");
    pair.refuses(400, &get(&[("content_length", "1")]));
    pair.refuses(508, &get(&[("via", "2.0 banyan"), ("via", "1.1 banyan")]));
    pair.refuses(204, &[&request("OPTIONS", "/"), &[("max-forwards", "0")][..]].concat());
}

#[test]
fn p1_p2_answers_come_without_connection_fields() {
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\nconnection: x-gone, keep-alive\r\nx-gone: 1\r\nx-stays: 2\r\nkeep-alive: timeout=5\r\nproxy-connection: x\r\nupgrade: h2c\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    let answer = super::client::get(&Router::to(origin.address), "/");
    let mut names: Vec<&str> = answer.head.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["date", "set-cookie", "x-stays"]);
    let cookies: Vec<_> = answer.head.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(answer.body, "ok");
}

#[test]
fn answers_of_our_own_have_a_length_and_a_date() {
    let answer = super::client::get(&Setup::upstream(Origin::refusing(), "").start(), "/");
    assert_eq!(answer.head.status, 502);
    let length = answer.head.headers["content-length"].to_str().unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), answer.body.len());
    assert!(answer.head.headers.contains_key("date") && answer.head.headers.contains_key("proxy-status"));
    assert!(!answer.head.headers.contains_key("connection"));
}

#[test]
fn p15_no_body_where_there_is_none() {
    let origin = Origin::start(|exchange| {
        while let Some(request) = exchange.request() {
            let status = request.target().trim_start_matches('/');
            exchange.send(format!(
                "HTTP/1.1 {status} x\r\n{}\r\n",
                match status {
                    "204" => "",
                    _ => "content-length: 5\r\n",
                }
            ));
        }
    });
    let mut pair = Pair::with(origin);
    for (method, path, status) in [("HEAD", "/200", 200), ("GET", "/204", 204), ("GET", "/304", 304)] {
        let stream = pair.next_stream();
        pair.client.head(stream, &request(method, path), END_STREAM);
        let answer = pair.client.answer(stream);
        assert_eq!((answer.status, answer.body.len(), answer.reset), (status, 0, None));
    }
}

#[test]
fn p15_our_own_answers_to_head_and_options_have_no_body() {
    let mut pair = Pair::with_refusing_origin();
    let stream = pair.next_stream();
    pair.client.head(stream, &request("HEAD", "/"), END_STREAM);
    let answer = pair.client.answer(stream);
    assert_eq!((answer.status, answer.body.len(), answer.reset), (502, 0, None));
    pair.refuses(204, &[&request("OPTIONS", "/"), &[("max-forwards", "0")][..]].concat());
    let options = http::Request::options("http://a.example/").header("max-forwards", "0").body(()).unwrap();
    let answer = super::client::exchange(&pair.router, options, &[], None);
    assert!(!answer.head.headers.contains_key("content-length"), "{:?}", answer.head);
    assert_eq!(pair.router.metric("banyan_faults_total", &["fault=\"client_gone\""]), 0.0);
}
