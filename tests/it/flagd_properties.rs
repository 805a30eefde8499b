//! What must hold for every split: sticky, monotone, fair, the same in every process, and without an allocation.

use std::process::Command;

use banyan::flag::{ErrorCode, Evaluation, Flag, Hashing, Reason};
use proptest::prelude::*;
use serde_json::json;

use crate::flagd_support::{JsonContext, compile, flag_text, flag_with_rule};
use crate::flagd_vectors::KeyContext;

const GENERATIONS: [Hashing; 2] = [Hashing::V3, Hashing::V2];

fn split(pairs: &[(&str, u32)]) -> Flag {
    let operands: Vec<_> = pairs.iter().map(|(name, weight)| json!([name, weight])).collect();
    let names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
    flag_with_rule("ramp", &names, &json!({"fractional": operands}))
}

/// The variant's position.
fn choose(flag: &Flag, key: &str, hashing: Hashing) -> usize {
    let context = KeyContext(key.to_owned());
    usize::from(flag.evaluate(&context, hashing).variant.expect("a variant").0)
}

proptest! {
    #[test]
    fn raising_the_first_weight_takes_nobody_back(key in ".{1,60}", low in 0_u32..=100, more in 0_u32..=100, scale in 1_u32..=1000) {
        let high = low.saturating_add(more).min(100);
        let [before, after] = [low, high].map(|share| split(&[("modern", share * scale), ("legacy", (100 - share) * scale)]));
        for hashing in GENERATIONS {
            if choose(&before, &key, hashing) == 0 {
                prop_assert_eq!(choose(&after, &key, hashing), 0);
            }
        }
    }

    #[test]
    fn zero_is_nobody_and_all_is_everybody(key in ".{1,60}") {
        let [none, all] = [split(&[("modern", 0), ("legacy", 100)]), split(&[("modern", 100), ("legacy", 0)])];
        for hashing in GENERATIONS {
            prop_assert_eq!(choose(&none, &key, hashing), 1);
            prop_assert_eq!(choose(&all, &key, hashing), 0);
        }
    }

    #[test]
    fn any_weights_are_survived(weights in prop::collection::vec(any::<f64>(), 1..20), key in ".{0,30}") {
        let operands: Vec<_> = weights.iter().map(|weight| json!(["a", weight])).collect();
        let (set, _) = compile(&[("flags.json", &flag_text("any", &["a"], &json!({"fractional": operands})))]);
        for hashing in GENERATIONS {
            let evaluation = set.flags[0].evaluate(&KeyContext(key.clone()), hashing);
            prop_assert!(matches!(evaluation.reason, Reason::TargetingMatch | Reason::Default));
        }
    }
}

#[test]
fn keys_at_the_ends_of_the_hash_fall_inside() {
    // The hashes of generation 2 for these are 0, 1, 2^31 - 1, 2^31 and 2^32 - 1 (fixtures/fractional.json).
    let rule = json!({"fractional": [{"var": "targetingKey"}, ["lower", 50], ["upper", 50]]});
    let flag = flag_with_rule("edges", &["lower", "upper"], &rule);
    let slots = ["ejOoVL", "bY9fO-", "SI7p-", "6LvT0", "ceQdGm"]
        .map(|key| flag.evaluate(&KeyContext(key.to_owned()), Hashing::V2).bucket.expect("a bucket").slot);
    assert_eq!(slots, [0, 0, 49, 50, 99]);
    let largest = json!({"fractional": [{"var": "targetingKey"}, ["lower", 1], ["upper", i32::MAX - 1]]});
    let flag = flag_with_rule("edges", &["lower", "upper"], &largest);
    let last = flag.evaluate(&KeyContext("ceQdGm".to_owned()), Hashing::V2).bucket.expect("a bucket");
    assert_eq!((last.slot, last.of), (i32::MAX as u32 - 1, i32::MAX as u32));
}

