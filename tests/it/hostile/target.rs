//! Rules H1 to H7: which host and path a request is for.

use super::{Pair, get};
use crate::support::router::Setup;
use crate::support::{Origin, Router};

#[test]
fn h1_without_host_with_two_or_malformed() {
    let pair = Pair::start();
    pair.refuses(400, "GET / HTTP/1.1\r\n\r\n");
    pair.refuses(400, "GET / HTTP/1.1\r\nhost: a.example\r\nHost: a.example\r\n\r\n");
    let malformed =
        ["", "a b", "a/b", "a,b", "a:b", "a:65536", ":80", "..", "[::1", "a\\b", "a?b", "http://a", "a\u{e9}"];
    for host in malformed {
        pair.refuses(400, format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    }
    pair.blames_the_client(malformed.len() + 2);
}

#[test]
fn h2_the_absolute_form_decides() {
    let pair = Pair::start();
    let received = pair.forwards("GET http://A.example:80/x?y HTTP/1.1\r\nhost: a.example\r\n\r\n");
    assert_eq!((received.target(), received.field("host")), ("/x?y", "A.example:80".into()));
    pair.refuses_after_forwarding("GET http://a.example/ HTTP/1.1\r\nhost: b.example\r\n\r\n");
    let received = pair.forwards("GET http://a.example HTTP/1.1\r\nhost: a.example\r\n\r\n");
    assert_eq!(received.target(), "/");
}

#[test]
fn h2_routing_goes_by_the_target_too() {
    let (here, there) = (Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere"), Origin::ok());
    let routes = format!(
        "upstreams:\n  here: {{endpoints: [\"http://{}\"]}}\n  there: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: here, match: {{host: here.example, path: \"/{{*rest}}\"}}, upstream: here}}\n  - {{name: there, match: {{path: \"/{{*rest}}\"}}, upstream: there}}\n",
        here.address, there.address
    );
    let router = Setup::routes(routes).start();
    for bytes in [
        "GET http://HERE.example:8080/x HTTP/1.1\r\nhost: here.example:8080\r\n\r\n",
        "GET http://here.example./x HTTP/1.0\r\n\r\n",
        "GET /x HTTP/1.1\r\nhost: Here.Example.\r\n\r\n",
    ] {
        assert_eq!(router.exchange(bytes).text(), "here", "{bytes:?}");
    }
    assert_eq!(router.get("/x").text(), "ok");
}

#[test]
fn h3_userinfo() {
    let pair = Pair::start();
    pair.refuses(400, "GET http://u:p@a.example/ HTTP/1.1\r\nhost: a.example\r\n\r\n");
    pair.refuses(400, "GET / HTTP/1.1\r\nhost: u@a.example\r\n\r\n");
}

#[test]
fn h4_authority_form_asterisk_and_connect() {
    let pair = Pair::start();
    pair.refuses(400, "GET a.example:80 HTTP/1.1\r\nhost: a.example:80\r\n\r\n");
    pair.refuses(400, "GET * HTTP/1.1\r\nhost: a.example\r\n\r\n");
    pair.refuses(405, "CONNECT a.example:80 HTTP/1.1\r\nhost: a.example:80\r\n\r\n");
    pair.refuses(405, "TRACE / HTTP/1.1\r\nhost: a.example\r\n\r\n");
}

#[test]
fn h5_path_and_query_pass_byte_for_byte() {
    let pair = Pair::start();
    for target in [
        "/%2F%2f",
        "//a//b/",
        "/a/./b",
        "/a/%2e/b",
        "/a?",
        "/?a=%zz&b=/../",
        "/%C3%A9%c3%a9",
        "/a;b=c/d,e",
        "/a+b%20c",
        "/%00",
        "/a%0d%0ab",
        "/~a'(b)!*",
    ] {
        let answer = pair.router.get(target);
        if answer.status() == 200 {
            assert_eq!(pair.origin.requests().last().unwrap().target(), target);
        } else {
            assert_eq!(answer.status(), 400, "{target}");
        }
    }
    assert!(pair.origin.requests().len() >= 8, "most of these are harmless");
}

fn guarded(admin: &Origin, rest: &Origin) -> Router {
    Setup::routes(format!(
        "upstreams:\n  admin: {{endpoints: [\"http://{}\"]}}\n  rest: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: admin, match: {{path: \"/admin/{{*rest}}\"}}, upstream: admin}}\n  - {{name: rest, match: {{path: \"/{{*rest}}\"}}, upstream: rest}}\n",
        admin.address, rest.address
    ))
    .start()
}

#[test]
fn h6_no_spelling_reaches_another_route() {
    let (admin, rest) = (Origin::ok(), Origin::ok());
    let router = guarded(&admin, &rest);
    let two_readings = [
        "/x/../admin/y",
        "/x/%2e%2e/admin/y",
        "/x/.%2E/admin/y",
        "/%61dmin/y",
        "/%41dmin/../admin/y",
        "/admin/../y",
        "/admin/%2e%2e/y",
        "/./admin/y",
        "/admin%2fy",
        "//admin/y",
        "/admin;x/y",
        "/admin\\y",
        "/x%5c..%5cadmin/y",
        "/x/..;/admin/y",
    ];
    for target in two_readings {
        assert_eq!(router.get(target).status(), 400, "{target}");
    }
    assert_eq!(admin.connections() + rest.connections(), 0);
    for (target, reached) in [("/admin/y", &admin), ("/admin/y/./z", &admin), ("/x/../y", &rest), ("/ADMIN/y", &rest)] {
        assert_eq!(router.get(target).status(), 200, "{target}");
        assert_eq!(reached.requests().last().unwrap().target(), target);
    }
}

#[test]
fn h7_odd_bytes_never_reach_a_head_decoded() {
    let pair = Pair::start();
    for target in ["/a%0d%0ax-injected:%201", "/a%00b", "/a\\b", "/a%5cb", "/%", "/%4", "/%zz"] {
        let answer = pair.router.get(target);
        assert!(matches!(answer.status(), 200 | 400), "{target}");
    }
    for request in pair.origin.requests() {
        assert!(!request.has("x-injected"), "{request:?}");
    }
    assert_eq!(pair.router.exchange(b"GET /\xff\xfe HTTP/1.1\r\nhost: a.example\r\n\r\n").status(), 400);
}

#[test]
fn h1_http_1_0_without_host_gets_one() {
    let pair = Pair::start();
    let received = pair.forwards("GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(received.field("host"), pair.origin.address.to_string());
    assert_eq!(received.line, "GET /x HTTP/1.1");
    let received = pair.forwards(get(""));
    assert_eq!(received.field("host"), "a.example");
}
