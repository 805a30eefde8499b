//! Every operator of flagd's targeting schema with its edges: a rule, and what it says.

use banyan::flag::{ErrorCode, Hashing, Reason};
use serde_json::{Value as Json, json};

use crate::flagd_support::{JsonContext, compile, flag_text};

/// What a rule says, as JSON: the last line of its trace.
fn say(rule: &Json) -> Json {
    let context = JsonContext(json!({
        "targetingKey": "user-1", "n": 5, "zero": 0, "empty": "", "yes": true, "version": 1.2,
        "tenant": "acme", "list": [1, 2, 3], "words": ["a", "b"], "none": [], "user": {"name": "Ada", "tags": ["x", "y"]},
        "pies": [{"filling": "apple"}, {"filling": "plum"}],
    }));
    let (set, _) = compile(&[("flags.json", &flag_text("flag", &["a"], rule))]);
    let trace = set.flags[0].explain(&context, Hashing::V3);
    assert_ne!(trace.evaluation.error, Some(ErrorCode::ParseError), "no rule: {rule}");
    // A malformed `fractional` is a plain null, which is no step.
    trace.steps.first().map_or(Json::Null, |step| serde_json::from_str(&step.result).expect("json"))
}

fn check(cases: &[(Json, Json)]) {
    for (rule, expected) in cases {
        assert_eq!(say(rule), *expected, "{rule}");
    }
}

#[test]
fn names_are_read() {
    check(&[
        (json!({"var": "tenant"}), json!("acme")),
        (json!({"var": ["tenant"]}), json!("acme")),
        (json!({"var": "user.tags.1"}), json!("y")),
        (json!({"var": "user.name.first"}), json!(null)),
        (json!({"var": ["absent", "spare"]}), json!("spare")),
        (json!({"var": ["zero", 7]}), json!(0)),
        (json!({"var": {"cat": ["ten", "ant"]}}), json!("acme")),
        (json!({"var": "$flagd.flagKey"}), json!("flag")),
        (json!({"var": "$flagd.timestamp"}), json!(1_700_000_000)),
        (json!({"missing": ["tenant", "absent", "empty"]}), json!(["absent", "empty"])),
        (json!({"missing": [{"merge": ["tenant", "absent"]}]}), json!(["absent"])),
        (json!({"missing_some": [1, ["tenant", "absent"]]}), json!([])),
        (json!({"missing_some": [2, ["tenant", "absent"]]}), json!(["absent"])),
    ]);
}

#[test]
fn conditions_branch() {
    check(&[
        (json!({"if": [true]}), json!(true)),
        (json!({"if": [false, "a"]}), json!(null)),
        (json!({"if": [false, "a", "b"]}), json!("b")),
        (json!({"if": [false, "a", true, "b", "c"]}), json!("b")),
        (json!({"if": [{"var": "none"}, "a", "b"]}), json!("b")),
        (json!({"if": ["0", "a", "b"]}), json!("a")),
        (json!({"and": [true, "a", 3]}), json!(3)),
        (json!({"and": [true, 0, 3]}), json!(0)),
        (json!({"or": [false, 0, "a"]}), json!("a")),
        (json!({"or": [false, 0]}), json!(0)),
        (json!({"!": [{"var": "none"}]}), json!(true)),
        (json!({"!": {"var": "tenant"}}), json!(false)),
        (json!({"!!": ["0"]}), json!(true)),
        (json!({"!!": [{"var": "user"}]}), json!(true)),
    ]);
}

#[test]
fn equality_converts_only_where_it_is_loose() {
    check(&[
        (json!({"==": [1, "1"]}), json!(true)),
        (json!({"==": [0, ""]}), json!(true)),
        (json!({"==": [true, "1"]}), json!(true)),
        (json!({"==": [null, 0]}), json!(false)),
        (json!({"==": [{"var": "absent"}, ""]}), json!(false)),
        (json!({"==": [{"var": "absent"}, null]}), json!(true)),
        (json!({"==": [{"var": "words"}, "a,b"]}), json!(true)),
        (json!({"==": ["x", 0]}), json!(false)),
        (json!({"!=": [1, 2]}), json!(true)),
        (json!({"===": [1, "1"]}), json!(false)),
        (json!({"===": [{"var": "words"}, ["a", "b"]]}), json!(true)),
        (json!({"!==": [1, 1.0]}), json!(false)),
        (json!({"in": ["b", {"var": "words"}]}), json!(true)),
        (json!({"in": ["ringo", "Springo"]}), json!(true)),
        (json!({"in": [{"var": "absent"}, "text"]}), json!(false)),
        (json!({"in": [null, ["a", null]]}), json!(true)),
        (json!({"in": ["a", {"var": "absent"}]}), json!(false)),
        (json!({"in": [2, {"map": [{"var": "list"}, {"*": [{"var": ""}, 2]}]}]}), json!(true)),
    ]);
}

