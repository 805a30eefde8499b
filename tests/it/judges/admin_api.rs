//! Outside judges of the admin API: schemathesis against its own description, and Chromium with pages of other origins.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::{node, program};
use crate::override_break_glass::{Two, served};
use crate::support::Router;
use crate::support::router::Setup;

/// A migration flag, as the shipped routes want one.
const ORDERS: &str = "  orders-migration:\n    state: ENABLED\n    variants: {\"off\": \"off\", dualwrite: dualwrite, shadow: shadow, live: live, rampdown: rampdown, complete: complete}\n    defaultVariant: \"off\"\n    metadata: {owner: tests}\n";

fn token(router: &Router) -> String {
    fs::read_to_string(router.directory().join("state/admin.token")).unwrap().trim().to_owned()
}

/// The stream of events is not in it: it would wait for its end.
#[test]
fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let shipped = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    // The document's examples name a flag of these.
    let router = Setup::routes(shipped("routes/shop.yaml")).flags(shipped("flags/search.yaml") + ORDERS).start();
    let mut command = program("schemathesis");
    command.arg("run").arg(format!("http://{}/openapi.json", router.admin));
    command.args(["--header", &format!("Authorization: Bearer {}", token(&router))]);
    command.args(["--exclude-path", "/api/v1/events", "--max-examples", "20", "--request-timeout", "20", "--no-color"]);
    // Whether a flag has a variant is no matter of the document's; `object_level_authorization` needs several users.
    command.args(["--exclude-checks", "positive_data_acceptance,object_level_authorization"]);
    let output = command.current_dir(router.directory()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert_eq!(router.metric("banyan_ready", &[]), 1.0);
}

#[test]
fn a_page_of_another_origin_kills_nothing() {
    let two = Two::start();
    let router = two.router();
    let mut command = node("cross_origin.js");
    command.arg(router.admin.to_string()).arg(token(&router)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let before: Value = serde_json::from_str(found["before"].as_str().unwrap()).unwrap();
    assert!(before.get("kill_all").is_none(), "nothing was killed by then: {found}");
    let tries = found.as_object_mut().unwrap();
    tries.remove("before");
    // The one page that may is the router's own.
    assert_eq!(tries.remove("own").unwrap(), "answered 200");
    assert_eq!(served(&router), "left");
    assert_eq!(tries.len(), 12, "{tries:?}");
    for (name, became) in tries {
        let became = became.as_str().unwrap();
        let nothing = match name.split(' ').next().unwrap() {
            "json" | "read" => became.starts_with("failed: "),
            "no-cors" => became == "opaque opaque 0",
            // What came of these the page does not learn.
            "beacon" => became.starts_with("sent "),
            "form" => became == "loaded",
            _ => became == "answered 421",
        };
        assert!(nothing, "{name}: {became}");
    }
}
