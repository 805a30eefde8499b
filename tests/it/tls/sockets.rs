//! Listeners for TLS: alone, without certificates, and handed from process to process.

use std::process::{Command, Stdio};
use std::sync::Arc;

use super::{plain_set, router};
use crate::support::authority::{Authority, Order};
use crate::support::secure::Client;
use crate::support::{Origin, Router};

/// Runs `serve` with settings that it must refuse, and gives what it says.
fn refused(arguments: &[String]) -> String {
    let template = Router::to(Origin::refusing());
    let directory = template.directory().to_owned();
    let output = Command::new(env!("CARGO_BIN_EXE_banyan"))
        .args(["serve", "--listen-tls=127.0.0.1:0", "--admin=127.0.0.1:0", "--state=elsewhere"])
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_start_without_a_usable_certificate_says_why_and_ends() {
    let authority = Authority::new("tests");
    let [certificate, key] = authority.server(&["a.example"]);
    let other = authority.install("other", &authority.issue_for(&["a.example"]));
    // Only the marks count.
    let encrypted = |begin: &str| {
        let name = format!("encrypted-{}.key", begin.len());
        let file = authority.write(&name, &format!("-----{begin}\n\nAAAA\n-----END PRIVATE KEY-----\n"));
        vec![certificate.clone(), format!("--tls-key={}", file.display())]
    };
    let cases = [
        (vec![], "`listen_tls` needs a certificate"),
        (vec![certificate.clone()], "give each certificate its key"),
        (vec![certificate.clone(), "--tls-key=nowhere.key".to_owned()], "nowhere.key: cannot be read"),
        (vec![certificate.clone(), other[1].clone()], "a key that is not the certificate's"),
        (vec![certificate.clone(), key.clone(), "--tls-client-auth=required".to_owned()], "nobody to trust"),
        (vec![certificate.clone(), key, "--tls-client-ca=nowhere.pem".to_owned()], "nowhere.pem: cannot be read"),
        (vec!["--tls-directory=flags".to_owned()], "holds no certificate"),
        (encrypted("BEGIN ENCRYPTED PRIVATE KEY-----"), "the key is encrypted; remove the passphrase"),
        (encrypted("BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED"), "the key is encrypted; remove the passphrase"),
    ];
    for (arguments, says) in cases {
        let said = refused(&arguments);
        assert!(said.contains(says), "{arguments:?}:\n{said}");
    }
}

/// A restart on the day after must serve what there is: nothing else would be better.
#[test]
fn a_start_with_an_expired_certificate_serves_and_says_so() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let old = authority.issue(&Order { names: &["a.example"], years: (2020, 2021), ..Order::default() });
    let mut router = router(&origin, &authority.install("server", &old));
    router.wait_for_log("the certificate is old", |line| line.contains("has expired"));
    router.wait_for_metric("banyan_tls_certificates_refused", &[], 1.0);
    let mut wire = Client::new(&authority).careless().connect(router.listen_tls(), "a.example");
    assert_eq!(wire.get("a.example").status(), 200);
}

/// Who asks for TLS gets no port in the clear that was not asked for.
#[test]
fn with_tls_alone_nothing_listens_in_the_clear() {
    let (_authority, _origin, router) = plain_set();
    let both = router.logs().iter().find(|line| line.contains("\"listening\"")).cloned().unwrap();
    assert!(both.contains(&format!("\"listen\":\"{}\"", router.listen)), "{both}");
    let settings = banyan::cli::settle(
        &banyan::cli::SettingOptions {
            listen_tls: vec!["127.0.0.1:1".parse().unwrap()],
            tls_certificate: vec!["a".into()],
            tls_key: vec!["b".into()],
            ..Default::default()
        },
        std::iter::empty(),
    );
    assert!(settings.unwrap().listen.is_empty());
}

#[test]
fn a_later_process_takes_tls_listeners_over() {
    let (authority, _origin, mut old) = plain_set();
    let settings = authority.server(&["a.example"]);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let listen = format!("--listen={}", old.listen);
    let listen_tls = format!("--listen-tls={}", old.listen_tls());
    let new = old.again(&[&["--workers=2", &listen, &listen_tls, "--admin=127.0.0.1:0"], &settings[..]].concat());
    assert_eq!((new.listen, new.listen_tls()), (old.listen, old.listen_tls()));
    assert!(old.wait_for_exit().success());
    assert_eq!(new.get("/").status(), 200);
    assert_eq!(Client::new(&authority).connect(new.listen_tls(), "a.example").get("a.example").status(), 200);
}

#[test]
fn settings_for_tls_without_an_address_are_refused() {
    let authority = Authority::new("tests");
    let template = Router::to(Origin::refusing());
    for arguments in [authority.server(&["a.example"]).to_vec(), vec!["--tls-unknown-sni=refuse".to_owned()]] {
        let output = Command::new(env!("CARGO_BIN_EXE_banyan"))
            .args(["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--state=elsewhere"])
            .args(&arguments)
            .current_dir(template.directory())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("give --listen-tls ADDR"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_later_process_without_certificates_says_what_it_lacks_and_changes_nothing() {
    let (authority, _origin, mut old) = plain_set();
    let output = Command::new(env!("CARGO_BIN_EXE_banyan"))
        .args(["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"])
        .current_dir(old.directory())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the running process hands over TLS sockets; give --tls-certificate and --tls-key"),
        "{said}"
    );
    old.wait_for_log("why it goes on", |line| line.contains("the new process ended before it served"));
    assert_eq!(Client::new(&authority).connect(old.listen_tls(), "a.example").get("a.example").status(), 200);
}

/// systemd passes sockets by number and name; the name says what is spoken there.
#[test]
fn a_socket_that_systemd_names_tls_speaks_it() {
    // Several socket units may come in any order.
    for names in ["web:tls:admin", "web:admin:tls", "tls:web:admin"] {
        passed(names);
    }
}

fn passed(names: &str) {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let template = Router::to(origin.address);
    let directory = Arc::new(tempfile::tempdir().unwrap());
    for folder in ["flags", "routes"] {
        std::fs::create_dir(directory.path().join(folder)).unwrap();
        let from = template.directory().join(folder).join("test.yaml");
        std::fs::copy(from, directory.path().join(folder).join("test.yaml")).unwrap();
    }
    // Three sockets: in the clear, TLS, admin.
    let script = "\
import os, socket, sys
for number in (3, 4, 5):
    listener = socket.create_server(('127.0.0.1', 0))
    os.dup2(listener.fileno(), number + 10)
for number in (3, 4, 5):
    os.dup2(number + 10, number)
    os.set_inheritable(number, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='3', LISTEN_FDNAMES=os.environ['NAMES'])
os.execv(sys.argv[1], sys.argv[1:])
";
    let mut command = Command::new("python3");
    command.args(["-c", script, env!("CARGO_BIN_EXE_banyan"), "serve", "--log-format", "json"]);
    command.args(authority.server(&["a.example"])).env("NAMES", names);
    let router = Router::run(command, directory);
    assert_eq!(router.get("/").status(), 200);
    assert_eq!(Client::new(&authority).connect(router.listen_tls(), "a.example").get("a.example").status(), 200);
}
