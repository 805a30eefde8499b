//! What the flagd tests share: flags from text, and a JSON document as evaluation context.

use std::path::PathBuf;
use std::sync::Arc;

use banyan::compile::{FlagSet, compile_flags};
use banyan::config::{ConfigFile, Node, Report, parse};
use banyan::flag::{Context, Flag, Value, Var};

/// A moment for `$flagd.timestamp`: 2023-11-14.
pub(crate) const NOW_UNIX_S: i64 = 1_700_000_000;

/// An evaluation context that is a JSON map, as OpenFeature has it.
#[derive(Debug, Clone)]
pub(crate) struct JsonContext(pub(crate) serde_json::Value);

impl Context for JsonContext {
    fn lookup<'a>(&'a self, var: &Var) -> Value<'a> {
        Value::from_json(&self.0).descend(&var.path)
    }

    fn targeting_key(&self) -> Option<&str> {
        self.0.get("targetingKey")?.as_str()
    }

    fn now_unix_s(&self) -> i64 {
        NOW_UNIX_S
    }
}

/// Reads a file's text as the router would.
pub(crate) fn document(name: &str, text: &str, report: &mut Report) -> Option<Node> {
    parse(&Arc::new(ConfigFile { path: PathBuf::from(name), text: text.to_owned() }), report)
}

/// Compiles flag files, findings included.
pub(crate) fn compile(files: &[(&str, &str)]) -> (FlagSet, Report) {
    let mut report = Report::default();
    let documents: Vec<Node> = files.iter().filter_map(|(name, text)| document(name, text, &mut report)).collect();
    let set = compile_flags(&documents, NOW_UNIX_S, None, &mut report);
    (set, report)
}

/// Compiles one flag with a rule, which must have no errors.
pub(crate) fn flag_with_rule(key: &str, variants: &[&str], rule: &serde_json::Value) -> Flag {
    let text = flag_text(key, variants, rule);
    let (mut set, report) = compile(&[("flags.json", &text)]);
    assert!(!report.has_errors(), "{rule}: {:?}", messages(&report));
    set.flags.remove(0)
}

/// A file with one flag.
pub(crate) fn flag_text(key: &str, variants: &[&str], rule: &serde_json::Value) -> String {
    let variants: serde_json::Map<_, _> = variants.iter().map(|name| ((*name).to_owned(), (*name).into())).collect();
    let flag = serde_json::json!({"state": "ENABLED", "variants": variants, "targeting": rule});
    serde_json::json!({"flags": {key: flag}}).to_string()
}

/// The findings as `code: message`.
pub(crate) fn messages(report: &Report) -> Vec<String> {
    report.diagnostics.iter().map(|found| format!("{}: {}", found.code, found.message)).collect()
}
