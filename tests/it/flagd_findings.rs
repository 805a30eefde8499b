//! What the compiler finds in flag files: each finding with its place, all of them at once, and nothing in good files.

use std::path::Path;

use banyan::compile::compile_flags;
use banyan::config::{Node, Report, Severity};
use serde_json::{Value as Json, json};

use crate::flagd_support::{NOW_UNIX_S, compile, document, flag_text, messages};
use crate::flagd_testbed::testbed;

/// The findings as `code @ text at the place`.
fn findings(report: &Report) -> Vec<String> {
    let shown = report.diagnostics.iter().map(|found| {
        let place = found.place.as_ref().expect("a place");
        let text = &place.file.text[place.start..place.end];
        format!("{} @ {}", found.code, text.lines().next().unwrap_or_default())
    });
    shown.collect()
}

fn found(text: &str) -> Vec<String> {
    findings(&compile(&[("flags/a.yaml", text)]).1)
}

/// A file with one flag whose rule is given, in YAML's flow style.
fn rule(rule: &str) -> String {
    format!(
        "flags:\n  f:\n    state: ENABLED\n    variants: {{live: 1, shadow: 2}}\n    targeting: {rule}\n    metadata: {{owner: me}}\n"
    )
}

fn check_rule(text: &str, expected: &[&str]) {
    assert_eq!(found(&rule(text)), expected, "{text}");
}

#[test]
fn a_good_file_has_no_findings() {
    let text = r#"
$schema: https://flagd.dev/schema/v0/flags.json
flags:
  orders-migration:
    state: ENABLED
    variants: {"off": "off", dualwrite: dualwrite, shadow: shadow, live: live, rampdown: rampdown, complete: complete}
    defaultVariant: dualwrite
    targeting:
      if:
        - {in: [{var: tenant}, [acme, umbrella]]}
        - live
        - fractional: [[live, 10], [shadow, 90]]
    metadata: {owner: team-orders, expires: "2027-03-31"}
"#;
    assert_eq!(found(text), [""; 0]);
}

#[test]
fn structure_is_checked_and_all_findings_come_at_once() {
    let text = "
flags:
  a:
    state: ENABELD
    variants: {one: 1, two: true, three: [3]}
    defaultVariant: tow
    targetting: {}
    metadata: {owner: [me], expires: soon}
  b: {variants: {}}
  c: 12
metdata: {}
";
    assert_eq!(
        found(text),
        [
            "unknown-key @ metdata",
            "unknown-key @ targetting",
            "variant-type @ true",
            "variant-type @ [3]",
            "metadata-type @ [me]",
            "bad-state @ ENABELD",
            "unknown-variant @ tow",
            "no-owner @ a",
            "bad-date @ soon",
            "missing-variants @ {}",
            "missing-state @ b",
            "no-owner @ b",
            "wrong-type @ 12",
        ]
    );
}

#[test]
fn help_names_what_was_meant() {
    let (_, report) = compile(&[("a.yaml", &rule("{fractionl: [[live, 100]]}"))]);
    assert_eq!(report.diagnostics[0].help.as_deref(), Some("did you mean `fractional`?"));
    let (_, report) = compile(&[("a.yaml", &rule("{if: [true, lvie]}"))]);
    assert_eq!(messages(&report), ["unknown-variant: flag `f` has no variant `lvie`"]);
    assert_eq!(report.diagnostics[0].help.as_deref(), Some("did you mean `live`?"));
    let (_, report) = compile(&[("a.yaml", &rule("{fractional: [[live, 12.5], [shadow, 87.5]]}"))]);
    assert_eq!(report.diagnostics[0].help.as_deref(), Some("write 12.5 of 100 as 125 of 1000"));
}

#[test]
fn a_flag_that_stands_twice_names_both_places() {
    let one = "flags: {f: {state: ENABLED, variants: {a: 1}, metadata: {owner: me}}}";
    let (set, report) = compile(&[("one.yaml", one), ("two.yaml", one)]);
    assert_eq!(set.flags.len(), 1);
    assert_eq!(findings(&report), ["duplicate-flag @ f"]);
    let (also, label) = report.diagnostics[0].also.as_ref().expect("the first place");
    assert_eq!((also.file.path.as_path(), label.as_str()), (Path::new("one.yaml"), "first here"));
    let place = report.diagnostics[0].place.as_ref().expect("the second place");
    assert_eq!(place.file.path, Path::new("two.yaml"));
}