#[test]
fn a_long_list_is_looked_up_and_says_the_same() {
    let mut long: Vec<Json> = (0..40).map(|number| json!(format!("tenant-{number}"))).collect();
    check(&[
        (json!({"in": ["tenant-39", long]}), json!(true)),
        (json!({"in": ["tenant-40", long]}), json!(false)),
        (json!({"in": [{"var": "absent"}, long]}), json!(false)),
        (json!({"in": [{"var": "n"}, long]}), json!(false)),
    ]);
    long.push(json!(5));
    check(&[(json!({"in": [{"var": "n"}, long]}), json!(true)), (json!({"in": ["5", long]}), json!(false))]);
    let rule = json!({"in": [{"var": "user.id"}, vec!["a"; 20]]});
    let (set, _) = compile(&[("flags.json", &flag_text("f", &["a"], &rule))]);
    assert_eq!(set.flags[0].vars().map(|var| &*var.name).collect::<Vec<_>>(), ["user.id"]);
    let trace = set.flags[0].explain(&JsonContext(json!({})), Hashing::V3);
    assert_eq!(trace.steps[0].rule, rule.to_string());
}

#[test]
fn order_is_by_text_or_number() {
    check(&[
        (json!({"<": [1, 2]}), json!(true)),
        (json!({"<": ["10", "9"]}), json!(true)),
        (json!({"<": ["10", 9]}), json!(false)),
        (json!({"<": ["x", 9]}), json!(false)),
        (json!({"<": [1, 2, 3]}), json!(true)),
        (json!({"<": [1, 4, 3]}), json!(false)),
        (json!({"<=": [1, 1, 3]}), json!(true)),
        (json!({">": [2, null]}), json!(true)),
        (json!({">=": [{"var": "n"}, 5]}), json!(true)),
        (json!({"max": [1, 3, 2]}), json!(3)),
        (json!({"min": [1, "0", 2]}), json!(0)),
    ]);
}

#[test]
fn numbers_are_computed() {
    check(&[
        (json!({"+": [4, 2]}), json!(6)),
        (json!({"+": ["2.5"]}), json!(2.5)),
        (json!({"-": [4, 2]}), json!(2)),
        (json!({"-": [2]}), json!(-2)),
        (json!({"*": [2, 2, 2]}), json!(8)),
        (json!({"/": [4, 8]}), json!(0.5)),
        (json!({"%": [101, 2]}), json!(1)),
        // What is no number is null to people, and no comparison holds for it.
        (json!({"+": ["x", 2]}), json!(null)),
        (json!({"<": [{"+": ["x", 2]}, 5]}), json!(false)),
        (json!({">": [{"/": [1, 0]}, 5]}), json!(true)),
    ]);
}

#[test]
fn texts_are_made_and_taken_apart() {
    check(&[
        (json!({"cat": ["I love ", 2, " ", true, null]}), json!("I love 2 true")),
        (json!({"substr": ["jsonlogic", 4]}), json!("logic")),
        (json!({"substr": ["jsonlogic", -5]}), json!("logic")),
        (json!({"substr": ["jsonlogic", 1, 3]}), json!("son")),
        (json!({"substr": ["jsonlogic", 4, -2]}), json!("log")),
        (json!({"substr": ["Äpfel", 1, 99]}), json!("pfel")),
        (json!({"substr": ["x", 5, -5]}), json!("")),
        (json!({"starts_with": [{"var": "tenant"}, "ac"]}), json!(true)),
        (json!({"ends_with": [{"var": "tenant"}, "ac"]}), json!(false)),
        (json!({"starts_with": [{"var": "n"}, "5"]}), json!(null)),
        (json!({"ends_with": ["x"]}), json!(null)),
        (json!({"sem_ver": [{"var": "version"}, "~", "v1.2.9"]}), json!(true)),
        (json!({"sem_ver": [{"var": "tenant"}, "=", "1.0.0"]}), json!(null)),
    ]);
}

