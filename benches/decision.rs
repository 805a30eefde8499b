//! How long a flag decision takes: a rule (`if`, `in`, `var`) with a `fractional`, next to `flagd-evaluation-engine`
//! and `datalogic-rs`, interleaved, medians.
//!
//! `--test` runs everything once with few rounds.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use banyan::compile::compile_flags;
use banyan::config::{ConfigFile, Report, parse};
use banyan::flag::{Context, Flag, Hashing, Value, Var};
use datalogic_rs::{Engine, Logic, ParsedData};
use flagd_evaluation_engine::Operator;
use open_feature::EvaluationContext;

/// What a decision may take in nanoseconds (issue 2).
const TARGET_NS: f64 = 200.0;
/// Different users, so that no branch is always the same.
const USERS: usize = 64;
const FLAG_KEY: &str = "orders-migration";

const RULE: &str = r#"{"if": [{"in": [{"var": "tenant"}, ["acme", "umbrella"]]}, "live",
    {"fractional": [["live", 10], ["shadow", 90]]}]}"#;
const RULE_NAMED: &str = r#"{"if": [{"in": [{"var": "tenant"}, ["acme", "umbrella"]]}, "live",
    {"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]}, ["live", 10], ["shadow", 90]]}]}"#;
/// `datalogic-rs` has `fractional` only with a feature that would change the other engine's buckets.
const RULE_PLAIN: &str = r#"{"if": [{"in": [{"var": "tenant"}, ["acme", "umbrella"]]}, "live", "shadow"]}"#;

struct User {
    key: String,
    tenant: &'static str,
}

impl Context for User {
    fn lookup<'a>(&'a self, var: &Var) -> Value<'a> {
        match &*var.name {
            "tenant" => Value::Str(self.tenant.into()),
            "targetingKey" => Value::Str(self.key.as_str().into()),
            _ => Value::Null,
        }
    }

    fn targeting_key(&self) -> Option<&str> {
        Some(&self.key)
    }

    fn now_unix_s(&self) -> i64 {
        0
    }
}

/// A way to decide, timed over all users.
struct Contender<'c> {
    name: &'static str,
    decide: Box<dyn FnMut(usize) + 'c>,
    /// Passes over all users in a round: about a millisecond's worth.
    passes: usize,
    samples_ns: Vec<f64>,
}

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (rounds, scale) = if is_test { (1, 100) } else { (101, 1) };
    let tenants = ["acme", "initech", "hooli", "initech"];
    let users: Vec<User> = (0..USERS)
        .map(|number| User { key: format!("8f14e45f-user-{number:06}"), tenant: tenants[number % tenants.len()] })
        .collect();
    let (implicit, named) = (flag(RULE), flag(RULE_NAMED));
    let theirs: Vec<EvaluationContext> = users
        .iter()
        .map(|user| EvaluationContext::default().with_targeting_key(&user.key).with_custom_field("tenant", user.tenant))
        .collect();
    let operator = Operator::new();
    let engine = Engine::new();
    let logic = engine.compile(RULE_PLAIN).expect("a rule");
    let documents: Vec<String> =
        users.iter().map(|user| format!(r#"{{"targetingKey":"{}","tenant":"{}"}}"#, user.key, user.tenant)).collect();
    let parsed: Vec<ParsedData> = documents.iter().map(|text| ParsedData::from_json(text).expect("json")).collect();

    let ours = |flag, hashing| evaluate(flag, &users, hashing);
    let mut contenders = [
        contender("banyan, implicit key, v3", 100, ours(&implicit, Hashing::V3)),
        contender("banyan, named key, v3", 100, ours(&named, Hashing::V3)),
        contender("banyan, implicit key, v2", 100, ours(&implicit, Hashing::V2)),
        contender("flagd-evaluation-engine", 4, apply(&operator, &theirs)),
        contender("datalogic-rs, no split, data parsed before", 100, evaluate_parsed(&engine, &logic, &parsed)),
        contender("datalogic-rs, no split, data as JSON", 50, evaluate_text(&engine, &logic, &documents)),
    ];
    for _ in 0..rounds {
        for contender in &mut contenders {
            contender.round(scale);
        }
    }
    report(&mut contenders, is_test);
}

fn flag(rule: &str) -> Flag {
    let text = format!(
        r#"{{"flags": {{"{FLAG_KEY}": {{"state": "ENABLED", "defaultVariant": "dualwrite", "targeting": {rule},
        "variants": {{"off": "off", "dualwrite": "dualwrite", "shadow": "shadow", "live": "live", "rampdown": "rampdown",
        "complete": "complete"}}}}}}}}"#
    );
    let mut report = Report::default();
    let file = Arc::new(ConfigFile { path: PathBuf::from("bench.json"), text });
    let document = parse(&file, &mut report).expect("a document");
    let mut set = compile_flags(&[document], 0, None, &mut report);
    assert!(!report.has_errors(), "{report:?}");
    set.flags.remove(0)
}

