//! Requests: what is refused, and what reaches the upstream.

use http::{HeaderValue, Method};

use super::*;
use crate::head::answer;
use crate::head::client_address;
use crate::head::names;
use crate::head::{BodyKind, TraceMode, Upgrade};

#[test]
fn f1_content_length_is_digits_within_63_bits() {
    for value in ["+5", "-5", "0x5", "5.0", "1_0", "5 0", "", "5,5", "18446744073709551621", "9223372036854775808"] {
        assert_eq!(fault(&get(&[("content-length", value)])), Fault::RequestMalformed, "{value:?}");
    }
    assert_eq!(facts(&get(&[("content-length", "9223372036854775807")])).body, BodyKind::Sized(i64::MAX as u64));
    assert_eq!(facts(&get(&[("content-length", "007")])).body, BodyKind::Sized(7));
}

#[test]
fn f2_two_content_lengths_are_refused() {
    for (first, second) in [("5", "6"), ("5", "5")] {
        assert_eq!(fault(&get(&[("content-length", first), ("content-length", second)])), Fault::RequestMalformed);
    }
}

#[test]
fn f3_both_framings_are_refused() {
    let (length, coding) = (("content-length", "5"), ("transfer-encoding", "chunked"));
    assert_eq!(fault(&get(&[length, coding])), Fault::RequestMalformed);
    assert_eq!(fault(&get(&[coding, length])), Fault::RequestMalformed);
}

#[test]
fn f4_transfer_encoding_is_one_chunked() {
    for value in
        ["xchunked", "gzip", "identity", "chunked, chunked", "gzip, chunked", "chunked;q=1", "\"chunked\"", "", ","]
    {
        assert_eq!(fault(&get(&[("transfer-encoding", value)])), Fault::RequestMalformed, "{value:?}");
    }
    let twice = get(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]);
    assert_eq!(fault(&twice), Fault::RequestMalformed);
    let sent = sent(get(&[("transfer-encoding", "CHUNKED")]));
    assert_eq!(lines(&sent.headers, "transfer-encoding"), "chunked");
}

#[test]
fn f5_no_transfer_encoding_in_http_1_0() {
    let parts = head_10("/", &[("host", "a"), ("transfer-encoding", "chunked")]);
    assert_eq!(fault(&parts), Fault::RequestMalformed);
}

#[test]
fn f6_a_request_without_length_has_no_body() {
    assert_eq!(facts(&get(&[])).body, BodyKind::None);
    assert_eq!(facts(&head_10("/", &[("host", "a")])).body, BodyKind::None);
}

#[test]
fn f15_connection_cannot_remove_framing_or_host() {
    let sent = sent(get(&[("connection", "content-length, host, x-a"), ("content-length", "5"), ("x-a", "1")]));
    assert_eq!(lines(&sent.headers, "content-length"), "5");
    assert_eq!(lines(&sent.headers, "host"), "a.example");
    assert!(!sent.headers.contains_key("x-a") && !sent.headers.contains_key("connection"));
    let sent = super::sent(get(&[("connection", "transfer-encoding"), ("transfer-encoding", "chunked")]));
    assert_eq!(lines(&sent.headers, "transfer-encoding"), "chunked");
}

#[test]
fn h1_exactly_one_wellformed_host() {
    assert_eq!(fault(&head("GET", "/", &[])), Fault::RequestMalformed);
    assert_eq!(fault(&get(&[("host", "a.example")])), Fault::RequestMalformed);
    let malformed = [
        "",
        " ",
        "a b",
        "a/b",
        "a,b",
        "a:b",
        "a:65536",
        "a:+80",
        "a:80:80",
        ":80",
        ".",
        "..",
        "a..b",
        ".a",
        "[::1",
        "[::g]",
        "::1",
        "[::1]x",
        "[fe80::1%25eth0]",
        "a\\b",
        "a%2eb",
        "a?b",
        "a#b",
        "http://a",
        "\"a\"",
        "a;b",
        "\u{e9}.example",
    ];
    for value in malformed {
        assert_eq!(fault(&head("GET", "/", &[("host", value)])), Fault::RequestMalformed, "{value:?}");
    }
}

