//! What the route files say about health: read, judged, compiled, explained.

use banyan::compile::{self, Options, Outcome};
use banyan::config::{FileSet, Format, Severity};
use banyan::upstream::{AllUnhealthy, Ejection, Upstream};

const FLAGS: &str = "\
flags:
  side: {state: ENABLED, variants: {modern: modern, legacy: legacy}, defaultVariant: modern, metadata: {owner: tests}}
  stage: {state: ENABLED, variants: {\"off\": \"off\", complete: complete}, defaultVariant: complete, metadata: {owner: tests}}
";

fn compiled(routes: &str) -> Outcome {
    let (flags, routes) =
        (FileSet::from_texts("flags", [("a.yaml", FLAGS)]), FileSet::from_texts("routes", [("a.yaml", routes)]));
    compile::compile(&flags, &routes, &Options::default(), None)
}

/// The upstream `modern` with these settings, and routes that choose between it and another.
fn with(settings: &str, overflow: &str) -> String {
    format!(
        "\
upstreams:
  modern: {{endpoints: [\"http://10.0.0.1:80\"], {settings}}}
  legacy: {{endpoints: [\"http://10.0.0.2:80\"]}}
routes:
  - {{name: split, match: {{path: /split}}, flag: side, variants: {{modern: modern, legacy: legacy}}, fallback: legacy, {overflow}}}
  - {{name: move, match: {{path: /move}}, flag: stage, migration: {{modern: modern, legacy: legacy}}, {overflow}}}
"
    )
}

fn modern(settings: &str) -> Upstream {
    let outcome = compiled(&with(settings, ""));
    let shown = outcome.report.render(Format::Text { colour: false });
    let draft = outcome.draft.unwrap_or_else(|| panic!("{shown}"));
    draft.upstreams.iter().find(|upstream| &*upstream.name == "modern").map(|found| (**found).clone()).unwrap()
}

#[test]
fn defaults_are_those_of_the_docs() {
    let plain = modern("");
    assert_eq!((plain.health.clone(), plain.requests_max, plain.slow_start_ms), (None, 0, 0));
    assert_eq!(plain.all_unhealthy, AllUnhealthy::Serve);
    let ejection = Ejection { after_failures: 5, ms: 10_000, ms_max: 300_000, share_max_percent: 50, on_5xx: false };
    assert_eq!(plain.ejection, ejection);
    let check = modern("health: {path: \"/up?deep=1\"}").health.unwrap();
    assert_eq!((check.target.as_str(), check.interval_ms, check.timeout_ms), ("/up?deep=1", 1_000, 500));
    assert_eq!((check.healthy_after, check.unhealthy_after, check.expect_status), (2, 3, 200..=299));
    assert_eq!(modern("health: {path: /, interval_ms: 200}").health.unwrap().timeout_ms, 200);
    assert_eq!(modern("health: {path: /, expect_status: 204}").health.unwrap().expect_status, 204..=204);
    assert_eq!(modern("eject_ms: 600000").ejection.ms_max, 600_000, "the limit is never below the first time");
}

#[test]
fn shares_and_times_of_ejection() {
    let rules = |percent| Ejection { share_max_percent: percent, ms: 10, ms_max: 35, ..Ejection::default() };
    assert_eq!([1, 2, 3, 4, 10].map(|total| rules(50).endpoints_max(total)), [0, 1, 1, 2, 5]);
    assert_eq!([1, 2, 3, 4, 10].map(|total| rules(100).endpoints_max(total)), [0, 1, 2, 3, 9]);
    assert_eq!([1, 2, 3, 4, 200].map(|total| rules(1).endpoints_max(total)), [0, 1, 1, 1, 2]);
    assert_eq!([1, 2, 3, 4, u32::MAX].map(|times| rules(50).out_ms(times)), [10, 20, 30, 35, 35]);
}

#[test]
fn what_cannot_be_is_said() {
    let routes = "\
upstreams:
  path: {endpoints: [\"10.0.0.1:1\"], health: {path: healthz}}
  host: {endpoints: [\"10.0.0.1:2\"], health: {path: /, host: \"a b\"}}
  status: {endpoints: [\"10.0.0.1:3\"], health: {path: /, expect_status: 299-200}}
  class: {endpoints: [\"10.0.0.1:4\"], health: {path: /, expect_status: 2xx}}
  often: {endpoints: [\"10.0.0.1:5\"], health: {path: /, interval_ms: 10, timeout: 5}}
  eject: {endpoints: [\"10.0.0.1:6\"], eject_ms: 5000, eject_ms_max: 1000, eject_share_max_percent: 101}
  none: {endpoints: [\"10.0.0.1:7\"], all_unhealthy: panic, requests_max: 0}
routes:
  - {name: plain, match: {path: /plain}, upstream: none, overflow: fallback}
  - {name: split, match: {path: /split}, flag: side, variants: {modern: none, legacy: host}, fallback: host, overflow: legacy}
";
    let report = compiled(routes).report;
    super::matches_snapshot(&report.render(Format::Text { colour: false }));
}

#[test]
fn an_overflow_that_cannot_happen_is_a_warning() {
    let warnings = |settings: &str| {
        let report = compiled(&with(settings, "overflow: fallback")).report;
        let found = report.diagnostics.iter().filter(|found| found.code == "useless-overflow");
        assert!(found.clone().all(|found| found.severity == Severity::Warning));
        found.count()
    };
    assert_eq!(warnings(""), 2);
    assert_eq!(warnings("requests_max: 10"), 0);
    assert_eq!(warnings("all_unhealthy: refuse, health: {path: /}"), 0);
}

#[test]
fn explain_names_who_would_serve() {
    let directory = tempfile::tempdir().unwrap();
    for (folder, text) in [("flags", FLAGS), ("routes", &with("requests_max: 10", "overflow: fallback"))] {
        std::fs::create_dir(directory.path().join(folder)).unwrap();
        std::fs::write(directory.path().join(folder).join("a.yaml"), text).unwrap();
    }
    let explain = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_banyan"));
        command.arg("explain").args(arguments).current_dir(directory.path());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let overflow = |arguments: &[&str]| {
        let json: serde_json::Value = serde_json::from_str(&explain(&[arguments, &["--json"]].concat())).unwrap();
        json["overflow"].clone()
    };
    assert_eq!(overflow(&["--url", "/split", "-X", "POST"]), "legacy");
    assert_eq!(overflow(&["--url", "/move"]), "legacy");
    assert!(overflow(&["--url", "/move", "-X", "POST"]).is_null(), "writes do not overflow");
    let text = explain(&["--url", "/move"]);
    assert!(text.contains("overflow   legacy, while `modern` takes no more"), "{text}");
}