#[test]
fn words_that_others_take_for_booleans_are_quoted() {
    let text = "flags: {f: {state: ENABLED, variants: {off: Off, \"on\": \"on\"}, metadata: {owner: yes}}}";
    assert_eq!(found(text), ["unquoted-word @ off", "unquoted-word @ Off", "unquoted-word @ yes"]);
}

#[test]
fn rules_name_variants_that_there_are() {
    check_rule("{if: [true, live, shadow]}", &[]);
    check_rule("{if: [true, {var: [stage, shadow]}, null]}", &[]);
    check_rule("{if: [true, liv, {if: [false, shadwo]}]}", &["unknown-variant @ liv", "unknown-variant @ shadwo"]);
    check_rule(
        "{fractional: [[{if: [{var: x}, lve, live]}, 50], [shado, 50]]}",
        &["unknown-variant @ lve", "unknown-variant @ shado"],
    );
    check_rule("{or: [{var: x}, lif]}", &["unknown-variant @ lif"]);
    check_rule("{in: [{var: tenant}, [acme]]}", &["unknown-variant @ in"]);
    check_rule("{if: [true, true]}", &["unknown-variant @ true"]);
    check_rule("{if: [true, [live]]}", &["unknown-variant @ [live]"]);
}

#[test]
fn operators_are_checked() {
    check_rule("{foo: [1]}", &["unknown-operator @ foo"]);
    check_rule("{if: [{\"==\": [1]}, live]}", &["operand-count @ \"==\""]);
    check_rule("{if: [{in: tenant}, live]}", &["operand-count @ tenant"]);
    check_rule("{if: [{starts_with: [{var: id}, 0]}, live]}", &["operand-type @ 0"]);
    check_rule(
        "{if: [{sem_ver: [{var: v}, \"*\", \"2.0.0.0\"]}, live]}",
        &["bad-comparison @ \"*\"", "bad-version @ \"2.0.0.0\""],
    );
    check_rule("{if: [{var: $flagd.invalid}, live]}", &["unknown-property @ $flagd.invalid"]);
    check_rule(
        "{if: [{all: [{var: l}, {\"<\": [{var: $flagd.timestamp}, 1]}]}, live]}",
        &["out-of-reach @ $flagd.timestamp"],
    );
    check_rule("{if: [true, live], or: [1]}", &["several-operators @ or"]);
    check_rule("live", &["wrong-type @ live"]);
}

#[test]
fn weights_are_whole_and_add_up() {
    check_rule("{fractional: [[live, 12.5], [shadow, 87.5]]}", &["bad-weight @ 12.5", "bad-weight @ 87.5"]);
    check_rule("{fractional: [[live, \"10\"], [shadow, -1]]}", &["bad-weight @ \"10\"", "bad-weight @ -1"]);
    check_rule(
        "{fractional: [[live, 3000000000], [shadow, 1]]}",
        &["bad-weight @ 3000000000", "bad-weight @ [[live, 3000000000], [shadow, 1]]"],
    );
    check_rule("{fractional: [[live, 2147483647], [shadow, 1]]}", &["bad-weight @ [[live, 2147483647], [shadow, 1]]"]);
    check_rule("{fractional: [[live, 10], [shadow, 80]]}", &["weight-sum @ [[live, 10], [shadow, 80]]"]);
    check_rule("{fractional: [[live, 0], [shadow, 0]]}", &["weight-sum @ [[live, 0], [shadow, 0]]"]);
    check_rule("{fractional: [[live, 0], [shadow, 100000]]}", &[]);
    check_rule("{fractional: [[live], [shadow]]}", &[]);
    check_rule("{fractional: [[live, {var: share}], [shadow, 100]]}", &[]);
    check_rule("{fractional: [everybody, [live, 50], [shadow, 50]]}", &["constant-seed @ everybody"]);
    check_rule("{fractional: [[live, 10, 20], [shadow, 90]]}", &["bad-pair @ [live, 10, 20]"]);
    check_rule("{fractional: {}}", &["bad-pair @ {}"]);
}

#[test]
fn references_are_resolved_across_files_and_do_not_nest() {
    let shared = "$evaluators:\n  staff: {ends_with: [{var: email}, \"@example.com\"]}\n  twice: {\"$ref\": staff}\n";
    let user = rule("{if: [{\"$ref\": staff}, live, {if: [{\"$ref\": stuff}, shadow]}]}");
    let (set, report) = compile(&[("flags.yaml", &user), ("shared.yaml", shared)]);
    assert_eq!(findings(&report), ["nested-ref @ staff", "unresolved-ref @ stuff"]);
    assert_eq!(set.flags.len(), 1);
    let (_, report) = compile(&[("one.yaml", shared), ("two.yaml", shared)]);
    let twice = findings(&report).into_iter().filter(|shown| shown.starts_with("duplicate-evaluator"));
    assert_eq!(twice.collect::<Vec<_>>(), ["duplicate-evaluator @ staff", "duplicate-evaluator @ twice"]);
}