fn contender<'c>(name: &'static str, passes: usize, decide: impl FnMut(usize) + 'c) -> Contender<'c> {
    Contender { name, decide: Box::new(decide), passes, samples_ns: Vec::new() }
}

fn evaluate<'c>(flag: &'c Flag, users: &'c [User], hashing: Hashing) -> impl FnMut(usize) + 'c {
    move |passes| {
        for _ in 0..passes {
            for user in users {
                black_box(flag.evaluate(black_box(user), hashing));
            }
        }
    }
}

/// Its face takes the rule as text, so each decision parses and compiles it.
fn apply<'c>(operator: &'c Operator, contexts: &'c [EvaluationContext]) -> impl FnMut(usize) + 'c {
    move |passes| {
        for _ in 0..passes {
            for context in contexts {
                black_box(operator.apply(FLAG_KEY, RULE, black_box(context)).expect("a variant"));
            }
        }
    }
}

fn evaluate_parsed<'c>(engine: &'c Engine, logic: &'c Logic, parsed: &'c [ParsedData]) -> impl FnMut(usize) + 'c {
    let mut session = engine.session();
    move |passes| {
        for _ in 0..passes {
            for data in parsed {
                black_box(session.eval_borrowed(logic, black_box(data)).expect("a variant"));
                session.reset();
            }
        }
    }
}

fn evaluate_text<'c>(engine: &'c Engine, logic: &'c Logic, documents: &'c [String]) -> impl FnMut(usize) + 'c {
    let mut session = engine.session();
    move |passes| {
        for _ in 0..passes {
            for data in documents {
                black_box(session.eval_borrowed(logic, black_box(data.as_str())).expect("a variant"));
                session.reset();
            }
        }
    }
}

impl Contender<'_> {
    fn round(&mut self, scale: usize) {
        let passes = self.passes.div_ceil(scale);
        let started = Instant::now();
        (self.decide)(passes);
        self.samples_ns.push(started.elapsed().as_nanos() as f64 / (passes * USERS) as f64);
    }

    fn median_ns(&mut self) -> f64 {
        self.samples_ns.sort_by(f64::total_cmp);
        self.samples_ns[self.samples_ns.len() / 2]
    }
}

fn report(contenders: &mut [Contender<'_>], is_test: bool) {
    let medians: Vec<f64> = contenders.iter_mut().map(Contender::median_ns).collect();
    println!("{:<44} {:>10} {:>10} {:>8}", "a decision by", "median ns", "best ns", "ratio");
    for (contender, median) in contenders.iter().zip(&medians) {
        let (best, ratio) = (contender.samples_ns[0], median / medians[0]);
        println!("{:<44} {median:>10.1} {best:>10.1} {ratio:>8.2}", contender.name);
    }
    if !is_test {
        let verdict = if medians[0] <= TARGET_NS { "held" } else { "missed" };
        println!("target: at most {TARGET_NS} ns for the first line: {verdict}");
    }
}