#[test]
fn shares_of_a_million_keys_are_within_binomial_bounds() {
    const KEYS: usize = 1_000_000;
    let weights = [1_u32, 9, 40, 950];
    let names = ["a", "b", "c", "d"];
    let pairs: Vec<_> = names.into_iter().zip(weights).collect();
    let flag = split(&pairs);
    for hashing in GENERATIONS {
        let mut counts = [0_usize; 4];
        for number in 0..KEYS {
            counts[choose(&flag, &format!("user-{number}"), hashing)] += 1;
        }
        println!("{hashing:?}: {counts:?} of {KEYS}");
        for (count, weight) in counts.into_iter().zip(weights) {
            let share = f64::from(weight) / 1000.0;
            let mean = KEYS as f64 * share;
            // Five standard deviations: the keys are fixed, so this either holds for ever or never.
            let bound = 5.0 * (mean * (1.0 - share)).sqrt();
            assert!((count as f64 - mean).abs() < bound, "{hashing:?}: {count} of {mean} ± {bound}");
        }
    }
}

#[test]
fn a_ramp_of_a_million_users_moves_as_the_published_packages_say() {
    // `population_check` of fixtures/fractional.json; its users have other keys, so the count is compared by bounds.
    let fixture: serde_json::Value = serde_json::from_str(include_str!("../fixtures/fractional.json")).expect("json");
    let check = &fixture["population_check"];
    let flag = |pairs: [(&str, u32); 2]| {
        let operands = pairs.map(|(name, weight)| json!([name, weight]));
        flag_with_rule("checkout-route", &["new", "legacy"], &json!({"fractional": operands}))
    };
    let ten = flag([("new", 10), ("legacy", 90)]);
    let quarter = flag([("new", 25), ("legacy", 75)]);
    let (mut lost, mut gained) = (0_u64, 0_u64);
    for number in 1..=check["users"].as_u64().expect("users") {
        let key = format!("user-{number}");
        let [before, after] = [&ten, &quarter].map(|flag| choose(flag, &key, Hashing::V3) == 0);
        lost += u64::from(before && !after);
        gained += u64::from(!before && after);
    }
    let expected = &check["ramp_10_to_25_new_listed_first"];
    println!("ramp 10 % to 25 %: {lost} lost, {gained} gained; expected {expected}");
    assert_eq!(expected["lost"], lost);
    // Five standard deviations of the difference of two such counts.
    assert!(gained.abs_diff(expected["gained"].as_u64().expect("a count")) < 2_525);
}

/// A digest of which variant 20,000 keys get; it changes only if somebody's users change sides.
const DIGEST: u64 = 8_596_860_142_138_267_526;

fn digest() -> u64 {
    let flag = split(&[("a", 10), ("b", 20), ("c", 30), ("d", 40)]);
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for hashing in GENERATIONS {
        for number in 0..10_000 {
            let chosen = choose(&flag, &format!("user-{number}"), hashing) as u64;
            digest = (digest ^ chosen).wrapping_mul(0x0100_0000_01b3);
        }
    }
    digest
}

#[test]
fn every_process_gives_the_same_result() {
    println!("digest={}", digest());
    assert_eq!(digest(), DIGEST);
    if std::env::var_os("BANYAN_DIGEST_CHILD").is_some() {
        return;
    }
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["flagd_properties::every_process_gives_the_same_result", "--exact", "--nocapture"])
        .env("BANYAN_DIGEST_CHILD", "1")
        .output()
        .expect("a second process");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains(&format!("digest={DIGEST}\n")), "{printed}");
}

