//! Client certificates: who must have one, and what flags learn of it.

use std::io::ErrorKind;

use rustls::crypto::aws_lc_rs;

use super::serving;
use crate::support::authority::{Authority, Issued, Order};
use crate::support::router::Setup;
use crate::support::secure::{Client, SecureWire};
use crate::support::{Origin, Router};

/// A split by what a rule says about the client's certificate.
fn split(legacy: &Origin, modern: &Origin, rule: &str) -> Setup {
    let flags = format!(
        "flags:\n  side:\n    state: ENABLED\n    variants: {{left: left, right: right}}\n    defaultVariant: left\n    targeting: {{if: [{rule}, right, left]}}\n    metadata: {{owner: tests}}\n"
    );
    let (left, right) = (legacy.address, modern.address);
    Setup::routes(format!(
        "upstreams:\n  left: {{endpoints: [\"http://{left}\"]}}\n  right: {{endpoints: [\"http://{right}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, flag: side, variants: {{left: left, right: right}}, fallback: left}}\n"
    ))
    .flags(flags)
}

struct Set {
    authority: Authority,
    router: Router,
}

/// A router that asks for certificates of its own authority, and answers `left` or `right`.
fn set(rule: &str, auth: &[&str]) -> Set {
    let authority = Authority::new("tests");
    let left = Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nleft");
    let right = Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright");
    let ca = format!("--tls-client-ca={}", authority.file().display());
    let auth = auth.iter().map(|setting| (*setting).to_owned());
    let settings: Vec<String> = authority.server(&["a.example"]).into_iter().chain([ca]).chain(auth).collect();
    let router = serving(split(&left, &right, rule), &settings);
    Set { authority, router }
}

impl Set {
    fn alice(&self) -> Issued {
        let uri = Some("spiffe://example/alice");
        self.authority.issue(&Order { subject: "alice", uri, ..Order::default() })
    }

    fn connect(&self, client: &Client) -> SecureWire {
        client.connect(self.router.listen_tls(), "a.example")
    }

    /// The side that serves a client.
    fn side(&self, client: &Client) -> String {
        self.connect(client).get("a.example").text()
    }
}

/// TLS 1.3 tells a client that it was refused only when it reads.
fn is_refused(set: &Set, client: &Client) -> bool {
    let Ok(mut wire) = client.try_connect(set.router.listen_tls(), "a.example") else { return true };
    let refused = wire.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").try_answer();
    match refused {
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::InvalidData || error.kind() == ErrorKind::ConnectionReset,
    }
}

const ALICE: &str = r#"{"==": [{var: client.certificate.subject}, "O=Example\\, Inc.,CN=alice"]}"#;

#[test]
fn whoever_names_authorities_requires_certificates() {
    let set = set(ALICE, &[]);
    assert_eq!(set.side(&Client::showing(&set.authority, &set.alice())), "right");
    let other = set.authority.issue(&Order { subject: "bob", ..Order::default() });
    assert_eq!(set.side(&Client::showing(&set.authority, &other)), "left");
    assert!(is_refused(&set, &Client::new(&set.authority)), "a client without one");
    let foreign = Authority::new("others").issue(&Order { subject: "alice", ..Order::default() });
    assert!(is_refused(&set, &Client::showing(&set.authority, &foreign)), "a stranger's");
    let expired = set.authority.issue(&Order { subject: "alice", years: (2020, 2021), ..Order::default() });
    assert!(is_refused(&set, &Client::showing(&set.authority, &expired)), "an old one");
    set.router.wait_for_metric("banyan_tls_handshake_faults_total", &["fault=\"certificate\""], 3.0);
}

#[test]
fn an_optional_certificate_is_verified_when_it_is_there() {
    let set = set(ALICE, &["--tls-client-auth=optional"]);
    assert_eq!(set.side(&Client::new(&set.authority)), "left");
    assert_eq!(set.side(&Client::showing(&set.authority, &set.alice())), "right");
    let foreign = Authority::new("others").issue(&Order { subject: "alice", ..Order::default() });
    assert!(is_refused(&set, &Client::showing(&set.authority, &foreign)));
}

#[test]
fn without_client_authentication_nobody_is_asked() {
    let set = set(ALICE, &["--tls-client-auth=off"]);
    assert_eq!(set.side(&Client::showing(&set.authority, &set.alice())), "left");
}

#[test]
fn flags_see_issuer_alternative_name_and_fingerprint() {
    let rules = [
        r#"{"==": [{var: client.certificate.issuer}, "CN=tests"]}"#,
        r#"{"==": [{var: client.certificate.san}, "spiffe://example/alice"]}"#,
        r#"{starts_with: [{var: client.certificate.subject}, "O=Example"]}"#,
    ];
    for rule in rules {
        let set = set(rule, &[]);
        assert_eq!(set.side(&Client::showing(&set.authority, &set.alice())), "right", "{rule}");
    }
    let authority = Authority::new("elsewhere");
    let alice = authority.issue(&Order { subject: "alice", ..Order::default() });
    let file = authority.write("alice.pem", &alice.certificate);
    let shown = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(file)
        .output()
        .expect("openssl is there");
    let shown = String::from_utf8(shown.stdout).unwrap();
    let fingerprint = shown.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    assert_eq!(fingerprint.len(), 64);
    let mut set = set(&format!(r#"{{"==": [{{var: client.certificate.fingerprint}}, "{fingerprint}"]}}"#), &[]);
    // Both authorities are trusted from now on.
    set.authority.write("ca.pem", &format!("{}{}", set.authority.pem(), authority.pem()));
    set.router.wait_for_log("the authorities are read", |line| line.contains("in force for new connections"));
    assert_eq!(set.side(&Client::showing(&set.authority, &alice)), "right");
}

#[test]
fn a_resumed_session_keeps_its_client() {
    let set = set(ALICE, &[]);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let provider = aws_lc_rs::default_provider();
        let client = Client::with(&set.authority, provider, &[version], Some(&set.alice()));
        assert_eq!(set.side(&client), "right");
        let mut again = set.connect(&client);
        assert!(again.is_resumed());
        assert_eq!(again.get("a.example").text(), "right", "{version:?}");
    }
}

/// Whoever is not trusted any more must not come in by an old session.
#[test]
fn other_authorities_end_the_sessions_of_their_clients() {
    let mut set = set(ALICE, &[]);
    let client = Client::showing(&set.authority, &set.alice());
    assert_eq!(set.side(&client), "right");
    set.authority.write("ca.pem", &Authority::new("others").pem());
    set.router.wait_for_log("the authorities are read", |line| line.contains("in force for new connections"));
    assert!(is_refused(&set, &client));
}

#[test]
fn authorities_that_cannot_be_read_keep_the_old_ones() {
    let set = set(ALICE, &[]);
    set.authority.write("ca.pem", "-----BEGIN CERTIFICATE-----\nbroken");
    set.router.wait_for_metric("banyan_tls_certificates_refused", &[], 1.0);
    assert_eq!(set.side(&Client::showing(&set.authority, &set.alice())), "right");
}
