//! Checks of an upstream that is reached over TLS: over TLS too, with its trust and its name.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::PATIENCE;
use crate::support::router::Setup;

/// A TLS server for `localhost` that answers 204 and tells what it was asked; with its certificate in PEM.
fn origin() -> (SocketAddr, Receiver<String>, String) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, seen) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            if !head.is_empty() {
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                // The test may be over.
                let _ = asked.send(String::from_utf8_lossy(&head).into_owned());
            }
        }
    });
    (address, seen, own.cert.pem())
}

fn routes(address: SocketAddr, tls: &str) -> String {
    format!(
        "upstreams:\n  one: {{endpoints: [\"{address}\"], tls: {{{tls}}}, health: {{path: /healthz, interval_ms: 100, timeout_ms: 10000, expect_status: 204}}}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one}}\n"
    )
}

#[test]
fn a_check_trusts_and_names_as_requests_do() {
    let (address, seen, pem) = origin();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let ca = ca.display();
    let mut router = Setup::routes(routes(address, &format!("ca: \"{ca}\", server_name: localhost"))).start();
    let asked = seen.recv_timeout(PATIENCE).unwrap();
    assert!(asked.starts_with("GET /healthz HTTP/1.1\r\n"), "{asked}");
    router.wait_for_metric("banyan_upstream_endpoint_checks_total", &["result=\"passed\""], 3.0);
    router.edit_routes(&routes(address, &format!("ca: \"{ca}\", server_name: other.example")));
    let line = router.wait_for_log("it is out", |line| line.contains("endpoint unhealthy"));
    assert!(line.contains("no TLS"), "{line}");
    assert_eq!(router.metric("banyan_upstream_all_unhealthy", &[]), 1.0);
}
