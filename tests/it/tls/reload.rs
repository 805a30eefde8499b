//! Certificates that change while the router runs: good ones are taken, bad ones are not, and nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{plain_set, router};
use crate::support::authority::{Authority, Order};
use crate::support::router::member;
use crate::support::secure::Client;
use crate::support::{Origin, Router};

const REFUSED: &str = "banyan_tls_certificates_refused";
const RELOADS: &str = "banyan_tls_certificate_reloads_total";

fn shown(authority: &Authority, router: &Router) -> rustls::pki_types::CertificateDer<'static> {
    Client::new(authority).connect(router.listen_tls(), "a.example").shown()
}

#[test]
fn a_new_certificate_is_for_new_connections_and_old_ones_go_on() {
    let (authority, _origin, router) = plain_set();
    let mut old = Client::new(&authority).connect(router.listen_tls(), "a.example");
    let next = authority.issue(&Order { names: &["a.example"], years: (2021, 2090), ..Order::default() });
    let expiry = "banyan_tls_certificate_expiry_timestamp_seconds";
    let before = router.metric(expiry, &["server.crt"]);
    authority.install("server", &next);
    router.wait_for_metric(RELOADS, &[], 1.0);
    assert_eq!(shown(&authority, &router), next.der());
    assert_ne!(old.shown(), next.der());
    assert_eq!(old.get("a.example").status(), 200);
    assert!(router.metric(expiry, &["server.crt"]) < before);
    assert_eq!(router.metric(REFUSED, &[]), 0.0);
}

/// Sessions that were begun under the old certificate are resumed: clients need not be told.
#[test]
fn sessions_outlive_their_certificate() {
    let (authority, _origin, router) = plain_set();
    let client = Client::new(&authority);
    assert_eq!(client.connect(router.listen_tls(), "a.example").get("a.example").status(), 200);
    authority.server(&["a.example"]);
    router.wait_for_metric(RELOADS, &[], 1.0);
    assert!(client.connect(router.listen_tls(), "a.example").is_resumed());
}

/// Puts files in place that are no good, and says what the log must say of them.
fn spoiled(say: &str, spoil: impl Fn(&Authority)) {
    let (authority, _origin, mut router) = plain_set();
    let good = shown(&authority, &router);
    let kept = std::fs::read_to_string(authority.path("server.crt")).unwrap();
    let key = std::fs::read_to_string(authority.path("server.key")).unwrap();
    spoil(&authority);
    router.wait_for_metric(REFUSED, &[], 1.0);
    assert_eq!(shown(&authority, &router), good, "{say}");
    router.wait_for_log(say, |line| member(line, "error").is_some_and(|error| error.contains(say)));
    assert_eq!(router.metric(RELOADS, &[]), 0.0);
    // It mends itself when the files are good again.
    authority.write("server.key", &key);
    authority.write("server.crt", &kept);
    well_again(&mut router);
    assert_eq!(shown(&authority, &router), good);
}

#[test]
fn a_key_that_does_not_match_changes_nothing() {
    spoiled("a key that is not the certificate's", |authority| {
        authority.write("server.key", &authority.issue_for(&["a.example"]).key);
    });
}

#[test]
fn an_expired_certificate_changes_nothing() {
    spoiled("has expired", |authority| {
        authority.install(
            "server",
            &authority.issue(&Order { names: &["a.example"], years: (2020, 2021), ..Order::default() }),
        );
    });
}

#[test]
fn a_certificate_of_the_future_changes_nothing() {
    spoiled("not valid yet", |authority| {
        authority.install(
            "server",
            &authority.issue(&Order { names: &["a.example"], years: (2099, 2100), ..Order::default() }),
        );
    });
}

#[test]
fn a_half_written_certificate_changes_nothing() {
    spoiled("is not whole PEM", |authority| {
        let next = authority.issue_for(&["a.example"]);
        authority.write("server.crt", &next.certificate[..next.certificate.len() / 2]);
    });
}

#[test]
fn a_half_written_chain_changes_nothing() {
    spoiled("is not whole PEM", |authority| {
        let whole = std::fs::read_to_string(authority.path("server.crt")).unwrap();
        let chain = authority.pem();
        authority.write("server.crt", &format!("{whole}{}", &chain[..chain.len() / 2]));
    });
}

#[test]
fn an_empty_key_changes_nothing() {
    spoiled("holds no private key", |authority| {
        authority.write("server.key", "");
    });
}

#[test]
fn a_vanished_certificate_changes_nothing() {
    spoiled("cannot be read", |authority| std::fs::remove_file(authority.path("server.crt")).unwrap());
}

