//! The vectors of `fixtures/fractional.json`, made by running the published packages, through whole flag files.

use banyan::flag::{Bucket, Context, Flag, Hashing};
use serde_json::{Value as Json, json};

use crate::flagd_support::{JsonContext, flag_with_rule};

const VECTORS: &str = include_str!("../fixtures/fractional.json");

fn vectors() -> Json {
    serde_json::from_str(VECTORS).expect("the fixture")
}

#[test]
fn every_vector_gives_its_bucket_and_variant() {
    let vectors = vectors();
    let mut checked = 0;
    for (key, form) in vectors["flags"].as_object().expect("flags") {
        let flag = vector_flag(key, form);
        for vector in form["vectors"].as_array().expect("vectors") {
            let context = JsonContext(json!({"targetingKey": vector["targetingKey"]}));
            let [v2, v3] = [(Hashing::V2, "v2"), (Hashing::V3, "v3")].map(|(hashing, name)| {
                let evaluation = flag.evaluate(&context, hashing);
                let variant = &flag.variants[usize::from(evaluation.variant.expect("a variant").0)].name;
                assert_eq!(vector[name]["variant"], **variant, "{key} {name} {vector}");
                let slot = u32::try_from(vector[name]["bucket"].as_u64().expect("a bucket")).expect("a slot");
                let of = u32::try_from(form["totalWeight"].as_u64().expect("a sum")).expect("a sum");
                assert_eq!(evaluation.bucket, Some(Bucket { slot, of }), "{key} {name} {vector}");
                checked += 1;
                evaluation.variant
            });
            assert_eq!(vector["same_variant"], v2 == v3);
        }
        let agreement = &vectors["agreement"][key];
        let same = form["vectors"].as_array().expect("vectors").iter().filter(|vector| vector["same_variant"] == true);
        assert_eq!(agreement["v2_equals_v3"], same.count());
    }
    println!("fractional vectors: {checked} results");
    assert_eq!(checked, 120);
}

fn vector_flag(key: &str, form: &Json) -> Flag {
    let pairs = form["distribution"].as_array().expect("pairs");
    let names: Vec<_> = pairs.iter().map(|pair| pair[0].as_str().expect("a name")).collect();
    let seed = json!({"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]});
    let explicit = form["form"].as_str().expect("a form").starts_with("explicit");
    let operands: Vec<_> = explicit.then_some(seed).into_iter().chain(pairs.iter().cloned()).collect();
    flag_with_rule(key, &names, &json!({"fractional": operands}))
}

/// A context with nothing but a targeting key, for runs over many.
pub(crate) struct KeyContext(pub(crate) String);

impl Context for KeyContext {
    fn lookup<'a>(&'a self, var: &banyan::flag::Var) -> banyan::flag::Value<'a> {
        match &*var.name {
            "targetingKey" => banyan::flag::Value::Str(self.0.as_str().into()),
            _ => banyan::flag::Value::Null,
        }
    }

    fn targeting_key(&self) -> Option<&str> {
        Some(&self.0)
    }

    fn now_unix_s(&self) -> i64 {
        0
    }
}
