//! The verb `explain` as a shell sees it, with the shipped files.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn explain(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BANYAN_")) {
        command.env_remove(name);
    }
    command.arg("explain").args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_slice(&explain(&[arguments, &["--json"]].concat()).stdout).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_decision_is_shown_with_every_step() {
    let url = "http://shop.example/api/orders/17?x=1";
    let output = explain(&["--method", "GET", "--url", url, "-H", "x-user-id: ada"]);
    assert_eq!(output.status.code(), Some(0));
    super::snapshot!("explain_orders", text(&output));
}

#[test]
fn a_client_certificate_is_one_of_the_facts() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["flags", "routes"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let routes = "\
identity: {targeting_key: [client.certificate.FIELD]}
upstreams: {m: {endpoints: [\"127.0.0.1:9001\"]}}
routes:
  - {name: all, match: {path: /}, flag: f, variants: {a: m, b: m}, fallback: m}
";
    let flags = "\
flags:
  f:
    state: ENABLED
    variants: {a: a, b: b}
    defaultVariant: a
    targeting: {if: [{\"==\": [{var: targetingKey}, it]}, b, a]}
";
    std::fs::write(dir.path().join("flags/a.yaml"), flags).unwrap();
    let place = |name: &str| dir.path().join(name).display().to_string();
    for field in ["subject", "issuer", "san", "fingerprint"] {
        std::fs::write(dir.path().join("routes/a.yaml"), routes.replace("FIELD", field)).unwrap();
        let files = ["--flags", &place("flags"), "--routes", &place("routes"), "--url", "/"];
        let option = format!("--client-certificate-{field}=it");
        assert_eq!(json(&[&files[..], &[&option]].concat())["variant"], "b", "{field}");
        assert_eq!(json(&files)["variant"], "a", "{field}");
    }
}

#[test]
fn json_has_the_members_that_scripts_rely_on() {
    let found = json(&["--url", "/api/orders", "-H", "x-tenant: acme"]);
    let member = |name: &str| found[name].clone();
    assert_eq!(member("route"), "orders");
    assert_eq!(member("flag"), "orders-migration");
    assert_eq!(member("variant"), "live");
    assert_eq!(member("reason"), "TARGETING_MATCH");
    assert_eq!(member("upstream"), "orders");
    assert_eq!(member("generation"), 1);
    assert!(found["rules"].as_array().is_some_and(|rules| !rules.is_empty()));

    let plain = json(&["--url", "/search", "--method", "POST"]);
    assert_eq!((&plain["route"], &plain["upstream"]), (&"rest".into(), &"monolith".into()));
    assert!(plain["flag"].is_null() && plain["variant"].is_null() && plain["reason"].is_null());
    assert_eq!(plain["considered"][0]["route"], "search");
}

#[test]
fn the_variant_follows_the_slot_and_a_key_keeps_it() {
    for user in 0..20 {
        let header = format!("x-user-id: user-{user}");
        let arguments = ["--url", "/search", "-H", &header];
        let found = json(&arguments);
        let slot = found["bucket"]["slot"].as_u64().unwrap();
        assert_eq!(found["variant"], if slot < 10 { "modern" } else { "legacy" }, "{found}");
        assert_eq!(found["bucket"]["of"], 100);
        assert_eq!(found["targeting_key"]["source"], "header:x-user-id");
        assert_eq!(found, json(&arguments));
    }
}

#[test]
fn a_visitor_without_a_key_has_no_slot_to_show() {
    let found = json(&["--url", "/search"]);
    assert!(found["bucket"].is_null());
    assert_eq!(found["targeting_key"], serde_json::json!({"value": null, "source": "issue"}));
}

/// The tutorial's files with everybody in one stage.
fn tutorial(stage: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tutorial");
    for name in ["flags", "routes"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let text = std::fs::read_to_string(from.join(name).join("orders.yaml")).unwrap();
        let text = text
            .replace("[\"off\", 100]", "[\"off\", 0]")
            .replace(&format!("[{stage}, 0]"), &format!("[{stage}, 100]"));
        std::fs::write(dir.path().join(name).join("orders.yaml"), text).unwrap();
    }
    dir
}

/// A regression: of a request without a targeting key nothing was said about the key, nor that its write is not copied.
#[test]
fn what_happens_to_copies_is_said_also_when_there_are_none() {
    let dir = tutorial("live");
    let place = |name: &str| dir.path().join(name).display().to_string();
    let files = [place("flags"), place("routes")];
    let files = ["--flags", &files[0], "--routes", &files[1], "--url", "/api/orders/17"];
    let said = |arguments: &[&str]| text(&explain(&[&files[..], arguments].concat()));
    let put = said(&["-X", "PUT"]);
    let key = "key        none in the request, and `identity` issues none: a split gives it no variant, so the default variant counts\n";
    assert!(put.contains(key), "{put}");
    assert!(
        put.contains("copy       none: the variant `off` copies nothing: this write is on `legacy` alone\n"),
        "{put}"
    );
    assert!(
        put.ends_with("generation 1, of these files; a running router counts its own, and --live asks it\n"),
        "{put}"
    );
    let keyed = said(&["-X", "PUT", "-H", "x-user-id: ada"]);
    assert!(keyed.contains("copy       to legacy, about `order:17` (overlap)\n"), "{keyed}");
    let read = said(&["-X", "HEAD", "-H", "x-user-id: ada"]);
    assert!(read.contains("copy       none: HEAD is a read here, and reads are not copied\n"), "{read}");
    let found = json(&[&files[..], &["-X", "PUT"]].concat());
    assert_eq!(found["targeting_key"], serde_json::json!({"value": null, "source": "none"}));
    assert!(found["copy"].is_null() && found["not_copied"].is_string(), "{found}");

    let plain = text(&explain(&["--url", "/account/1", "-X", "POST"]));
    assert!(plain.contains("copy       none: the route `rest` copies no writes\n"), "{plain}");
    assert!(!text(&explain(&["--url", "/account/1"])).contains("copy "));
}

#[test]
fn what_the_router_would_refuse_is_explained_and_exits_with_1() {
    let output = explain(&["--url", "/x/..%2fsearch"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("400") && text(&output).contains("different readers"), "{}", text(&output));
    let output = explain(&["--url", "/search", "--method", "CONNECT", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["refused"].is_string());
    let output = explain(&["--url", "/", "--routes", "no-such-directory"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("nothing to explain"), "{}", text(&output));
}

#[test]
fn wrong_usage_says_what_to_write_and_exits_with_2() {
    let cases = [
        (&["--url", "search"][..], "write http://shop.example/path or /path"),
        (&["--url", "/", "-H", "x-user-id"], "write 'name: value'"),
        (&["--url", "/", "--method", "G T"], "not a method"),
        (&["--url", "/", "--client-ip", "here"], "invalid IP address"),
        (&[], "--url"),
    ];
    for (arguments, message) in cases {
        let output = explain(arguments);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{shown}");
        assert!(shown.contains(message), "{shown}");
    }
}
