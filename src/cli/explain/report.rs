//! Owns how an explanation is shown: as text for people, as JSON for scripts.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::flag::{Bucket, OverrideKind};

/// What the router would do with a request.
pub(super) struct Answer {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) target: String,
    pub(super) client: String,
    pub(super) generation: u64,
    /// The routes that fit and did not take it, the most specific first.
    pub(super) others: Vec<Other>,
    /// The decision, or why there is none.
    pub(super) outcome: Result<Decided, String>,
}

/// A route that was considered.
pub(super) struct Other {
    pub(super) route: String,
    pub(super) path: String,
    pub(super) why: String,
}

/// A decision.
pub(super) struct Decided {
    pub(super) route: String,
    pub(super) path: String,
    /// Names and values; a value that is not UTF-8 is `None`.
    pub(super) params: Vec<(String, Option<String>)>,
    pub(super) upstream: String,
    /// Why this upstream.
    pub(super) why: String,
    /// The upstream that serves while this one takes no more.
    pub(super) overflow: Option<String>,
    pub(super) flag: Option<Outcome>,
    /// What each rule of the flag said.
    pub(super) steps: Vec<Step>,
    /// The targeting key, if the flag asked for one.
    pub(super) key: Option<KeyOrigin>,
}

/// What the flag said.
pub(super) struct Outcome {
    pub(super) flag: String,
    pub(super) variant: Option<String>,
    pub(super) reason: &'static str,
    pub(super) error: Option<&'static str>,
    pub(super) bucket: Option<Bucket>,
    pub(super) forced: bool,
    pub(super) overridden: Option<OverrideKind>,
}

/// What one rule said.
pub(super) struct Step {
    pub(super) depth: usize,
    pub(super) rule: String,
    pub(super) result: String,
}

/// Where the targeting key came from.
pub(super) enum KeyOrigin {
    /// The request has it.
    Found { source: String, key: String },
    /// The visitor has none and would get one.
    Issued,
}

impl Answer {
    pub(super) fn is_decided(&self) -> bool {
        self.outcome.is_ok()
    }

    /// One JSON object with the same members whatever the outcome.
    pub(super) fn to_json(&self) -> String {
        let decided = self.outcome.as_ref().ok();
        let flag = decided.and_then(|decided| decided.flag.as_ref());
        let key = decided.and_then(|decided| decided.key.as_ref());
        let others = self.others.iter();
        let object = json!({
            "route": decided.map(|decided| &decided.route),
            "flag": flag.map(|flag| &flag.flag),
            "variant": flag.and_then(|flag| flag.variant.as_ref()),
            "reason": flag.map(|flag| flag.reason),
            "upstream": decided.map(|decided| &decided.upstream),
            "overflow": decided.and_then(|decided| decided.overflow.as_ref()),
            "generation": self.generation,
            "why": decided.map(|decided| &decided.why),
            "refused": self.outcome.as_ref().err(),
            "error": flag.and_then(|flag| flag.error),
            "forced": flag.is_some_and(|flag| flag.forced),
            "override": flag.and_then(|flag| flag.overridden).map(OverrideKind::as_str),
            "bucket": flag.and_then(|flag| flag.bucket).map(|bucket| json!({"slot": bucket.slot, "of": bucket.of})),
            "targeting_key": key.map(KeyOrigin::to_json),
            "path": decided.map(|decided| &decided.path),
            "params": decided.map(|decided| decided.params.iter().cloned().collect::<std::collections::BTreeMap<_, _>>()),
            "considered": others.map(|other| json!({"route": other.route, "path": other.path, "why": other.why})).collect::<Vec<_>>(),
            "rules": decided.map(Decided::steps_json),
        });
        format!("{object:#}\n")
    }

    /// Lines for people.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        row(&mut text, "request", &format!("{} {} on `{}` from {}", self.method, self.target, self.host, self.client));
        match &self.outcome {
            Ok(decided) => {
                row(&mut text, "route", &format!("{} ({})", decided.route, decided.path));
                for (name, value) in &decided.params {
                    row(&mut text, "", &format!("{name} = {}", quoted(value.as_deref())));
                }
                self.others_text(&mut text);
                decided.write(&mut text);
            }
            Err(refused) => {
                row(&mut text, "refused", refused);
                self.others_text(&mut text);
            }
        }
        row(&mut text, "generation", &format!("{}, from the files", self.generation));
        text
    }

    fn others_text(&self, text: &mut String) {
        for other in &self.others {
            row(text, "", &format!("not {} ({}): {}", other.route, other.path, other.why));
        }
    }
}

impl Decided {
    fn write(&self, text: &mut String) {
        if let Some(flag) = &self.flag {
            row(text, "flag", &flag.flag);
            match &self.key {
                Some(KeyOrigin::Found { source, key }) => row(text, "key", &format!("{key:?} from {source}")),
                Some(KeyOrigin::Issued) => {
                    row(text, "key", "none in the request; a random one is issued in a cookie, so the slot is random");
                }
                None => {}
            }
            for (index, step) in self.steps.iter().enumerate() {
                let name = if index == 0 { "rules" } else { "" };
                let indent = " ".repeat(step.depth * 2);
                row(text, name, &format!("{indent}{} -> {}", step.rule, step.result));
            }
            if let Some(bucket) = flag.bucket {
                row(text, "bucket", &format!("slot {} of {}", bucket.slot, bucket.of));
            }
            let variant = flag.variant.as_deref().unwrap_or("none");
            let error = flag.error.map_or_else(String::new, |error| format!(", {error}"));
            let by = flag.overridden.map_or_else(String::new, |kind| format!(", override {}", kind.as_str()));
            row(text, "variant", &format!("{variant} ({}{error}{by})", flag.reason));
        }
        row(text, "upstream", &format!("{}: {}", self.upstream, self.why));
        if let Some(overflow) = &self.overflow {
            row(text, "overflow", &format!("{overflow}, while `{}` takes no more", self.upstream));
        }
    }

    fn steps_json(&self) -> Value {
        let steps = self.steps.iter();
        steps.map(|step| json!({"depth": step.depth, "rule": step.rule, "result": step.result})).collect()
    }
}

impl KeyOrigin {
    fn to_json(&self) -> Value {
        match self {
            Self::Found { source, key } => json!({"value": key, "source": source}),
            Self::Issued => json!({"value": null, "source": "issue"}),
        }
    }
}

fn row(text: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name:<11}{value}");
}

fn quoted(value: Option<&str>) -> String {
    value.map_or_else(|| "(not UTF-8)".to_owned(), |value| format!("{value:?}"))
}
