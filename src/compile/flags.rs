//! Owns the way from flag documents to compiled flags, with every finding about them; stricter than flagd at load.

use std::collections::HashMap;

use super::flag_warnings::FlagWarnings;
use super::rule::{Evaluators, RuleCompiler};
use super::rule_results::Results;
use crate::config::{Diagnostic, Kind, Node, Place, Report, closest};
use crate::flag::{Flag, FlagId, Rule, Variant, VariantId};

/// How many variants a flag may have: what [`VariantId`] can count.
const VARIANTS_MAX: usize = u16::MAX as usize;

/// The words that YAML 1.1 readers take for booleans.
const BOOLEAN_WORDS: [&str; 4] = ["on", "off", "yes", "no"];

/// The flags of all files.
#[derive(Debug, Default)]
pub struct FlagSet {
    /// The flags in file order; with errors in the report, what could be made of them.
    pub flags: Vec<Flag>,
    /// Flag keys to ids.
    pub ids: HashMap<Box<str>, FlagId>,
    /// The place of each flag's key.
    pub places: Vec<Place>,
}

/// Compiles the flags of all flag files.
///
/// The flags are fit to publish only when the report has no errors. A rule that cannot be compiled becomes one that
/// evaluates to `PARSE_ERROR`, as in flagd; all else that is refused here evaluates as flagd would.
pub fn compile_flags(documents: &[Node], now_unix_s: i64, previous: Option<&[Flag]>, report: &mut Report) -> FlagSet {
    for document in documents {
        check_words(document, report);
    }
    let evaluators = collect_evaluators(documents, report);
    let mut compiler = FlagCompiler {
        rules: RuleCompiler::new(&evaluators, report),
        evaluators: &evaluators,
        warnings: FlagWarnings::new(now_unix_s, previous),
        set: FlagSet::default(),
        seen: HashMap::new(),
    };
    for document in documents {
        compiler.document(document);
    }
    compiler.set
}

/// Finds unquoted `on`, `off`, `yes` and `no`, which other readers of the same file take for booleans.
fn check_words(node: &Node, report: &mut Report) {
    match &node.kind {
        Kind::Str { text, quoted: false } if BOOLEAN_WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) => {
            let message = format!("`{text}` without quotes is a boolean to YAML 1.1 readers");
            report.push(Diagnostic::error("unquoted-word", &node.place, message).help(format!("write \"{text}\"")));
        }
        Kind::List(items) => items.iter().for_each(|item| check_words(item, report)),
        Kind::Map(entries) => {
            for (key, value) in entries {
                check_words(key, report);
                check_words(value, report);
            }
        }
        _ => {}
    }
}

fn collect_evaluators<'n>(documents: &'n [Node], report: &mut Report) -> Evaluators<'n> {
    let mut evaluators = Evaluators::new();
    for section in documents.iter().filter_map(|document| document.key("$evaluators")) {
        let Some(entries) = section.as_map() else {
            let message = format!("`$evaluators` is a map of rules, not {}", section.describe());
            report.push(
                Diagnostic::error("wrong-type", &section.place, message).help("write `$evaluators: {name: rule}`"),
            );
            continue;
        };
        for (key, body) in entries {
            let name = key.as_str().unwrap_or_default();
            if let Some((first, _)) = evaluators.get(name) {
                let found = Diagnostic::error(
                    "duplicate-evaluator",
                    &key.place,
                    format!("the shared rule `{name}` stands twice"),
                );
                report.push(found.also(&first.place, "first here").help("rename or remove one of the two"));
                continue;
            }
            evaluators.insert(name, (key, body));
        }
    }
    evaluators
}

struct FlagCompiler<'n, 'r> {
    rules: RuleCompiler<'n, 'r>,
    evaluators: &'r Evaluators<'n>,
    warnings: FlagWarnings<'r>,
    set: FlagSet,
    seen: HashMap<&'n str, &'n Place>,
}