#[test]
fn results_of_shared_rules_are_checked_for_each_flag() {
    let shared = "$evaluators: {stage: {if: [{var: beta}, live, shaddow]}}\n";
    let (_, report) = compile(&[("flags.yaml", &rule("{\"$ref\": stage}")), ("shared.yaml", shared)]);
    assert_eq!(findings(&report), ["unknown-variant @ shaddow"]);
}

#[test]
fn dates_expire_when_the_day_is_over() {
    // NOW is 2023-11-14, 22:13 UTC.
    let file = |date: &str| {
        format!("flags: {{f: {{state: ENABLED, variants: {{a: 1}}, metadata: {{owner: me, expires: \"{date}\"}}}}}}")
    };
    assert_eq!(found(&file("2023-11-14")), [""; 0]);
    assert_eq!(found(&file("2023-11-13")), ["expired @ \"2023-11-13\""]);
    assert_eq!(found(&file("2024-02-29")), [""; 0]);
    for wrong in ["2023-02-29", "2023-13-01", "2023-1-1", "tomorrow", "2023-11-14-1"] {
        assert_eq!(found(&file(wrong)), [format!("bad-date @ \"{wrong}\"")]);
    }
}

#[test]
fn swapped_pairs_are_noticed_during_a_ramp() {
    let nodes = |text: &str| -> Vec<Node> { document("a.yaml", text, &mut Report::default()).into_iter().collect() };
    let before = rule("{fractional: [[live, 10], [shadow, 90]]}");
    let mut report = Report::default();
    let previous = compile_flags(&nodes(&before), NOW_UNIX_S, None, &mut report);
    let again = |text: &str| {
        let mut report = Report::default();
        compile_flags(&nodes(&rule(text)), NOW_UNIX_S, Some(&previous.flags), &mut report);
        findings(&report)
    };
    assert_eq!(again("{fractional: [[live, 50], [shadow, 50]]}"), [""; 0]);
    let swapped = "{fractional: [[shadow, 50], [live, 50]]}";
    assert_eq!(again(swapped), [format!("reordered-pairs @ {swapped}")]);
}

/// Reads the schema's own examples, which the crate of the test bed carries.
fn schema_examples(kind: &str, verdict: &str) -> Vec<(String, Json)> {
    let folder = testbed().parent().expect("the crate").join("schemas/json/test").join(kind).join(verdict);
    let mut examples: Vec<_> = std::fs::read_dir(&folder)
        .expect("the examples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("an example");
            (
                path.file_name().expect("a name").to_string_lossy().into_owned(),
                serde_json::from_str(&text).expect("json"),
            )
        })
        .collect();
    examples.sort_by(|(left, _), (right, _)| left.cmp(right));
    examples
}

fn errors(report: &Report) -> Vec<String> {
    let errors = report.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    errors.map(|found| format!("{}: {}", found.code, found.message)).collect()
}

#[test]
fn what_the_schema_takes_and_refuses_we_take_and_refuse() {
    let mut judged = 0;
    for (name, example) in schema_examples("flags", "positive") {
        // flagd's daemon alone takes a list of flags; providers and this router take a map.
        let is_list = example["flags"].is_array();
        let (_, report) = compile(&[(&name, &example.to_string())]);
        assert_eq!(errors(&report).is_empty(), !is_list, "{name}: {:?}", errors(&report));
        judged += 1;
    }
    for (name, example) in schema_examples("flags", "negative") {
        let (_, report) = compile(&[(&name, &example.to_string())]);
        assert!(report.has_errors(), "{name}");
        judged += 1;
    }
    for (name, rule) in schema_examples("targeting", "positive") {
        let shared = r#"{"$evaluators": {"some-ref": {"==": [1, 1]}}}"#;
        let (_, report) = compile(&[(&name, &flag_text("f", &["a"], &rule)), ("shared.json", shared)]);
        assert_eq!(errors(&report), [""; 0], "{name}");
        judged += 1;
    }
    for (name, rule) in schema_examples("targeting", "negative") {
        let wrapped = json!({"if": [{"!!": [rule]}, "a"]});
        let (_, report) = compile(&[(&name, &flag_text("f", &["a"], &wrapped))]);
        assert!(report.has_errors(), "{name}");
        judged += 1;
    }
    println!("flagd's schema examples: {judged} judged");
    assert!(judged >= 28);
}