#[test]
fn h1_host_is_read_without_case_port_and_dot() {
    for (written, read) in [
        ("a.example", "a.example"),
        ("A.Example:8080", "a.example"),
        ("a.example.", "a.example"),
        ("a.example.:", "a.example"),
        ("10.0.0.1:80", "10.0.0.1"),
        ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ("my_host", "my_host"),
    ] {
        let parts = head("GET", "/", &[("host", written)]);
        let admitted = judge(&parts).unwrap();
        assert_eq!((&*admitted.host, admitted.authority), (read, written));
        let borrows = matches!(admitted.host, std::borrow::Cow::Borrowed(_));
        assert_eq!(borrows, !written.bytes().any(|byte| byte.is_ascii_uppercase()));
        assert_eq!(lines(&sent(parts).headers, "host"), written);
    }
}

#[test]
fn h1_http_1_0_may_come_without_host() {
    let parts = head_10("/x", &[]);
    assert_eq!(judge(&parts).unwrap().host, "");
    let sent = sent(parts);
    assert_eq!(lines(&sent.headers, "host"), "10.0.0.1:9000");
    assert_eq!(lines(&sent.headers, "via"), "1.0 banyan");
    assert!(!sent.headers.contains_key("x-forwarded-host"));
    assert_eq!(sent.version, Version::HTTP_11);
}

#[test]
fn h2_absolute_form_replaces_host() {
    let parts = head("GET", "http://A.example:80/x?y=1", &[("host", "a.example")]);
    assert_eq!(judge(&parts).unwrap().host, "a.example");
    let sent = sent(parts);
    assert_eq!(sent.uri.to_string(), "/x?y=1");
    assert_eq!(lines(&sent.headers, "host"), "A.example:80");
    assert_eq!(lines(&sent.headers, "x-forwarded-host"), "A.example:80");
}

#[test]
fn h2_a_host_that_differs_from_the_target_is_refused() {
    for host in ["b.example", "a.example:81", "a.example:443"] {
        assert_eq!(fault(&head("GET", "http://a.example/", &[("host", host)])), Fault::RequestMalformed, "{host}");
    }
    assert!(judge(&head("GET", "https://a.example/", &[("host", "a.example:443")])).is_ok());
    assert_eq!(fault(&head("GET", "ftp://a.example/", &[("host", "a.example")])), Fault::RequestMalformed);
}

#[test]
fn h3_userinfo_is_refused() {
    assert_eq!(fault(&head("GET", "http://u:p@a.example/", &[("host", "a.example")])), Fault::RequestMalformed);
    assert_eq!(fault(&head("GET", "/", &[("host", "u@a.example")])), Fault::RequestMalformed);
}

#[test]
fn h4_authority_form_and_asterisk() {
    assert_eq!(fault(&head("GET", "a.example:80", &[("host", "a.example:80")])), Fault::RequestMalformed);
    assert_eq!(fault(&head("CONNECT", "a.example:80", &[("host", "a.example:80")])), Fault::MethodRefused);
    assert_eq!(fault(&head("GET", "*", &[("host", "a")])), Fault::RequestMalformed);
    let sent = sent(head("OPTIONS", "*", &[("host", "a")]));
    assert_eq!(sent.uri.to_string(), "*");
}

#[test]
fn h5_the_target_passes_byte_for_byte() {
    for target in
        ["/%2F//a/%2e%2E/./b?", "/a?x=%zz&y=a b".replace(' ', "%20").as_str(), "/%C3%A9?'{a}", "//x//", "/?a=/../"]
    {
        let absolute = format!("http://a.example{target}");
        assert_eq!(sent(head("GET", target, &[("host", "a.example")])).uri.to_string(), target);
        assert_eq!(sent(head("GET", &absolute, &[("host", "a.example")])).uri.to_string(), target);
    }
}

