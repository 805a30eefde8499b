//! What others say of the TLS here: sslyze with Mozilla's profile, openssl, curl.

use std::process::{Command, Stdio};

use super::{plain_set, router};
use crate::judges::python_module;
use crate::support::Origin;
use crate::support::authority::{Authority, Order};

/// Mozilla's intermediate profile, as sslyze judges it; its exit code is 0 only when nothing deviates.
#[test]
fn sslyze_finds_the_intermediate_profile_met() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    // The profile wants short-lived certificates.
    let year = this_year();
    for rsa in [false, true] {
        let order = Order { names: &["localhost"], rsa, years: (year, year), ..Order::default() };
        let router = router(&origin, &authority.install("server", &authority.issue(&order)));
        let judged = python_module("sslyze")
            .arg(format!("--certinfo_ca_file={}", authority.file().display()))
            .args(["--mozilla_config=intermediate", &format!("localhost:{}", router.listen_tls().port())])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&judged.stdout);
        assert!(judged.status.success(), "{said}");
        assert!(said.contains("OK - Compliant"), "{said}");
        assert_eq!(router.metric("banyan_panics_total", &[]), 0.0);
    }
}

fn this_year() -> i32 {
    let said = Command::new("date").arg("+%Y").output().expect("a date");
    String::from_utf8(said.stdout).unwrap().trim().parse().unwrap()
}

/// Runs openssl's client against a router, with nothing to say.
fn openssl(address: std::net::SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is there: run `make tools` to install it");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn openssl_resumes_its_sessions_and_verifies_the_chain() {
    let (authority, _origin, router) = plain_set();
    let ca = authority.file();
    let ca = ca.to_str().unwrap();
    let again = ["-servername", "a.example", "-CAfile", ca, "-verify_return_error", "-verify_hostname", "a.example"];
    let said = openssl(router.listen_tls(), &[&again[..], &["-tls1_2", "-reconnect"]].concat());
    assert_eq!(said.matches("Reused, TLSv1.2").count(), 5, "{said}");
    assert!(said.contains("Verify return code: 0"), "{said}");
    // Sessions by id, for clients that know no tickets.
    let said = openssl(router.listen_tls(), &[&again[..], &["-tls1_2", "-reconnect", "-no_ticket"]].concat());
    assert_eq!(said.matches("Reused, TLSv1.2").count(), 5, "{said}");
    let said = openssl(router.listen_tls(), &[&again[..], &["-tls1_3", "-alpn", "h2,http/1.1"]].concat());
    assert!(said.contains("ALPN protocol: h2"), "{said}");
    assert!(said.contains("Max Early Data: 0") || !said.contains("Max Early Data"), "{said}");
}

#[test]
fn openssl_is_refused_what_is_old() {
    let (_authority, _origin, router) = plain_set();
    // The client would refuse itself without a lower level of its own.
    for old in [["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"]] {
        let said = openssl(router.listen_tls(), &old);
        assert!(said.contains("no peer certificate available"), "{old:?}: {said}");
    }
}

#[test]
fn curl_speaks_both_protocols() {
    let (authority, _origin, router) = plain_set();
    let address = router.listen_tls();
    for (how, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let output = Command::new("curl")
            .args(["-sS", how, "--resolve", &format!("a.example:{}:{}", address.port(), address.ip()), "--cacert"])
            .arg(authority.file())
            .args(["-w", " %{http_code} %{http_version}", &format!("https://a.example:{}/", address.port())])
            .output()
            .expect("curl is there: run `make tools` to install it");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("ok 200 {version}"), "{output:?}");
    }
    // H10 over HTTP/2, where clients put hosts together on one connection.
    let output = Command::new("curl")
        .args(["-sSk", "--http2", "--resolve", &format!("a.example:{}:{}", address.port(), address.ip())])
        .args(["-o", "/dev/null", "-w", "%{http_code}", "-H", "host: b.example"])
        .arg(format!("https://a.example:{}/", address.port()))
        .output()
        .expect("curl is there");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "421", "{output:?}");
}
