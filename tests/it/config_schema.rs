//! The JSON Schemas against the files that the router reads, its own diagnostics, and flagd's example files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use banyan::compile::{self, Options};
use banyan::config::{self, ConfigFile, FileSet, Format, Report, Severity};
use jsonschema::Validator;
use serde_json::Value;

fn schema(name: &str) -> Validator {
    let text = match name {
        "flags" => include_str!("../../schemas/flags.json"),
        _ => include_str!("../../schemas/routes.json"),
    };
    jsonschema::draft7::new(&serde_json::from_str(text).unwrap()).unwrap()
}

/// A YAML text as JSON, read by our own reader.
fn json(text: &str) -> Value {
    let mut report = Report::default();
    let file = Arc::new(ConfigFile { path: "a.yaml".into(), text: text.into() });
    config::parse(&file, &mut report).unwrap_or_else(|| panic!("{text}")).to_json()
}

fn errors(schema: &Validator, value: &Value) -> Vec<String> {
    schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path)).collect()
}

#[test]
fn the_schemas_are_schemas() {
    for text in [include_str!("../../schemas/flags.json"), include_str!("../../schemas/routes.json")] {
        assert!(jsonschema::draft7::meta::is_valid(&serde_json::from_str(text).unwrap()));
    }
}

#[test]
fn the_shipped_files_are_valid() {
    for kind in ["flags", "routes"] {
        let schema = schema(kind);
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind);
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let value = json(&std::fs::read_to_string(&path).unwrap());
            assert_eq!(errors(&schema, &value), [""; 0], "{}", path.display());
        }
    }
}

#[test]
fn broken_flag_files_are_not_valid() {
    let schema = schema("flags");
    let flag = |inner: &str| format!("flags: {{a: {{state: ENABLED, variants: {{x: x, y: y}}, {inner}}}}}");
    assert!(errors(&schema, &json(&flag("defaultVariant: x"))).is_empty());
    for broken in [
        "{}",
        "flags: []",
        "flag: {}",
        "flags: {a: {variants: {x: x}}}",
        "flags: {a: {state: ON, variants: {x: x}}}",
        "flags: {a: {state: ENABLED, variants: {}}}",
        "flags: {a: {state: ENABLED, variants: {x: x, y: 1}}}",
        &flag("defualtVariant: x"),
        &flag("metadata: {a: {b: c}}"),
        &flag("targeting: {fractoinal: [[x, 1], [y, 1]]}"),
        &flag("targeting: {fractional: [[x, 12.5], [y, 87.5]]}"),
        &flag("targeting: {if: [true, x], and: [true]}"),
        &flag("targeting: {sem_ver: [{var: v}, \"=>\", 1.0.0]}"),
        &flag("targeting: {var: $flagd.nothing}"),
        &flag("targeting: {starts_with: [{var: v}]}"),
    ] {
        assert!(!schema.is_valid(&json(broken)), "{broken}");
    }
    for fine in [
        "targeting: {}",
        "targeting: {$ref: shared}",
        "targeting: {fractional: [{var: email}, [x, 1], [y, {\"-\": [100, {var: w}]}]]}",
        "targeting: {fractional: [{cat: [{var: $flagd.flagKey}, {var: email}]}, [x], [y]]}",
        "targeting: {if: [{in: [{var: header.x-beta}, [a, b]]}, x, null]}",
        "defaultVariant: null",
    ] {
        assert_eq!(errors(&schema, &json(&flag(fine))), [""; 0], "{fine}");
    }
}

#[test]
fn broken_route_files_are_not_valid() {
    let schema = schema("routes");
    let upstream = |inner: &str| format!("upstreams: {{a: {{{inner}}}}}");
    let route = |inner: &str| format!("routes: [{{name: a, match: {{path: /}}, {inner}}}]");
    for broken in [
        "route: []",
        "routes: {}",
        "identity: {}",
        "identity: {targeting_key: [headr:x]}",
        "context: {tenant: x-tenant}",
        "force: {header: x}",
        &upstream("endpoints: []"),
        &upstream("endpoints: [\"h2c://a:1\"]"),
        &upstream("endpoints: [\"a:1\"], protocol: h3"),
        &upstream("endpoints: [\"a:1\"], proxy_protocol: v3"),
        &upstream("endpoints: [\"a:1\"], connect_timeout_ms: 0"),
        &upstream("endpoints: [\"a:1\"], conect_timeout_ms: 5"),
        &upstream("endpoints: [\"a:1\"], health: {interval_ms: 1000}"),
        &upstream("endpoints: [\"a:1\"], health: {path: healthz}"),
        &upstream("endpoints: [\"a:1\"], health: {path: /, expect_status: 2xx}"),
        &upstream("endpoints: [\"a:1\"], all_unhealthy: hide"),
        &upstream("endpoints: [\"a:1\"], eject_share_max_percent: 0"),
        &upstream("endpoints: [\"a:1\"], requests_max: 0"),
        &upstream("endpoints: [\"a:1\"], copies: {per_s_max: 0}"),
        &upstream("endpoints: [\"a:1\"], copies: {in_flight_max: 1025}"),
        &upstream("endpoints: [\"a:1\"], copies: {mode: strict}"),
        &route("upstream: a, overflow: fallback"),
        &route("migration: {legacy: a, modern: b}, flag: f, overflow: legacy"),
        &route("flag: f"),
        &route("upstream: a, flag: f"),
        &route("upstream: a, variants: {x: a}, flag: f, fallback: a"),
        &route("variants: {x: a}, flag: f"),
        &route("variants: {x: {copy_writes: a}}, flag: f, fallback: a"),
        &route("migration: {legacy: a}, flag: f"),
        &route("migration: {legacy: a, modern: b}, flag: f, fallback: live"),
        "routes: [{name: a, match: {}, upstream: a}]",
        "routes: [{name: a, match: {path: a}, upstream: a}]",
        "routes: [{name: a, match: {path: /, methods: [get]}, upstream: a}]",
        "routes: [{match: {path: /}, upstream: a}]",
    ] {
        assert!(!schema.is_valid(&json(broken)), "{broken}");
    }
    for fine in [
        route(
            "variants: {x: {serve: a, copy_writes: b, compare_reads: b}, y: a}, flag: f, fallback: a, websocket: true",
        ),
        route("migration: {legacy: a, modern: b}, flag: f, fallback: dualwrite, body_bytes_max: 1"),
        route("migration: {legacy: a, modern: b}, flag: f, overflow: fallback"),
        upstream("endpoints: [\"a:1\"], copies: {per_s_max: 1, in_flight_max: 1024}"),
        upstream(
            "endpoints: [\"a:1\"], health: {path: /, host: a, expect_status: 204}, requests_max: 1, all_unhealthy: refuse",
        ),
        upstream(
            "endpoints: [\"a:1\"], health: {path: \"/?x=1\", timeout_ms: 10, healthy_after: 1, unhealthy_after: 1, expect_status: 200-399}",
        ),
        upstream(
            "endpoints: [\"a:1\"], eject_ms_max: 1, eject_share_max_percent: 100, eject_on_5xx: true, slow_start_ms: 0",
        ),
        upstream(
            "endpoints: [\"http://a:1\", \"[::1]:2\"], rewrite: {path_prefix: {from: /a, to: /}, set_headers: {x: y}}",
        ),
        "routes: [{name: a, match: {host: \"*.a\", headers: {x: {present: true}, y: z}, query: {q: v}}, upstream: a}]"
            .into(),
    ] {
        assert_eq!(errors(&schema, &json(&fine)), [""; 0], "{fine}");
    }
}

