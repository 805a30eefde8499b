//! TLS to upstreams: whom the router believes, which name it asks for, what it shows, and which HTTP comes of it.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::origin::Http2Origin;
use crate::support::Router;
use crate::support::authority::{Authority, Issued};
use crate::support::router::{Setup, member};

/// An acceptor that shows a certificate, asks for one of the `clients`' authority, and speaks HTTP/2.
fn acceptor(issued: &Issued, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let roots = Arc::new(authority.roots());
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap(),
            )
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(vec![issued.der()], issued.key_der()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn router(origin: &Http2Origin, settings: &str) -> Router {
    let routes = format!(
        "upstreams:\n  one: {{endpoints: [\"https://localhost:{}\"], {settings}}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one}}\n",
        origin.address.port()
    );
    Setup::routes(routes).workers(1).start()
}

#[test]
fn http2_is_agreed_on_and_the_connection_shared() {
    let authority = Authority::new("tests");
    let origin = Http2Origin::start(Some(acceptor(&authority.issue_for(&["localhost"]), None)));
    let router = router(&origin, &format!("tls: {{ca: {:?}}}", authority.file()));
    for _ in 0..5 {
        assert_eq!(router.get("/echo").status(), 200);
    }
    let received = origin.requests();
    assert_eq!(received[0].head.uri, "https://a.example/echo");
    assert_eq!((received.len(), origin.connections()), (5, 1));
}

#[test]
fn a_certificate_of_a_stranger_or_for_another_name_is_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (issuer, name) in [(&theirs, "localhost"), (&ours, "b.example")] {
        let origin = Http2Origin::start(Some(acceptor(&issuer.issue_for(&[name]), None)));
        let mut router = router(&origin, &format!("tls: {{ca: {:?}}}", ours.file()));
        let answer = router.get("/echo");
        assert_eq!(answer.status(), 502, "{answer:?}");
        // The access log is on, and only this line says why.
        router.wait_for_log("the reason", |line| {
            line.contains("TLS with an upstream failed")
                && member(line, "level").is_some_and(|level| level == "WARN")
                && member(line, "upstream").is_some_and(|upstream| upstream == "one")
                && member(line, "endpoint")
                    .is_some_and(|endpoint| endpoint.ends_with(&origin.address.port().to_string()))
                && member(line, "error").is_some_and(|error| error.contains("certificate"))
        });
        assert!(answer.field("proxy-status").contains("error=tls_certificate_error"), "{answer:?}");
        assert!(origin.requests().is_empty());
    }
}

#[test]
fn another_name_and_no_verification_are_what_the_files_say() {
    let authority = Authority::new("tests");
    let origin = Http2Origin::start(Some(acceptor(&authority.issue_for(&["b.example"]), None)));
    let named = router(&origin, &format!("tls: {{ca: {:?}, server_name: b.example}}", authority.file()));
    assert_eq!(named.get("/echo").status(), 200);
    let mut careless = router(&origin, "tls: {verify: false}");
    assert_eq!(careless.get("/echo").status(), 200);
    careless.wait_for_log("nothing is verified", |line| line.contains("tls-insecure"));
}

#[test]
fn a_client_certificate_is_shown() {
    let authority = Authority::new("tests");
    let origin = Http2Origin::start(Some(acceptor(&authority.issue_for(&["localhost"]), Some(&authority))));
    let ca = authority.file();
    let without = router(&origin, &format!("tls: {{ca: {ca:?}}}")).get("/echo");
    assert_eq!(without.status(), 502, "{without:?}");
    authority.install("client", &authority.issue_for(&["client"]));
    let (certificate, key) = (authority.path("client.crt"), authority.path("client.key"));
    let with = router(&origin, &format!("tls: {{ca: {ca:?}, certificate: {certificate:?}, key: {key:?}}}"));
    assert_eq!(with.get("/echo").status(), 200);
}

#[test]
fn where_no_protocol_is_common_the_handshake_fails() {
    let authority = Authority::new("tests");
    let origin = Http2Origin::start(Some(acceptor(&authority.issue_for(&["localhost"]), None)));
    let answer = router(&origin, &format!("protocol: http1, tls: {{ca: {:?}}}", authority.file())).get("/echo");
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert!(answer.field("proxy-status").contains("error=tls_protocol_error"), "{answer:?}");
}

/// An upstream that is this very program over TLS: HTTP/1.1 or HTTP/2 as asked, with keep-alive.
#[test]
fn the_router_is_an_upstream_of_its_own() {
    let (authority, behind) = (Authority::new("tests"), crate::support::Origin::ok());
    let [certificate, key] = authority.server(&["localhost"]);
    let back = Setup::upstream(behind.address, "")
        .arguments(&["--listen-tls", "127.0.0.1:0", &certificate, &key, "--via", "back"])
        .start();
    for protocol in ["auto", "http1", "https"] {
        let routes = format!(
            "upstreams:\n  one: {{endpoints: [\"https://localhost:{}\"], protocol: {protocol}, tls: {{ca: {:?}}}}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one}}\n",
            back.listen_tls().port(),
            authority.file()
        );
        let router = Setup::routes(routes).workers(1).start();
        let mut wire = router.connect();
        for _ in 0..3 {
            wire.send("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello");
            assert_eq!(wire.answer().text(), "ok", "{protocol}");
        }
        assert_eq!(router.metric("banyan_upstream_connections_opened_total", &[]), 1.0, "{protocol}");
    }
    let vias: Vec<_> = behind.requests().iter().map(|request| request.field("via")).collect();
    assert!(vias[0].contains("2") && vias[0].contains("back") && !vias[3].contains("2 "), "{vias:?}");
}