#[test]
fn lists_are_gone_over() {
    check(&[
        (json!({"merge": [[1, 2], 3, [{"var": "n"}]]}), json!([1, 2, 3, 5])),
        (json!({"map": [{"var": "list"}, {"*": [{"var": ""}, 2]}]}), json!([2, 4, 6])),
        (json!({"map": [{"var": "absent"}, 1]}), json!([])),
        (json!({"filter": [{"var": "list"}, {"%": [{"var": ""}, 2]}]}), json!([1, 3])),
        (json!({"reduce": [{"var": "list"}, {"+": [{"var": "current"}, {"var": "accumulator"}]}, 10]}), json!(16)),
        (json!({"reduce": [{"var": "absent"}, 1, 0]}), json!(0)),
        (json!({"all": [{"var": "list"}, {">": [{"var": ""}, 0]}]}), json!(true)),
        (json!({"all": [[], true]}), json!(false)),
        (json!({"none": [[], true]}), json!(true)),
        (json!({"some": [{"var": "pies"}, {"==": [{"var": "filling"}, "apple"]}]}), json!(true)),
        // Inside, `var` reads the element alone.
        (json!({"map": [{"var": "list"}, {"var": "tenant"}]}), json!([null, null, null])),
        (json!({"filter": [{"var": "list"}, {"in": [{"var": ""}, [2, 3]]}]}), json!([2, 3])),
    ]);
}

#[test]
fn splits_choose_lazily_and_may_nest() {
    let all = |variant: Json| json!({"fractional": [[variant, 100], ["b", 0]]});
    check(&[
        (all(json!({"cat": ["a", "b"]})), json!("ab")),
        (all(all(json!("deep"))), json!("deep")),
        (json!({"fractional": [["a"]]}), json!("a")),
        (json!({"fractional": [["a", 0], ["b", 0]]}), json!(null)),
        (json!({"fractional": [{"var": "absent"}, ["a", 1], ["b", 1]]}), json!(null)),
        (json!({"fractional": [["a", {"var": "n"}], ["b", {"-": [{"var": "zero"}, 10]}]]}), json!("a")),
        (json!({"fractional": [["a", 12.5], ["b", 87.5]]}), json!(null)),
        (json!({"fractional": [["a", 2_147_483_647], ["b", 1]]}), json!(null)),
        (json!({"fractional": [["a", "50"], ["b", 50]]}), json!(null)),
    ]);
}

#[test]
fn a_ramp_by_the_clock_moves_with_it() {
    // From 100 s before until 100 s after the moment of the test: half of the way.
    let since = json!({"-": [{"var": "$flagd.timestamp"}, 1_699_999_900]});
    let left = json!({"-": [1_700_000_100, {"var": "$flagd.timestamp"}]});
    let rule = json!({"fractional": [["live", since], ["shadow", left]]});
    let (set, report) = compile(&[("flags.json", &flag_text("ramp", &["live", "shadow"], &rule))]);
    assert!(!report.has_errors());
    let live = (0..10_000).filter(|number| {
        let context = JsonContext(json!({"targetingKey": format!("user-{number}")}));
        let evaluation = set.flags[0].evaluate(&context, Hashing::V3);
        assert_eq!(evaluation.bucket.expect("a bucket").of, 200);
        evaluation.variant == set.flags[0].variant("live")
    });
    assert!((4_750..5_250).contains(&live.count()));
}

#[test]
fn the_names_that_a_rule_reads_are_listed() {
    let text = r#"{"flags": {"f": {"state": "ENABLED", "variants": {"a": "a"}, "targeting": {"if": [
        {"$ref": "shared"}, "a", {"fractional": [{"var": "user.id"}, [{"var": "color"}, {"var": "share"}]]}]}}},
        "$evaluators": {"shared": {"in": [{"var": "header.x-tenant"}, ["a"]]}}}"#;
    let (set, _) = compile(&[("flags.json", text)]);
    let names: Vec<_> = set.flags[0].vars().map(|var| &*var.name).collect();
    assert_eq!(names, ["header.x-tenant", "user.id", "color", "share"]);
}

#[test]
fn a_trace_shows_each_rule_with_its_outcome() {
    let text = r#"{"flags": {"orders": {"state": "ENABLED", "defaultVariant": "shadow", "variants": {"live": 1, "shadow": 2},
        "targeting": {"if": [{"in": [{"var": "tenant"}, ["umbrella"]]}, "live", {"fractional": [["live", 10], ["shadow", 90]]}]}}}}"#;
    let (set, _) = compile(&[("flags.json", text)]);
    let context = JsonContext(json!({"tenant": "acme", "targetingKey": "user-1"}));
    let trace = set.flags[0].explain(&context, Hashing::V3);
    assert_eq!(trace.evaluation, set.flags[0].evaluate(&context, Hashing::V3));
    assert_eq!(trace.evaluation.reason, Reason::TargetingMatch);
    let shown = trace.to_string();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(
        lines,
        [
            r#"{"if":[{"in":[{"var":"tenant"},["umbrella"]]},"live",{"fractional":[["live",10],["shadow",90]]}]} -> "shadow""#,
            r#"  {"in":[{"var":"tenant"},["umbrella"]]} -> false"#,
            r#"    {"var":"tenant"} -> "acme""#,
            r#"  {"fractional":[["live",10],["shadow",90]]} -> "shadow""#,
        ]
    );
}
