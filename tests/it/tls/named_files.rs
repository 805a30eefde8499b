//! `tls:` of an upstream: what is wrong with its files is found with its place, and what changes in them is noticed.

use std::fs;
use std::path::Path;
use std::time::Instant;

use banyan::compile::{self, Options, Outcome};
use banyan::config::{FileSet, Format};

use crate::support::authority::Authority;
use crate::support::router::{Setup, member};
use crate::support::{Origin, PATIENCE};

const FLAGS: &str = "flags:\n  side:\n    state: ENABLED\n    variants: {left: left}\n    defaultVariant: left\n    metadata: {owner: tests}\n";

fn routes(tls: &str) -> String {
    format!(
        "upstreams:\n  one:\n    endpoints: [\"127.0.0.1:9001\"]\n    tls: {{{tls}}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one}}\n"
    )
}

/// Compiles a route file that stands beside the authority's files.
fn compiled(authority: &Authority, tls: &str) -> Outcome {
    let directory = authority.path("routes");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("a.yaml"), routes(tls)).unwrap();
    let flags = FileSet::from_texts("flags", [("a.yaml", FLAGS)]);
    compile::compile(&flags, &FileSet::read(&directory), &Options::default(), None)
}

fn said(authority: &Authority, tls: &str) -> String {
    let outcome = compiled(authority, tls);
    assert!(outcome.draft.is_none(), "{tls}");
    outcome.report.render(Format::Text { colour: false })
}

#[test]
fn files_are_found_from_the_directory_of_the_route_file() {
    let authority = Authority::new("tests");
    authority.install("client", &authority.issue_for(&[]));
    authority.install("routes/here", &authority.issue_for(&[]));
    for tls in [
        "",
        "ca: ../ca.pem",
        "ca: ../ca.pem, certificate: ../client.crt, key: ../client.key, server_name: orders.internal",
        "certificate: here.crt, key: here.key",
        "server_name: \"127.0.0.1\"",
    ] {
        let outcome = compiled(&authority, tls);
        let upstream = &outcome.draft.unwrap_or_else(|| panic!("{}", outcome.report.summary())).upstreams[0];
        assert!(upstream.tls.is_some(), "{tls}");
    }
    let absolute = format!("ca: \"{}\"", authority.file().display());
    assert!(compiled(&authority, &absolute).draft.is_some());
}

#[test]
fn what_is_wrong_is_said_where_it_is_written() {
    let authority = Authority::new("tests");
    authority.install("client", &authority.issue_for(&[]));
    authority.write("empty.pem", "");
    let whole = authority.pem();
    authority.write("half.pem", &whole[..whole.len() / 2]);
    let cases = [
        ("ca: missing.pem", "missing.pem: cannot be read", "missing.pem"),
        ("ca: ../empty.pem", "holds no certificate", "../empty.pem"),
        ("ca: ../half.pem", "is not whole PEM", "../half.pem"),
        ("ca: ../routes", "it is no file", "../routes"),
        ("ca: ../client.key", "holds no certificate", "../client.key"),
        ("certificate: ../client.crt, key: ../empty.pem", "holds no private key", "../empty.pem"),
        ("ca: ../client.key", "-----BEGIN CERTIFICATE-----", "../client.key"),
        ("certificate: ../ca.pem, key: ../client.key", "a key that is not the certificate's", "../client.key"),
        ("certificate: ../client.crt", "a certificate without its key", "../client.crt"),
        ("key: ../client.key", "a key without its certificate", "../client.key"),
        ("server_name: \"not a name\"", "`not a name` is neither a host name nor an address", "\"not a name\""),
        ("ca: ../ca.pem, verify: false", "nothing is verified, yet there is somebody to trust", "false"),
        ("verify: \"no\"", "not true or false", "\"no\""),
        ("cert: ../client.crt", "unknown key `cert` in tls", "cert"),
    ];
    for (tls, message, underlined) in cases {
        let said = said(&authority, tls);
        assert!(said.contains(message), "{tls}:\n{said}");
        let column = routes(tls).lines().nth(3).and_then(|line| line.find(underlined)).unwrap() + 1;
        assert!(said.contains(&format!("a.yaml:4:{column}")), "{tls}: column {column}\n{said}");
    }
}