impl<'n> FlagCompiler<'n, '_> {
    fn document(&mut self, document: &'n Node) {
        if document.as_map().is_none() {
            let message = format!("a flag file is a map, not {}", document.describe());
            self.error("wrong-type", document, message, "begin with `flags:`");
            return;
        }
        self.check_keys(document, &["flags", "$evaluators", "metadata", "$schema"]);
        let set_metadata = document.key("metadata").map(|node| self.metadata(node)).unwrap_or_default();
        let Some(flags) = document.key("flags") else {
            if document.key("$evaluators").is_none() {
                self.error("missing-flags", document, "a flag file without `flags`", "add `flags:`");
            }
            return;
        };
        let Some(entries) = flags.as_map() else {
            let message = format!("`flags` is a map, not {}", flags.describe());
            self.error("wrong-type", flags, message, "write `flags: {key: {state: …, variants: …}}`");
            return;
        };
        for (key, definition) in entries {
            self.flag(key, definition, &set_metadata);
        }
    }

    fn flag(&mut self, key: &'n Node, definition: &Node, set_metadata: &Metadata) {
        let name = key.as_str().unwrap_or_default();
        if let Some(first) = self.seen.get(name) {
            let found = Diagnostic::error("duplicate-flag", &key.place, format!("the flag `{name}` stands twice"));
            self.rules.report.push(found.also(first, "first here").help("rename or remove one of the two"));
            return;
        }
        self.seen.insert(name, &key.place);
        if name.is_empty() {
            self.error("empty-key", key, "a flag's key is empty", "name the flag");
        }
        if definition.as_map().is_none() {
            let message = format!("the flag `{name}` is a map, not {}", definition.describe());
            self.error("wrong-type", definition, message, "write `{state: …, variants: …}`");
            return;
        }
        self.check_keys(definition, &["state", "variants", "defaultVariant", "targeting", "metadata"]);
        let variants = self.variants(key, definition);
        let mut metadata = set_metadata.clone();
        metadata.extend(definition.key("metadata").map(|node| self.metadata(node)).unwrap_or_default());
        let mut flag = Flag {
            key: name.into(),
            enabled: self.state(key, definition),
            variants,
            default_variant: None,
            rule: None,
            metadata,
        };
        flag.default_variant = definition.key("defaultVariant").and_then(|node| self.default_variant(node, &flag));
        flag.rule = definition.key("targeting").and_then(|node| self.targeting(node, &flag));
        self.warnings.check(&flag, key, definition, self.rules.report);
        let id = FlagId(u32::try_from(self.set.flags.len()).unwrap_or(u32::MAX));
        self.set.ids.insert(flag.key.clone(), id);
        self.set.flags.push(flag);
        self.set.places.push(key.place.clone());
    }

    fn state(&mut self, key: &Node, definition: &Node) -> bool {
        let help = "write `state: ENABLED` or `state: DISABLED`";
        match definition.key("state") {
            None => self.error("missing-state", key, "a flag without `state`", help),
            Some(node) => match node.as_str() {
                Some("ENABLED") => return true,
                Some("DISABLED") => {}
                _ => self.error("bad-state", node, "`state` is ENABLED or DISABLED", help),
            },
        }
        false
    }

    fn variants(&mut self, key: &Node, definition: &Node) -> Box<[Variant]> {
        let help = "write `variants: {name: value}`";
        let Some(node) = definition.key("variants") else {
            self.error("missing-variants", key, "a flag without `variants`", help);
            return Box::default();
        };
        let entries = match node.as_map() {
            Some(entries) if !entries.is_empty() && entries.len() <= VARIANTS_MAX => entries,
            Some([]) => {
                self.error("missing-variants", node, "a flag has at least one variant", help);
                return Box::default();
            }
            Some(_) => {
                self.error("too-large", node, format!("a flag has at most {VARIANTS_MAX} variants"), "remove some");
                return Box::default();
            }
            None => {
                let message = format!("`variants` is a map, not {}", node.describe());
                self.error("wrong-type", node, message, help);
                return Box::default();
            }
        };
        self.check_types(entries);
        entries
            .iter()
            .map(|(name, value)| Variant { name: name.as_str().unwrap_or_default().into(), value: value.to_json() })
            .collect()
    }

    /// All variants of a flag have one type, which is what its callers rely on.
    fn check_types(&mut self, entries: &[(Node, Node)]) {
        let first = entries.first().map(|(_, value)| value);
        for (name, value) in entries {
            if matches!(value.kind, Kind::Null | Kind::List(_)) {
                let message = format!("a variant's value is {}", value.describe());
                self.error("variant-type", value, message, "write a boolean, a number, a string or a map");
            } else if let Some(first) = first.filter(|first| first.describe() != value.describe()) {
                let message = format!(
                    "the variant `{}` is {}, and the first one is {}",
                    name.as_str().unwrap_or_default(),
                    value.describe(),
                    first.describe()
                );
                let found = Diagnostic::error("variant-type", &value.place, message);
                let help = "give all variants of a flag one type; put strings in quotes";
                self.rules.report.push(found.also(&first.place, "the first one").help(help));
            }
        }
    }

    fn default_variant(&mut self, node: &Node, flag: &Flag) -> Option<VariantId> {
        let name = match &node.kind {
            Kind::Null => return None,
            Kind::Str { text, .. } => text,
            _ => {
                let message = format!("`defaultVariant` is the name of a variant, not {}", node.describe());
                self.error("unknown-variant", node, message, "put the name in quotes");
                return None;
            }
        };
        let found = flag.variant(name);
        if found.is_none() {
            let names: Vec<_> = flag.variants.iter().map(|variant| &*variant.name).collect();
            self.results(flag, &names).check(node);
        }
        found
    }

    fn targeting(&mut self, node: &Node, flag: &Flag) -> Option<Rule> {
        match node.as_map() {
            Some([]) => return None,
            Some(_) => {}
            None => {
                let message = format!("`targeting` is a rule, not {}", node.describe());
                self.error("wrong-type", node, message, "write a rule as in `{if: […]}`, or leave it out");
                // flagd takes null for no rule, and anything else for one that cannot be evaluated.
                return (!matches!(node.kind, Kind::Null)).then_some(Rule { root: None });
            }
        }
        let root = self.rules.rule(node);
        let names: Vec<_> = flag.variants.iter().map(|variant| &*variant.name).collect();
        self.results(flag, &names).check(node);
        Some(Rule { root })
    }

    fn results<'c>(&'c mut self, flag: &'c Flag, variants: &'c [&'c str]) -> Results<'c, 'n> {
        Results { flag: &flag.key, variants, evaluators: self.evaluators, report: self.rules.report }
    }

    /// Metadata is flat: a string, number or boolean for each name.
    fn metadata(&mut self, node: &Node) -> Metadata {
        let Some(entries) = node.as_map() else {
            let message = format!("`metadata` is a map, not {}", node.describe());
            self.error("wrong-type", node, message, "write `metadata: {owner: team-orders}`");
            return Metadata::default();
        };
        for (_, value) in entries {
            if !matches!(value.kind, Kind::Str { .. } | Kind::Number(_) | Kind::Bool(_)) {
                let message = format!("metadata is flat, and this is {}", value.describe());
                self.error("metadata-type", value, message, "write a string, a number or a boolean");
            }
        }
        entries.iter().map(|(key, value)| (key.as_str().unwrap_or_default().to_owned(), value.to_json())).collect()
    }

    fn check_keys(&mut self, node: &Node, known: &[&str]) {
        for (key, _) in node.as_map().unwrap_or_default() {
            let name = key.as_str().unwrap_or_default();
            if !known.contains(&name) {
                let help = match closest(name, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("the keys here are {}", known.join(", ")),
                };
                self.error("unknown-key", key, format!("unknown key `{name}`"), help);
            }
        }
    }

    fn error(&mut self, code: &'static str, node: &Node, message: impl Into<String>, help: impl Into<String>) {
        self.rules.error(code, node, message, help);
    }
}

type Metadata = serde_json::Map<String, serde_json::Value>;