#[test]
fn a_directory_takes_new_certificates_and_lets_vanished_ones_go() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    authority.install("set/a", &authority.issue_for(&["a.example"]));
    let router = router(&origin, &[format!("--tls-directory={}", authority.path("set").display())]);
    let next = authority.issue_for(&["b.example"]);
    authority.install("set/b", &next);
    router.wait_for_metric(RELOADS, &[], 1.0);
    assert_eq!(Client::new(&authority).connect(router.listen_tls(), "b.example").shown(), next.der());
    std::fs::remove_file(authority.path("set/b.crt")).unwrap();
    router.wait_for_metric(RELOADS, &[], 2.0);
    assert_ne!(Client::new(&authority).careless().connect(router.listen_tls(), "b.example").shown(), next.der());
    assert_eq!(router.metric(REFUSED, &[]), 0.0);
}

#[test]
fn the_last_certificate_of_a_directory_stays_and_is_missed() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    authority.install("set/a", &authority.issue_for(&["a.example"]));
    let mut router = router(&origin, &[format!("--tls-directory={}", authority.path("set").display())]);
    let good = shown(&authority, &router);
    std::fs::remove_file(authority.path("set/a.crt")).unwrap();
    router.wait_for_metric(REFUSED, &[], 1.0);
    router.wait_for_log("it is gone", |line| member(line, "error").is_some_and(|error| error.contains("it is gone")));
    assert_eq!(shown(&authority, &router), good);
    // What comes instead lets it go.
    let next = authority.issue_for(&["a.example"]);
    authority.install("set/z", &next);
    well_again(&mut router);
    assert_eq!(shown(&authority, &router), next.der());
}

/// An expired certificate under a name of its own once displaced the good one, and stayed when it was removed.
#[test]
fn untimely_certificates_that_come_to_a_directory_displace_nobody() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    authority.install("set/m", &authority.issue_for(&["a.example"]));
    let directory = format!("--tls-directory={}", authority.path("set").display());
    for years in [(2020, 2021), (2099, 2100)] {
        let mut router = router(&origin, std::slice::from_ref(&directory));
        let good = shown(&authority, &router);
        let names = &["a.example"][..];
        authority.install("set/b", &authority.issue(&Order { names, years, ..Order::default() }));
        router.wait_for_metric(REFUSED, &[], 1.0);
        assert_eq!(shown(&authority, &router), good, "{years:?}");
        std::fs::remove_file(authority.path("set/b.crt")).unwrap();
        well_again(&mut router);
        assert_eq!(shown(&authority, &router), good, "{years:?}");
        assert_eq!(router.metric(RELOADS, &[]), 0.0);
    }
}

/// At the start there may be nothing better; where there is, it is shown.
#[test]
fn a_start_prefers_the_certificate_that_is_in_its_time() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let names = &["a.example"][..];
    authority.install("set/b", &authority.issue(&Order { names, years: (2020, 2021), ..Order::default() }));
    let good = authority.issue_for(names);
    authority.install("set/m", &good);
    let router = router(&origin, &[format!("--tls-directory={}", authority.path("set").display())]);
    assert_eq!(shown(&authority, &router), good.der());
}

fn well_again(router: &mut Router) {
    router.wait_for_log("all is well again", |line| line.contains("all certificates are as they should be again"));
    assert_eq!(router.metric(REFUSED, &[]), 0.0);
}

/// Fifty new certificates while clients come and go: no handshake fails, no request is lost.
#[test]
fn reloads_under_load_are_not_noticed() {
    let (authority, _origin, router) = plain_set();
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, address) = (Client::new(&authority), router.listen_tls());
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut wire = client.connect(address, "a.example");
                    for _ in 0..3 {
                        assert_eq!(wire.get("a.example").status(), 200);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for round in 1..=50 {
        authority.server(&["a.example"]);
        if round % 10 == 0 {
            router.wait_for_metric(RELOADS, &[], f64::from(round / 10));
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("every handshake and every request succeeds");
    }
    assert!(served.load(Ordering::Relaxed) > 0);
    for fault in ["closed", "alert", "incompatible", "malformed", "internal"] {
        let label = format!("fault=\"{fault}\"");
        assert_eq!(router.metric("banyan_tls_handshake_faults_total", &[&label]), 0.0, "{fault}");
    }
}

#[test]
fn sighup_reads_certificates_at_once() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let settings = authority.server(&["a.example"]);
    let setup = crate::support::router::Setup::upstream(origin.address, "");
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    // Only the signal can be what makes it look.
    let router = setup.arguments(&["--listen-tls=127.0.0.1:0", "--poll-ms=0"]).arguments(&settings).start();
    let next = authority.issue_for(&["a.example"]);
    authority.install("server", &next);
    router.signal(rustix::process::Signal::HUP);
    router.wait_for_metric(RELOADS, &[], 1.0);
    assert_eq!(shown(&authority, &router), next.der());
}
