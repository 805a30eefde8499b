//! What a flag gives to everybody, and the shares of its split, as they stand in its rule.

use banyan::flag::{Flag, Rest, Split, VariantId};
use serde_json::{Value, json};

use crate::flagd_support::compile;

const A: Option<Rest> = Some(Rest::Variant(VariantId(0)));
const B: Option<Rest> = Some(Rest::Variant(VariantId(1)));

fn flag(state: &str, targeting: Option<Value>) -> Flag {
    let mut flag = json!({"state": state, "variants": {"a": "a", "b": "b"}, "defaultVariant": "a"});
    if let Some(targeting) = targeting {
        flag["targeting"] = targeting;
    }
    let (mut set, report) = compile(&[("f.json", &json!({"flags": {"f": flag}}).to_string())]);
    assert!(!report.has_errors(), "{report:?}");
    set.flags.remove(0)
}

fn rest(targeting: Value) -> Option<Rest> {
    flag("ENABLED", Some(targeting)).rest()
}

#[test]
fn a_flag_rests_where_everybody_gets_the_same() {
    assert_eq!(flag("ENABLED", None).rest(), A);
    assert_eq!(flag("DISABLED", None).rest(), Some(Rest::Fallback));
    assert_eq!(rest(json!({"fractional": [["b", 100], ["a", 0]]})), B);
    assert_eq!(rest(json!({"if": [{"==": [{"var": "path"}, "/1"]}, "b", {"fractional": [["b", 1]]}]})), B);
    assert_eq!(rest(json!({"if": [{"==": [{"var": "path"}, "/1"]}, "a"]})), A);
}

#[test]
fn a_flag_with_two_outcomes_or_a_computed_one_does_not_rest() {
    for targeting in [
        json!({"fractional": [["b", 99], ["a", 1]]}),
        json!({"if": [{"==": [{"var": "path"}, "/1"]}, "b"]}),
        json!({"if": [{"==": [{"var": "path"}, "/1"]}, "b", "a"]}),
        json!({"fractional": [["b", {"-": [{"var": "$flagd.timestamp"}, 7]}], ["a", 0]]}),
        json!({"var": ["header.x", "a"]}),
    ] {
        assert_eq!(rest(targeting.clone()), None, "{targeting}");
    }
}

#[test]
fn shares_are_those_of_the_first_split() {
    let split = flag("ENABLED", Some(json!({"fractional": [["b", 25], ["a", 75]]})));
    assert_eq!(split.file_shares(), Some(vec![Some(0.75), Some(0.25)]));
    let over = Split::over(&split, &[("b", "40%".parse().unwrap())]).unwrap();
    assert_eq!(split.shares_under(&over), Some(vec![Some(0.6), Some(0.4)]));
    let plain = flag("ENABLED", None);
    assert_eq!(plain.file_shares(), None);
    let over = Split::over(&plain, &[("b", "10%".parse().unwrap())]).unwrap();
    assert_eq!(plain.shares_under(&over), Some(vec![Some(0.9), Some(0.1)]));
}