#[test]
fn all_files_that_are_wrong_are_told_at_once() {
    let authority = Authority::new("tests");
    let said =
        said(&authority, "ca: missing.pem, certificate: ../ca.pem, key: missing.key, server_name: \"not a name\"");
    for message in ["missing.pem: cannot be read", "missing.key: cannot be read", "`not a name` is neither"] {
        assert_eq!(said.matches(message).count(), 1, "{message}:\n{said}");
    }
}

#[test]
fn taking_any_certificate_is_loud() {
    let authority = Authority::new("tests");
    let outcome = compiled(&authority, "verify: false");
    assert!(outcome.draft.is_some());
    let said = outcome.report.render(Format::Text { colour: false });
    assert!(said.contains("warning") && said.contains("tls-insecure"), "{said}");
}

/// An upstream whose files are the same keeps its connections; one whose files are new does not.
#[test]
fn upstreams_are_the_same_as_long_as_their_files_are() {
    let authority = Authority::new("tests");
    let tls = "ca: ../ca.pem";
    let upstream = |outcome: Outcome| outcome.draft.unwrap().upstreams[0].clone();
    let first = upstream(compiled(&authority, tls));
    assert_eq!(first, upstream(compiled(&authority, tls)));
    authority.write("ca.pem", &Authority::new("others").pem());
    assert_ne!(first, upstream(compiled(&authority, tls)));
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_change_of_a_named_file_is_a_reload() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let ca = path(&authority.file());
    let setup = Setup::upstream(origin.address, &format!("tls: {{ca: \"{ca}\"}}"));
    let mut router = setup.arguments(&["--poll-ms", "20"]).start();
    let generation = "banyan_config_generation";
    assert_eq!(router.metric(generation, &[]), 1.0);
    let good = Authority::new("others").pem();
    authority.write("ca.pem", &good);
    router.wait_for_metric(generation, &[], 2.0);
    authority.write("ca.pem", "half-wri");
    router.wait_for_log("the set is refused", |line| line.contains("holds no certificate"));
    router.wait_for_metric("banyan_config_reloads_total", &["rejected"], 1.0);
    assert_eq!(router.metric(generation, &[]), 2.0);
    // The same set is judged again as soon as the file is mended.
    authority.write("ca.pem", &good);
    router.wait_for_metric(generation, &[], 3.0);
    assert_eq!(router.metric("banyan_config_stale_seconds", &[]), 0.0);
}

/// The kept copy of the route files is elsewhere; the files that they name are not.
#[test]
fn a_start_from_the_last_good_set_finds_the_files() {
    let origin = Origin::ok();
    let mut router = Setup::upstream(origin.address, "").arguments(&["--poll-ms", "20"]).start();
    let routes = router.directory().join("routes");
    let authority = Authority::new("tests");
    fs::write(routes.join("ca.pem"), authority.pem()).unwrap();
    let text = fs::read_to_string(routes.join("test.yaml")).unwrap();
    router.edit_routes(&text.replace("}\nroutes", "tls: {ca: ca.pem}}\nroutes"));
    router.wait_for_metric("banyan_config_generation", &[], 2.0);
    let kept = router.directory().join("state/last-good/routes/test.yaml");
    let is_kept = || fs::read_to_string(&kept).is_ok_and(|text| text.contains("ca.pem"));
    let deadline = Instant::now() + PATIENCE;
    while !is_kept() {
        assert!(Instant::now() < deadline, "no copy is kept");
        std::thread::yield_now();
    }
    router.edit_routes("broken");
    router.wait_for_log("the set is refused", |line| {
        member(line, "message").is_some_and(|text| text.contains("rejected"))
    });
    router.signal(rustix::process::Signal::TERM);
    assert!(router.wait_for_exit().success());
    let again = router.again(&["--last-good", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert!(again.logs().iter().any(|line| line.contains("starting from the last good set")));
}