/// Where cargo keeps flagd's schema with its example files.
fn flagd_examples() -> PathBuf {
    let metadata = cargo_metadata::MetadataCommand::new().other_options(vec!["--offline".into()]).exec().unwrap();
    let package = metadata.packages.iter().find(|package| package.name.as_str() == "open-feature-flagd").unwrap();
    package.manifest_path.parent().unwrap().join("schemas/json/test/flags").into()
}

#[test]
fn flagds_own_examples_are_judged_as_flagd_judges_them() {
    let schema = schema("flags");
    let mut judged = 0;
    for (folder, valid) in [("positive", true), ("negative", false)] {
        for entry in std::fs::read_dir(flagd_examples().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let value: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            // The daemon's list form is not read: a map cannot hold a key twice.
            let valid = valid && !value["flags"].is_array();
            assert_eq!(schema.is_valid(&value), valid, "{}: {:?}", path.display(), errors(&schema, &value));
            judged += 1;
        }
    }
    println!("{judged} example files of flagd judged alike");
    assert!(judged >= 15, "only {judged} example files found");
}

/// What `check` says about a flag file beside one plain route; without warnings, such as that no route uses a flag.
fn refusals(flags: &str) -> Vec<String> {
    let routes = "upstreams: {a: {endpoints: [\"127.0.0.1:1\"]}}\nroutes: [{name: a, match: {path: /}, upstream: a}]\n";
    let flags = FileSet::from_texts("flags", [("a.json", flags)]);
    let outcome =
        compile::compile(&flags, &FileSet::from_texts("routes", [("a.yaml", routes)]), &Options::default(), None);
    let errors = outcome.report.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    assert_eq!(outcome.draft.is_none(), outcome.report.has_errors());
    let rendered = Report { diagnostics: errors.cloned().collect() }.render(Format::Text { colour: false });
    if rendered.is_empty() { Vec::new() } else { vec![rendered] }
}

#[test]
fn the_router_refuses_what_flagds_schema_refuses() {
    for (folder, valid) in [("positive", true), ("negative", false)] {
        for entry in std::fs::read_dir(flagd_examples().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            let valid = valid && !value["flags"].is_array();
            let refused = refusals(&text);
            // Stricter than flagd where design 3.1 says so; never laxer.
            assert!(!refused.is_empty() || valid, "{} was accepted", path.display());
            if valid && !refused.is_empty() {
                println!("stricter about {}:\n{}", path.display(), refused[0]);
            }
        }
    }
}

#[test]
fn what_the_schema_refuses_the_router_refuses() {
    let schema = schema("flags");
    let flag = |inner: &str| {
        format!("flags: {{a: {{state: ENABLED, variants: {{x: x, y: y}}, defaultVariant: x, {inner}}}}}\n")
    };
    for inner in [
        "extra: 1",
        "metadata: {a: [1]}",
        "targeting: {unknown: [1]}",
        "targeting: {if: [true, x], and: [true]}",
        "targeting: {fractional: [[x, 12.5], [y, 87.5]]}",
        "targeting: {fractional: []}",
        "targeting: {fractional: [[x, 1, 2], [y, 1]]}",
        "targeting: {sem_ver: [{var: v}, \"=>\", 1.0.0]}",
        "targeting: {starts_with: [{var: v}]}",
        "targeting: {\"==\": [1]}",
        "targeting: {$ref: 1}",
    ] {
        let text = flag(inner);
        assert!(!schema.is_valid(&json(&text)), "the schema accepts {inner}");
        assert!(!refusals(&text).is_empty(), "the router accepts {inner}");
    }
}
