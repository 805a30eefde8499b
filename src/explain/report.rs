//! Owns the form of an explanation: one object for scripts, which is also what the router answers, and text for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What the router would do with a request; it has the same members whatever the outcome.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The route that takes it.
    pub route: Option<String>,
    /// The flag of the route.
    pub flag: Option<String>,
    /// The variant; `None` when the fallback serves.
    pub variant: Option<String>,
    /// Why that variant, as OpenFeature names it.
    pub reason: Option<String>,
    /// The upstream that serves.
    pub upstream: Option<String>,
    /// The upstream that serves while this one takes no more.
    pub overflow: Option<String>,
    /// Where a copy of this write goes, and under which key; `None` for what is not copied.
    #[serde(default)]
    pub copy: Option<Copy>,
    /// Why it is not copied, where somebody might expect that.
    #[serde(default)]
    pub not_copied: Option<String>,
    /// The generation that was asked.
    pub generation: u64,
    /// Why this upstream.
    pub why: Option<String>,
    /// Why there is no decision.
    pub refused: Option<String>,
    /// What went wrong in the flag.
    pub error: Option<String>,
    /// Whether a tester forced the variant by a header.
    pub forced: bool,
    /// The kind of override that decided.
    #[serde(rename = "override")]
    pub overridden: Option<String>,
    /// The slot of the targeting key.
    pub bucket: Option<Slot>,
    /// The targeting key, if the flag asked for one.
    pub targeting_key: Option<KeyOrigin>,
    /// The template of the route.
    pub path: Option<String>,
    /// The route's parameters; one that is not UTF-8 is null.
    pub params: Option<BTreeMap<String, Option<String>>>,
    /// The routes that fit and did not take it, the most specific first.
    pub considered: Vec<Other>,
    /// What each rule of the flag said.
    pub rules: Option<Vec<Step>>,
    /// What was asked about.
    pub request: Asked,
}

/// The request that was asked about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The host that was routed by.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// The client's address.
    pub client: String,
}

/// A route that was considered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Other {
    /// Its name.
    pub route: String,
    /// Its template.
    pub path: String,
    /// Why it did not take the request.
    pub why: String,
}

/// What one rule said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// How many rules it stands in.
    pub depth: usize,
    /// The rule as JSON.
    pub rule: String,
    /// What it gave.
    pub result: String,
}

/// The copy of a write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    /// The upstream that gets it.
    pub to: String,
    /// What it is about; `None` where the answer of the primary will say.
    pub entity: Option<String>,
    /// When the client is answered: `async`, `overlap`, `strict` or `sync_outcome`.
    pub mode: String,
}

/// A slot of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// The slot, below `of`.
    pub slot: u32,
    /// How many there are.
    pub of: u32,
}

/// Where the targeting key came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyOrigin {
    /// The key; `None` when the visitor has none.
    pub value: Option<String>,
    /// The source that had it, `issue` where one would be issued, or `none`.
    pub source: String,
}

impl KeyOrigin {
    /// The source of a key that the router makes.
    pub(super) const ISSUED: &str = "issue";
    /// There is no key and none is made.
    pub(super) const NONE: &str = "none";
}

impl Answer {
    /// Whether there is a decision.
    pub const fn is_decided(&self) -> bool {
        self.refused.is_none()
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings and numbers have a JSON form");
        text.push('\n');
        text
    }

    /// Lines for people; `origin` says where the generation stands.
    pub fn to_text(&self, origin: &str) -> String {
        let mut text = String::new();
        let Asked { method, host, target, client } = &self.request;
        row(&mut text, "request", &format!("{method} {target} on `{host}` from {client}"));
        match &self.refused {
            None => {
                let (route, path) = (shown(self.route.as_ref()), shown(self.path.as_ref()));
                row(&mut text, "route", &format!("{route} ({path})"));
                for (name, value) in self.params.iter().flatten() {
                    row(&mut text, "", &format!("{name} = {}", quoted(value.as_deref())));
                }
                self.others_text(&mut text);
                self.decision_text(&mut text);
            }
            Some(refused) => {
                row(&mut text, "refused", refused);
                self.others_text(&mut text);
            }
        }
        row(&mut text, "generation", &format!("{}, {origin}", self.generation));
        text
    }

    fn others_text(&self, text: &mut String) {
        for other in &self.considered {
            row(text, "", &format!("not {} ({}): {}", other.route, other.path, other.why));
        }
    }

    fn decision_text(&self, text: &mut String) {
        if let Some(flag) = &self.flag {
            row(text, "flag", flag);
            self.flag_text(text);
        }
        let upstream = shown(self.upstream.as_ref());
        row(text, "upstream", &format!("{upstream}: {}", shown(self.why.as_ref())));
        if let Some(Copy { to, entity, mode }) = &self.copy {
            let about = entity.as_deref().map_or("what its answer names".to_owned(), |entity| format!("`{entity}`"));
            row(text, "copy", &format!("to {to}, about {about} ({mode})"));
        }
        if let Some(why) = &self.not_copied {
            row(text, "copy", &format!("none: {why}"));
        }
        if let Some(overflow) = &self.overflow {
            row(text, "overflow", &format!("{overflow}, while `{upstream}` takes no more"));
        }
    }

    fn flag_text(&self, text: &mut String) {
        match &self.targeting_key {
            Some(KeyOrigin { value: Some(key), source }) => row(text, "key", &format!("{key:?} from {source}")),
            Some(KeyOrigin { source, .. }) if source == KeyOrigin::NONE => {
                let default = "a split gives it no variant, so the default variant counts";
                row(text, "key", &format!("none in the request, and `identity` issues none: {default}"));
            }
            Some(KeyOrigin { value: None, .. }) => {
                row(text, "key", "none in the request; a random one is issued in a cookie, so the slot is random");
            }
            None => {}
        }
        for (index, step) in self.rules.iter().flatten().enumerate() {
            let name = if index == 0 { "rules" } else { "" };
            let indent = " ".repeat(step.depth * 2);
            row(text, name, &format!("{indent}{} -> {}", step.rule, step.result));
        }
        if let Some(Slot { slot, of }) = self.bucket {
            row(text, "bucket", &format!("slot {slot} of {of}"));
        }
        let variant = self.variant.as_deref().unwrap_or("none");
        let error = self.error.as_ref().map_or_else(String::new, |error| format!(", {error}"));
        let by = self.overridden.as_ref().map_or_else(String::new, |kind| format!(", override {kind}"));
        row(text, "variant", &format!("{variant} ({}{error}{by})", shown(self.reason.as_ref())));
    }
}

fn row(text: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name:<11}{value}");
}

fn shown(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}

fn quoted(value: Option<&str>) -> String {
    value.map_or_else(|| "(not UTF-8)".to_owned(), |value| format!("{value:?}"))
}
