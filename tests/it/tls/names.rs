//! Certificates by name: SNI, wildcards, several kinds of keys, directories, and 421.

use rustls::crypto::aws_lc_rs;

use super::{plain_set, router};
use crate::support::Origin;
use crate::support::authority::{Authority, Order};
use crate::support::secure::Client;

#[test]
fn the_name_chooses_the_certificate() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let first = authority.issue_for(&["a.example"]);
    let second = authority.issue_for(&["b.example", "*.w.example"]);
    let settings = [authority.install("first", &first), authority.install("second", &second)].concat();
    let router = router(&origin, &settings);
    let shown = |name: &str| Client::new(&authority).careless().connect(router.listen_tls(), name).shown();
    assert_eq!(shown("a.example"), first.der());
    assert_eq!(shown("A.Example"), first.der());
    assert_eq!(shown("b.example"), second.der());
    assert_eq!(shown("x.w.example"), second.der());
    // A star stands for one label, and for one only.
    for unknown in ["x.y.w.example", "w.example", "c.example"] {
        assert_eq!(shown(unknown), first.der(), "{unknown}");
    }
    let nameless = Client::new(&authority).careless().nameless();
    assert_eq!(nameless.connect(router.listen_tls(), "b.example").shown(), first.der());
}

#[test]
fn an_unknown_name_is_refused_where_that_is_set() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let settings = [&authority.server(&["a.example"])[..], &["--tls-unknown-sni=refuse".to_owned()]].concat();
    let router = router(&origin, &settings);
    let client = Client::new(&authority);
    assert_eq!(client.connect(router.listen_tls(), "a.example").get("a.example").status(), 200);
    let refused = client.try_connect(router.listen_tls(), "b.example").err().expect("no handshake");
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
    router.wait_for_metric("banyan_tls_handshake_faults_total", &["fault=\"unknown_name\""], 1.0);
}

#[test]
fn a_client_gets_the_kind_of_key_that_it_can_read() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let names = &["a.example"];
    let rsa = authority.issue(&Order { names, rsa: true, ..Order::default() });
    let ecdsa = authority.issue_for(names);
    let settings = [authority.install("rsa", &rsa), authority.install("ecdsa", &ecdsa)].concat();
    let router = router(&origin, &settings);
    let only_rsa = rustls::crypto::CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    };
    let old = Client::with(&authority, only_rsa, &[&rustls::version::TLS12], None);
    // The small fast key stands first, whatever the order of the settings.
    assert_eq!(Client::new(&authority).connect(router.listen_tls(), "a.example").shown(), ecdsa.der());
    assert_eq!(old.connect(router.listen_tls(), "a.example").shown(), rsa.der());
}

#[test]
fn a_directory_of_certificates_is_read_as_the_tools_write_it() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let certificates = [("plain", "a.example"), ("kubernetes", "b.example"), ("certbot", "c.example")];
    let issued = certificates.map(|(_, name)| authority.issue_for(&[name]));
    authority.install("set/plain", &issued[0]);
    authority.write("set/kubernetes/tls.crt", &issued[1].certificate);
    authority.write("set/kubernetes/tls.key", &issued[1].key);
    authority.write("set/certbot/fullchain.pem", &issued[2].certificate);
    authority.write("set/certbot/privkey.pem", &issued[2].key);
    authority.write("set/..data/tls.crt", "what Kubernetes keeps for itself");
    authority.write("set/README", "not a certificate");
    let router = router(&origin, &[format!("--tls-directory={}", authority.path("set").display())]);
    for ((_, name), issued) in certificates.iter().zip(&issued) {
        let mut wire = Client::new(&authority).connect(router.listen_tls(), name);
        assert_eq!(wire.shown(), issued.der());
        assert_eq!(wire.get(name).status(), 200);
    }
    assert_eq!(router.metrics().matches("banyan_tls_certificate_expiry_timestamp_seconds{").count(), 3);
}

/// H10: what the certificates of a connection are not for is answered with 421, and the connection stays usable.
#[test]
fn h10_a_host_that_is_not_served_on_the_connection_is_misdirected() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let first = authority.issue_for(&["a.example", "*.w.example", "127.0.0.1"]);
    let second = authority.issue_for(&["b.example"]);
    let settings = [authority.install("first", &first), authority.install("second", &second)].concat();
    let router = router(&origin, &settings);
    let mut wire = Client::new(&authority).connect(router.listen_tls(), "a.example");
    for served in ["a.example", "A.EXAMPLE:443", "a.example.", "x.w.example", "127.0.0.1:8443"] {
        assert_eq!(wire.get(served).status(), 200, "{served}");
    }
    for elsewhere in ["b.example", "c.example", "x.y.w.example", "127.0.0.2"] {
        let answer = wire.get(elsewhere);
        assert_eq!(answer.status(), 421, "{elsewhere}");
        assert!(answer.text().contains("not served on this connection"));
    }
    assert_eq!(wire.get("a.example").status(), 200);
    assert_eq!(router.metric("banyan_faults_total", &["fault=\"misdirected\"", "side=\"client\""]), 4.0);
    // A client that named somebody unknown, and took the certificate all the same, gets what it named.
    let mut wire = Client::new(&authority).careless().connect(router.listen_tls(), "c.example");
    assert_eq!(wire.get("c.example").status(), 200);
    assert_eq!(wire.get("b.example").status(), 421);
    // One that named nobody has said nothing that a host could contradict.
    let mut wire = Client::new(&authority).careless().nameless().connect(router.listen_tls(), "a.example");
    assert_eq!(wire.get("c.example").status(), 200);
}

#[test]
fn forwarded_fields_say_that_the_client_came_over_tls() {
    let (authority, origin, router) = plain_set();
    Client::new(&authority).connect(router.listen_tls(), "a.example").get("a.example");
    assert_eq!(origin.request().field("x-forwarded-proto"), "https");
}