#[test]
fn p1_fields_named_in_connection_are_removed() {
    let sent = sent(get(&[
        ("connection", "X-A, keep-alive"),
        ("Connection", ",, x-b ,"),
        ("x-a", "1"),
        ("x-b", "2"),
        ("x-c", "3"),
    ]));
    assert_eq!(lines(&sent.headers, "x-c"), "3");
    assert!(["x-a", "x-b", "connection"].iter().all(|name| !sent.headers.contains_key(*name)));
}

#[test]
fn p2_hop_by_hop_fields_go_and_te_is_made_anew() {
    let sent = sent(get(&[
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("te", "deflate, Trailers"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABk"),
        ("connection", "te, upgrade, http2-settings"),
        ("trailer", "x-checksum"),
    ]));
    for name in ["keep-alive", "proxy-connection", "upgrade", "http2-settings"] {
        assert!(!sent.headers.contains_key(name), "{name}");
    }
    assert_eq!(lines(&sent.headers, "te"), "trailers");
    assert_eq!(lines(&sent.headers, "connection"), "te");
    assert_eq!(lines(&sent.headers, "trailer"), "x-checksum");
    assert!(!super::sent(get(&[("te", "deflate")])).headers.contains_key("te"));
}

#[test]
fn p3_via_is_added_after_the_others() {
    assert_eq!(lines(&sent(get(&[("via", "1.1 edge")])).headers, "via"), "1.1 edge | 1.1 banyan");
    let silent = Policy { via: None, ..Policy::default() };
    assert!(!sent_under(&silent, get(&[])).headers.contains_key("via"));
}

#[test]
fn p4_a_loop_is_found_at_the_second_own_name() {
    assert!(judge(&get(&[("via", "1.1 banyan, 1.1 other")])).is_ok());
    assert_eq!(fault(&get(&[("via", "1.1 banyan, 1.1 other (x)"), ("via", "1.0  Banyan (y)")])), Fault::Loop);
    assert!(judge(&get(&[("via", "1.1 banyans, 1.1 banyan.example, banyan 1.1")])).is_ok());
    assert!("two words".parse::<crate::head::Pseudonym>().is_err());
    assert!("".parse::<crate::head::Pseudonym>().is_err());
}

#[test]
fn p5_max_forwards() {
    let options = |hops| head("OPTIONS", "/", &[("host", "a"), ("max-forwards", hops)]);
    assert!(facts(&options("0")).answer_here);
    let sent = sent(options("3"));
    assert_eq!(lines(&sent.headers, "max-forwards"), "2");
    assert_eq!(lines(&super::sent(options("99999999999")).headers, "max-forwards"), "4294967294");
    assert_eq!(lines(&super::sent(get(&[("max-forwards", "3")])).headers, "max-forwards"), "3");
    assert!(!facts(&get(&[("max-forwards", "0")])).answer_here);
    for bad in ["", "-1", "1,2", "x"] {
        assert_eq!(fault(&options(bad)), Fault::RequestMalformed, "{bad:?}");
    }
}

const HANDSHAKE: [(&str, &str); 4] = [
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "WebSocket"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
];

#[test]
fn p6_only_a_wellformed_websocket_handshake_is_an_upgrade() {
    let parts = get(&HANDSHAKE);
    assert_eq!(facts(&parts).upgrade, Upgrade::WebSocket);
    let sent = sent(parts);
    assert_eq!(
        (lines(&sent.headers, "connection"), lines(&sent.headers, "upgrade")),
        ("upgrade".into(), "websocket".into())
    );

    let without = |gone: &str| get(&HANDSHAKE.into_iter().filter(|(name, _)| *name != gone).collect::<Vec<_>>());
    for name in ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version"] {
        assert_eq!(facts(&without(name)).upgrade, Upgrade::None, "{name}");
    }
    for extra in
        [("upgrade", "h2c"), ("sec-websocket-version", "13"), ("content-length", "3"), ("transfer-encoding", "chunked")]
    {
        let parts = get(&[&HANDSHAKE[..], &[extra]].concat());
        assert_eq!(facts(&parts).upgrade, Upgrade::None, "{extra:?}");
        assert!(!super::sent(parts).headers.contains_key("upgrade"));
    }
    let mut post = get(&HANDSHAKE);
    post.method = Method::POST;
    assert_eq!(facts(&post).upgrade, Upgrade::None);
    let mut old = get(&HANDSHAKE);
    old.version = Version::HTTP_10;
    assert_eq!(facts(&old).upgrade, Upgrade::None);
}

