//! Owns the check that what a rule can say is the name of a variant.

use super::rule::Evaluators;
use crate::config::{Diagnostic, Kind, Node, Report, closest};

/// Operators that give true or false whatever their operands are.
const BOOLEAN: [&str; 17] = [
    "==",
    "===",
    "!=",
    "!==",
    "!",
    "!!",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    "all",
    "none",
    "some",
    "starts_with",
    "ends_with",
    "sem_ver",
];

/// Checks a flag's rule against the flag's variants.
pub(super) struct Results<'c, 'n> {
    pub(super) flag: &'c str,
    pub(super) variants: &'c [&'c str],
    pub(super) evaluators: &'c Evaluators<'n>,
    pub(super) report: &'c mut Report,
}

impl Results<'_, '_> {
    /// Checks every literal that the rule may give.
    pub(super) fn check(&mut self, node: &Node) {
        self.check_at(node, false);
    }

    fn check_at(&mut self, node: &Node, in_evaluator: bool) {
        match &node.kind {
            Kind::Null => {}
            Kind::Bool(value) => self.check_name(node, if *value { "true" } else { "false" }),
            Kind::Number(number) => self.check_name(node, &number.to_string()),
            Kind::Str { text, .. } => self.check_name(node, text),
            Kind::List(_) => {
                let message = "a rule gives the name of a variant, not a list";
                self.report.push(Diagnostic::error("unknown-variant", &node.place, message).help("name a variant"));
            }
            Kind::Map(entries) => {
                if let [(name, operands)] = entries.as_slice() {
                    self.check_operation(name, operands, in_evaluator);
                }
            }
        }
    }

    fn check_operation(&mut self, name: &Node, operands: &Node, in_evaluator: bool) {
        let list = operands.as_list().unwrap_or(std::slice::from_ref(operands));
        match name.as_str().unwrap_or_default() {
            "if" => {
                for (at, node) in list.iter().enumerate() {
                    if at % 2 == 1 || at + 1 == list.len() {
                        self.check_at(node, in_evaluator);
                    }
                }
            }
            "and" => list.last().into_iter().for_each(|node| self.check_literal(node, in_evaluator)),
            "or" => list.iter().for_each(|node| self.check_literal(node, in_evaluator)),
            "fractional" => {
                for pair in list.iter().filter_map(Node::as_list) {
                    pair.first().into_iter().for_each(|variant| self.check_at(variant, in_evaluator));
                }
            }
            "var" => list.get(1).into_iter().for_each(|default| self.check_at(default, in_evaluator)),
            "$ref" if !in_evaluator => {
                if let Some((_, body)) = operands.as_str().and_then(|name| self.evaluators.get(name)) {
                    self.check_at(body, true);
                }
            }
            operator if BOOLEAN.contains(&operator) => self.check_boolean(name, operator),
            _ => {}
        }
    }

    /// `and` and `or` may well give what a comparison gave; only names are checked there.
    fn check_literal(&mut self, node: &Node, in_evaluator: bool) {
        if matches!(node.kind, Kind::Str { .. }) {
            self.check_at(node, in_evaluator);
        }
    }

    fn check_boolean(&mut self, name: &Node, operator: &str) {
        if ["true", "false"].iter().all(|wanted| self.variants.contains(wanted)) {
            return;
        }
        let message = format!("`{operator}` gives true or false, and flag `{}` has no such variants", self.flag);
        let help = "put it into an `if`, as in `if: [{…}, live, shadow]`";
        self.report.push(Diagnostic::error("unknown-variant", &name.place, message).help(help));
    }

    fn check_name(&mut self, node: &Node, name: &str) {
        if self.variants.contains(&name) {
            return;
        }
        let help = match closest(name, self.variants.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the variants are {}", self.variants.join(", ")),
        };
        let message = format!("flag `{}` has no variant `{name}`", self.flag);
        self.report.push(Diagnostic::error("unknown-variant", &node.place, message).help(help));
    }
}
