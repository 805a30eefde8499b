//! One rule for every verb that asks the running router: exit code 3 and the same words where none answers, text or JSON.

use serde_json::Value;

use crate::edit_verbs::{banyan, out};

/// Each verb that asks the running router, with what it needs.
const VERBS: &[&str] = &[
    "status",
    "reload",
    "explain --live --url /",
    "restore",
    "restore 1 --reason x",
    "release --reason x",
    "set search-engine modern=1% --live --reason x",
    "pin search-engine tenant=acme modern --live --reason x",
    "kill search-engine --live --reason x",
    "revive search-engine --live --reason x",
    "reconcile orders --from legacy --journal",
    "reconcile orders --from legacy --listing /orders",
    "journal status",
    "journal list",
    "journal list --all",
    "journal show 0",
    "journal replay 0 --reason x",
    "journal drop 0 --reason x",
    "journal drop --destination modern --reason x",
    "journal gaps",
    "journal gaps --all",
    "journal resume modern --reason x",
];

fn words(verb: &str) -> Vec<&str> {
    verb.split(' ').collect()
}

#[test]
fn without_a_router_every_verb_ends_alike() {
    let directory = tempfile::tempdir().unwrap();
    for verb in VERBS {
        let told = banyan(directory.path(), &words(verb));
        assert_eq!(told.status.code(), Some(3), "{verb}: {}", out(&told));
        assert!(told.stdout.is_empty(), "{verb}: {}", out(&told));
        let why =
            "no router answers (neither admin.sock nor admin.token is in state); say where the router is: --state DIR";
        assert!(out(&told).starts_with(&format!("banyan: {why}")), "{verb}: {}", out(&told));

        let told = banyan(directory.path(), &[words(verb), vec!["--json"]].concat());
        assert_eq!((told.status.code(), told.stderr.len()), (Some(3), 0), "{verb}: {}", out(&told));
        let json: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!((&json["done"], &json["code"]), (&false.into(), &"unreachable".into()), "{verb}: {json}");
        let named = json["verb"].as_str().unwrap();
        assert!(verb.starts_with(named), "{verb}: {json}");
        assert!(json["refused"].as_str().unwrap().starts_with(why), "{verb}: {json}");
    }
}

#[test]
fn every_verb_says_its_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    for verb in VERBS {
        let name: Vec<&str> = words(verb).into_iter().take(if verb.starts_with("journal") { 2 } else { 1 }).collect();
        let help = banyan(directory.path(), &[name, vec!["--help"]].concat());
        let text = out(&help).split_whitespace().collect::<Vec<_>>().join(" ");
        let code = text.split(" 3: ").nth(1).unwrap_or_else(|| panic!("{verb}: {text}"));
        assert!(code.contains("no router answers") && code.contains("let you in"), "{verb}: {code}");
        assert!(!verb.starts_with("journal") || text.contains("Examples: banyan journal"), "{verb}: {text}");
    }
}

#[test]
fn whether_the_place_may_be_wrong_decides_whether_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let unused = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
    let told = |arguments: &[&str]| out(&banyan(directory.path(), &[&["status"], arguments].concat()));
    assert!(told(&["--admin", &unused]).contains("there is no token: state/admin.token"));
    assert!(told(&["--admin", &unused]).contains("--token-file FILE"));
    // Who names an address and a token has said where; the router is down.
    std::fs::write(directory.path().join("token"), "0000").unwrap();
    let down = told(&["--admin", &unused, "--token-file", "token"]);
    assert!(down.contains("no router answers") && !down.contains("say where"), "{down}");
}