#[test]
fn a_rule_with_a_split_evaluates_without_allocating() {
    let in_list = json!({"in": [{"var": "tenant"}, ["acme", "umbrella"]]});
    let named = json!({"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]});
    let pairs = [json!(["live", 10]), json!(["shadow", 90])];
    let version = json!({"sem_ver": [{"var": "version"}, ">=", "1.2.0"]});
    let ramp = json!({"-": [{"var": "$flagd.timestamp"}, 1_699_999_990]});
    let rules = [
        json!({"if": [in_list, "live", {"fractional": pairs}]}),
        json!({"if": [{"==": [{"var": "tenant"}, "acme"]}, "live", {"fractional": [named, pairs[0], pairs[1]]}]}),
        json!({"if": [{"starts_with": [{"var": "tenant"}, "um"]}, "live", {"fractional": [{"var": "tenant"}, pairs[0], pairs[1]]}]}),
        json!({"if": [version, {"fractional": [["live", ramp], ["shadow", 90]]}, "shadow"]}),
    ];
    let context = JsonContext(json!({"targetingKey": "user-4711", "tenant": "initech", "version": "1.4.2"}));
    for rule in rules {
        let flag = flag_with_rule("orders-migration", &["live", "shadow"], &rule);
        for hashing in GENERATIONS {
            let mut evaluation = None;
            let counted = allocation_counter::measure(|| evaluation = Some(flag.evaluate(&context, hashing)));
            let evaluation = evaluation.expect("an evaluation");
            assert_eq!(evaluation.reason, Reason::TargetingMatch, "{rule}");
            assert!(evaluation.bucket.is_some(), "{rule}");
            assert_eq!(counted.count_total, 0, "{rule}, {hashing:?}");
        }
    }
}

fn evaluate(rule: &serde_json::Value) -> Evaluation {
    let (set, _) = compile(&[("flags.json", &flag_text("hostile", &["a"], rule))]);
    set.flags[0].evaluate(&KeyContext("user".to_owned()), Hashing::V3)
}

#[test]
fn a_rule_that_does_too_much_ends_in_an_error() {
    let hundred: Vec<u32> = (0..100).collect();
    let accumulator = json!({"var": "accumulator"});
    let many = vec![accumulator.clone(); 50];
    let rules = [
        // 100 million additions.
        json!({"map": [hundred, {"map": [hundred, {"map": [hundred, {"map": [hundred, {"+": [1, 2]}]}]}]}]}),
        // A text of 2^100 characters.
        json!({"reduce": [hundred, {"cat": [accumulator, accumulator]}, "aa"]}),
        // The same from many at once, hashed instead of kept.
        json!({"reduce": [hundred, {"fractional": [{"cat": many}, [{"cat": many}]]}, "aa"]}),
        // A list of 2^100 items.
        json!({"reduce": [hundred, {"merge": [accumulator, accumulator]}, [1, 2]]}),
        // A list in a list, 100 deep.
        json!({"reduce": [hundred, [accumulator], [1]]}),
    ];
    for rule in rules {
        let evaluation = evaluate(&rule);
        assert_eq!((evaluation.reason, evaluation.error), (Reason::Error, Some(ErrorCode::General)), "{rule}");
    }
}

#[test]
fn a_rule_at_the_depth_limit_is_evaluated() {
    let nested = |levels: usize, head: &str, leaf: &str, tail: &str| {
        format!("{}{leaf}{}", head.repeat(levels), tail.repeat(levels))
    };
    // A shared rule adds its own depth; `reduce` takes the most stack.
    let shared = nested(61, r#"{"reduce":[[1],"#, r#"{"var":"current"}"#, ",0]}");
    let rule = nested(58, r#"{"if":[true,"#, r#"{"if":[{"$ref":"shared"},"a"]}"#, "]}");
    let flag = r#"{"state":"ENABLED","variants":{"a":1},"targeting":"#;
    let text = format!(r#"{{"flags":{{"deep":{flag}{rule}}}}},"$evaluators":{{"shared":{shared}}}}}"#);
    let (set, report) = compile(&[("flags.json", &text)]);
    assert!(!report.has_errors(), "{:?}", report.diagnostics[0].message);
    let evaluation = set.flags[0].evaluate(&KeyContext("user".to_owned()), Hashing::V3);
    assert_eq!(evaluation.reason, Reason::TargetingMatch);
    // Far deeper is refused by the reader, whatever the stack would bear.
    let deep = format!(r#"{{"flags":{{"deep":{}1{}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let (set, report) = compile(&[("flags.json", &deep)]);
    assert!(set.flags.is_empty() && report.has_errors());
}