#[test]
fn p6_a_route_may_forbid_websockets() {
    let policy = Policy::default();
    let peer = peer(&policy);
    let mut parts = get(&HANDSHAKE);
    let facts = facts(&parts);
    prepare(&mut parts, facts, &ForwardContext { websocket: false, ..context(&policy, &peer) })
        .copy_into(&mut parts.headers);
    assert!(!parts.headers.contains_key("upgrade") && !parts.headers.contains_key("connection"));
}

#[test]
fn p8_connect_and_trace_are_refused() {
    assert_eq!(fault(&head("TRACE", "/", &[("host", "a")])), Fault::MethodRefused);
    let response = answer::fault(Fault::MethodRefused, "1", answer::Afterwards::Close);
    assert_eq!(response.status(), 405);
    assert!(response.headers().contains_key("allow"));
}

const CLAIMS: [(&str, &str); 7] = [
    ("x-forwarded-for", "1.1.1.1"),
    ("x-forwarded-for", "2.2.2.2, 3.3.3.3"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-port", "443"),
    ("forwarded", "for=1.1.1.1"),
    ("forwarded", "for=2.2.2.2"),
];

#[test]
fn p9_forwarding_fields_of_strangers_are_replaced() {
    let sent = sent(get(&CLAIMS));
    assert_eq!(lines(&sent.headers, "x-forwarded-for"), "192.0.2.7");
    assert_eq!(lines(&sent.headers, "x-forwarded-proto"), "http");
    assert_eq!(lines(&sent.headers, "x-forwarded-host"), "a.example");
    assert_eq!(lines(&sent.headers, "x-forwarded-port"), "");
    assert_eq!(lines(&sent.headers, "forwarded"), "for=192.0.2.7;proto=http");
    assert!(!super::sent(get(&[])).headers.contains_key("forwarded"));
}

#[test]
fn p9_forwarding_fields_of_trusted_proxies_are_extended() {
    let policy = Policy { trusted: Box::new(["192.0.2.0/24".parse().unwrap()]), ..Policy::default() };
    let sent = sent_under(&policy, get(&CLAIMS));
    assert_eq!(lines(&sent.headers, "x-forwarded-for"), "1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7");
    assert_eq!(lines(&sent.headers, "x-forwarded-proto"), "https");
    assert_eq!(lines(&sent.headers, "x-forwarded-host"), "evil.example");
    assert_eq!(lines(&sent.headers, "x-forwarded-port"), "443");
    assert_eq!(lines(&sent.headers, "forwarded"), "for=1.1.1.1, for=2.2.2.2, for=192.0.2.7;proto=http");
    let bare = sent_under(&policy, get(&[]));
    assert_eq!(lines(&bare.headers, "x-forwarded-for"), "192.0.2.7");
    assert_eq!(lines(&bare.headers, "x-forwarded-proto"), "http");
    let hidden = sent_under(&policy, get(&[("connection", "x-forwarded-for"), ("x-forwarded-for", "1.1.1.1")]));
    assert_eq!(lines(&hidden.headers, "x-forwarded-for"), "192.0.2.7");
}

#[test]
fn p9_the_client_behind_trusted_proxies() {
    let policy = Policy {
        trusted: Box::new(["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]),
        ..Policy::default()
    };
    let client = |peer: &str, lines: &[&str]| {
        let fields: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        client_address(&fields_of(&fields), peer.parse().unwrap(), &policy).to_string()
    };
    assert_eq!(client("192.0.2.7", &["1.1.1.1"]), "192.0.2.7");
    assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    assert_eq!(client("10.0.0.1", &["9.9.9.9, 192.0.2.9"]), "192.0.2.9");
    assert_eq!(client("10.0.0.1", &["9.9.9.9", "192.0.2.9:4711, 10.0.0.2", "[2001:db8::1]:80"]), "192.0.2.9");
    assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.9, unknown"]), "10.0.0.1");
    assert_eq!(client("10.0.0.1", &["10.0.0.3,10.0.0.2"]), "10.0.0.3");
}

#[test]
fn p9_ipv6_peers_are_written_as_each_field_wants_them() {
    let policy = Policy { forwarded: true, ..Policy::default() };
    let send = |address: &str, secure| {
        let mut parts = get(&[]);
        let facts = facts(&parts);
        prepare(&mut parts, facts, &context(&policy, &Peer::new(address.parse().unwrap(), secure, &policy)))
            .copy_into(&mut parts.headers);
        (lines(&parts.headers, "x-forwarded-for"), lines(&parts.headers, "forwarded"))
    };
    assert_eq!(send("2001:db8::1", true), ("2001:db8::1".into(), "for=\"[2001:db8::1]\";proto=https".into()));
    assert_eq!(send("::ffff:192.0.2.1", false), ("192.0.2.1".into(), "for=192.0.2.1;proto=http".into()));
}

#[test]
fn p10_underscores() {
    assert_eq!(fault(&get(&[("content_length", "5")])), Fault::RequestMalformed);
    assert_eq!(fault(&get(&[("Transfer_Encoding", "chunked")])), Fault::RequestMalformed);
    assert!(!sent(get(&[("x_user", "1")])).headers.contains_key("x_user"));
    let lax = Policy { keep_underscore_fields: true, ..Policy::default() };
    assert!(sent_under(&lax, get(&[("x_user", "1")])).headers.contains_key("x_user"));
}

#[test]
fn p12_expect() {
    let body = ("content-length", "5");
    let parts = get(&[("expect", "100-Continue"), body]);
    assert!(facts(&parts).expect_continue);
    assert_eq!(lines(&sent(parts).headers, "expect"), "100-Continue");
    assert_eq!(fault(&get(&[("expect", "200-ok"), body])), Fault::ExpectationFailed);
    let bodyless = get(&[("expect", "100-continue")]);
    assert!(!facts(&bodyless).expect_continue);
    assert!(!sent(bodyless).headers.contains_key("expect"));
    let old = head_10("/", &[("host", "a"), ("expect", "anything"), body]);
    assert!(!facts(&old).expect_continue);
    assert!(!sent(old).headers.contains_key("expect"));
}

#[test]
fn own_fields_of_clients_are_stripped() {
    let sent = sent(get(&[
        ("Banyan-Decision", "variant=\"live\""),
        ("banyan-mirror", "x"),
        ("Banyan-Anything", "x"),
        ("cloudflare-workers-version-key", "x"),
        ("idempotency-key", "k"),
    ]));
    assert!(sent.headers.keys().all(|name| !names::is_own(name.as_str())));
    assert_eq!(lines(&sent.headers, "idempotency-key"), "k");
}

#[test]
fn a_host_rewrite_keeps_the_asked_host_in_x_forwarded_host() {
    let (policy, host) = (Policy::default(), HeaderValue::from_static("inner.example"));
    let peer = peer(&policy);
    let mut parts = get(&[]);
    let facts = facts(&parts);
    prepare(&mut parts, facts, &ForwardContext { host: Some(&host), ..context(&policy, &peer) })
        .copy_into(&mut parts.headers);
    assert_eq!(lines(&parts.headers, "host"), "inner.example");
    assert_eq!(lines(&parts.headers, "x-forwarded-host"), "a.example");
}

#[test]
fn traceparent_passes_or_is_made() {
    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const MADE: &str = "00-abababababababababababababababab-abababababababab-01";
    let sent = sent(get(&[("traceparent", VALID), ("tracestate", "a=1")]));
    assert_eq!((lines(&sent.headers, "traceparent"), lines(&sent.headers, "tracestate")), (VALID.into(), "a=1".into()));
    let future = VALID.replacen("00", "01", 1) + "-x";
    for valid in [VALID.replacen("00", "01", 1), future] {
        assert_eq!(lines(&super::sent(get(&[("traceparent", &valid)])).headers, "traceparent"), valid);
    }
    let invalid = [
        String::new(),
        VALID.to_uppercase(),
        VALID.replacen("00", "ff", 1),
        VALID.to_owned() + "-x",
        VALID.replace("b7ad6b7169203331", "0000000000000000"),
        VALID.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
        VALID.replace('-', "_"),
    ];
    for value in invalid {
        let sent = super::sent(get(&[("traceparent", &value), ("tracestate", "a=1")]));
        assert_eq!(
            (lines(&sent.headers, "traceparent"), lines(&sent.headers, "tracestate")),
            (MADE.into(), String::new())
        );
    }
    assert_eq!(
        lines(&super::sent(get(&[("traceparent", VALID), ("traceparent", VALID)])).headers, "traceparent"),
        MADE
    );
    let off = Policy { trace: TraceMode::Off, ..Policy::default() };
    assert_eq!(lines(&sent_under(&off, get(&[("traceparent", "x")])).headers, "traceparent"), "x");
    let unsampled = Policy { trace: TraceMode::Unsampled, ..Policy::default() };
    assert!(lines(&sent_under(&unsampled, get(&[])).headers, "traceparent").ends_with("-00"));
}

#[test]
fn l1_limits_of_the_head() {
    let limited = |limits: Limits, parts: &request::Parts| {
        admit(parts, &limits, &Policy::default()).map(|admitted| admitted.facts.body).unwrap_err()
    };
    let parts = get(&[("x-a", "12345678")]);
    assert_eq!(limited(Limits { fields_max: 1, ..Limits::default() }, &parts), Fault::HeadTooLarge);
    assert_eq!(limited(Limits { field_bytes_max: 10, ..Limits::default() }, &parts), Fault::HeadTooLarge);
    assert_eq!(limited(Limits { head_bytes_max: 30, ..Limits::default() }, &parts), Fault::HeadTooLarge);
    let long = head("GET", "/12345678", &[("host", "a")]);
    assert_eq!(limited(Limits { target_bytes_max: 8, ..Limits::default() }, &long), Fault::UriTooLong);
    let off = Limits { fields_max: 0, field_bytes_max: 0, head_bytes_max: 0, target_bytes_max: 0, ..Limits::default() };
    assert!(admit(&parts, &off, &Policy::default()).is_ok());
    let request_line = format!("/{}", "x".repeat(8_000 - 1));
    assert!(judge(&head("GET", &request_line, &[("host", "a")])).is_ok());
}

#[test]
fn an_answer_of_our_own_tells_what_and_where() {
    for kind in [Fault::ConnectRefused, Fault::NoRoute, Fault::LimitReached] {
        let response = answer::fault(kind, "c0ffee", answer::Afterwards::Close);
        assert_eq!(response.status(), kind.status());
        let text = std::str::from_utf8(response.body()).unwrap();
        assert!(text.contains(answer::explain(kind)) && text.contains("c0ffee") && text.ends_with('\n'));
        let status = lines(response.headers(), "proxy-status");
        assert!(status.starts_with(&format!("banyan; error={}; details=\"", kind.proxy_error())), "{status}");
        assert_eq!(lines(response.headers(), "connection"), "close");
    }
    let kept = answer::fault(Fault::NoRoute, "1", answer::Afterwards::KeepOpen);
    assert!(!kept.headers().contains_key("connection"));
    assert_eq!(answer::options(answer::Afterwards::KeepOpen).status(), 204);
}
