//! Owns the way from a targeting rule as written to the tree that the evaluator walks.
//!
//! What flagd would evaluate to an error or to null is an error here; only what has no meaning at all has no tree.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Diagnostic, Kind, Node, Report, closest};
use crate::flag::{COMPARISONS, Expr, Member, Op, Var, Version};

/// What `var` reads from at a place in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// The evaluation context.
    Root,
    /// The element that `map` and its like are at.
    Item,
}

/// The `$evaluators` of all files by name.
pub(super) type Evaluators<'n> = HashMap<&'n str, (&'n Node, &'n Node)>;

/// Compiles rules; holds what they share.
pub(super) struct RuleCompiler<'n, 'r> {
    evaluators: &'r Evaluators<'n>,
    compiled: HashMap<(&'n str, Scope), Option<Arc<Expr>>>,
    pub(super) report: &'r mut Report,
    in_evaluator: bool,
}

impl<'n, 'r> RuleCompiler<'n, 'r> {
    /// Compiles the shared rules, so that their findings come once.
    pub(super) fn new(evaluators: &'r Evaluators<'n>, report: &'r mut Report) -> Self {
        let mut compiler = Self { evaluators, compiled: HashMap::new(), report, in_evaluator: false };
        let mut names: Vec<_> = evaluators.iter().map(|(name, (key, _))| (key.place.start, *name)).collect();
        names.sort_unstable();
        for (_, name) in names {
            compiler.evaluator(name, Scope::Root);
        }
        compiler
    }

    /// Compiles a rule; `None` when it has no meaning.
    pub(super) fn rule(&mut self, node: &Node) -> Option<Expr> {
        self.expr(node, Scope::Root)
    }

    pub(super) fn error(
        &mut self,
        code: &'static str,
        node: &Node,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report.push(Diagnostic::error(code, &node.place, message).help(help));
    }

    pub(super) fn expr(&mut self, node: &Node, scope: Scope) -> Option<Expr> {
        Some(match &node.kind {
            Kind::Null => Expr::Null,
            Kind::Bool(value) => Expr::Bool(*value),
            Kind::Number(value) => Expr::Number(value.as_f64()?),
            Kind::Str { text, .. } => Expr::Text(text.clone()),
            Kind::List(items) => {
                let items = self.exprs(items, scope)?;
                if items.iter().all(Expr::is_constant) { Expr::Json(node.to_json()) } else { Expr::List(items) }
            }
            Kind::Map(entries) => match entries.as_slice() {
                [] => Expr::Json(node.to_json()),
                [(name, operands)] => return self.operation(name, operands, scope),
                [_, (second, _), ..] => {
                    self.error(
                        "several-operators",
                        second,
                        "a rule has one operator",
                        "combine the two with `and` or `if`",
                    );
                    return None;
                }
            },
        })
    }

    /// Compiles all of them, so that each one's findings are reported.
    fn exprs(&mut self, nodes: &[Node], scope: Scope) -> Option<Box<[Expr]>> {
        let compiled: Vec<_> = nodes.iter().map(|node| self.expr(node, scope)).collect();
        compiled.into_iter().collect()
    }

    fn operation(&mut self, name: &Node, operands: &Node, scope: Scope) -> Option<Expr> {
        match name.as_str().unwrap_or_default() {
            "var" => self.var(operands, scope),
            "$ref" => self.reference(operands, scope),
            "fractional" => self.fractional(operands, scope),
            other => match Op::ALL.iter().find(|(known, ..)| *known == other) {
                Some((_, op, ..)) => self.call(*op, name, operands, scope),
                None => {
                    self.unknown_operator(name, other);
                    None
                }
            },
        }
    }

    fn unknown_operator(&mut self, name: &Node, text: &str) {
        let known = Op::ALL.iter().map(|(name, ..)| *name).chain(["var", "$ref", "fractional"]);
        let help = match (text, closest(text, known)) {
            ("?:", _) => "write `if`".to_owned(),
            (_, Some(meant)) => format!("did you mean `{meant}`?"),
            _ => "the operators are those of flagd's targeting schema".to_owned(),
        };
        self.error("unknown-operator", name, format!("there is no operator `{text}`"), help);
    }

    fn call(&mut self, op: Op, name: &Node, operands: &Node, scope: Scope) -> Option<Expr> {
        let nodes = operands.as_list().unwrap_or(std::slice::from_ref(operands));
        self.check_count(op, name, operands, nodes.len());
        self.check_literals(op, nodes);
        let iterates = matches!(op, Op::Map | Op::Filter | Op::All | Op::NoneOf | Op::Some | Op::Reduce);
        let compiled: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(at, node)| self.expr(node, if iterates && at == 1 { Scope::Item } else { scope }))
            .collect();
        let operands = compiled.into_iter().collect::<Option<_>>()?;
        Some(if op == Op::In { Member::of(operands) } else { Expr::Call(op, operands) })
    }

    fn check_count(&mut self, op: Op, name: &Node, operands: &Node, count: usize) {
        let bounds = Op::ALL.iter().find(|(_, known, ..)| *known == op);
        let Some((_, _, least, most)) = bounds else {
            return;
        };
        if operands.as_list().is_none() && *least > 1 {
            let message = format!("`{}` takes a list of operands, not {}", op.name(), operands.describe());
            self.error("operand-count", operands, message, format!("write `{}: [ … ]`", op.name()));
        } else if count < *least || count > *most {
            let wanted = match (*least, *most) {
                (least, most) if least == most => least.to_string(),
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) => format!("{least} to {most}"),
            };
            let message = format!("`{}` takes {wanted} operands, not {count}", op.name());
            self.error("operand-count", name, message, "add or remove operands");
        }
    }

    /// Finds operands that can never work.
    fn check_literals(&mut self, op: Op, nodes: &[Node]) {
        match (op, nodes) {
            (Op::StartsWith | Op::EndsWith, nodes) => {
                for node in nodes.iter().filter(|node| !matches!(node.kind, Kind::Str { .. } | Kind::Map(_))) {
                    let message = format!("`{}` compares strings, not {}", op.name(), node.describe());
                    self.error("operand-type", node, message, "put it in quotes");
                }
            }
            (Op::SemVer, [left, comparison, right]) => {
                if comparison.as_str().is_none_or(|text| !COMPARISONS.contains(&text)) {
                    let message = "`sem_ver` does not know this comparison";
                    self.error("bad-comparison", comparison, message, format!("use one of {}", COMPARISONS.join(" ")));
                }
                for node in [left, right] {
                    self.check_version(node);
                }
            }
            _ => {}
        }
    }

    fn check_version(&mut self, node: &Node) {
        let valid = match &node.kind {
            Kind::Map(_) => true,
            Kind::Str { text, .. } => Version::parse(text).is_some(),
            Kind::Number(number) => Version::parse(&number.to_string()).is_some(),
            _ => false,
        };
        if !valid {
            self.error("bad-version", node, "this is not a version", "write it as in \"1.4.2\"");
        }
    }

    fn var(&mut self, operand: &Node, scope: Scope) -> Option<Expr> {
        let (name, default) = match operand.as_list() {
            None => (Some(operand), None),
            Some([]) => (None, None),
            Some([name]) => (Some(name), None),
            Some([name, default]) => (Some(name), Some(default)),
            Some([_, _, more, ..]) => {
                self.error("operand-count", more, "`var` takes a name and a default", "remove the rest");
                return None;
            }
        };
        let var = match name {
            None => named("", scope),
            Some(node) => self.var_name(node, scope)?,
        };
        Some(match default {
            None => var,
            Some(default) => Expr::Otherwise(Box::new((var, self.expr(default, scope)?))),
        })
    }

    fn var_name(&mut self, node: &Node, scope: Scope) -> Option<Expr> {
        let name = match &node.kind {
            Kind::Null => String::new(),
            Kind::Str { text, .. } => text.to_string(),
            Kind::Number(number) => number.to_string(),
            Kind::Map(_) => return Some(Expr::Computed(Box::new(self.expr(node, scope)?))),
            Kind::Bool(_) | Kind::List(_) => {
                let message = format!("`var` takes a name, not {}", node.describe());
                self.error("operand-type", node, message, "write the name in quotes");
                return None;
            }
        };
        match (scope, name.strip_prefix("$flagd")) {
            (Scope::Root, Some(".flagKey")) => Some(Expr::FlagKey),
            (Scope::Root, Some(".timestamp")) => Some(Expr::Timestamp),
            (Scope::Root, Some(rest)) if rest.is_empty() || rest.starts_with('.') => {
                self.error(
                    "unknown-property",
                    node,
                    format!("there is no `{name}`"),
                    "use `$flagd.flagKey` or `$flagd.timestamp`",
                );
                Some(Expr::Null)
            }
            (Scope::Item, Some(_)) => {
                let message = format!("`{name}` is null here: inside of a list operator `var` reads the element");
                self.report.push(Diagnostic::warning("out-of-reach", &node.place, message));
                Some(named(&name, scope))
            }
            _ => Some(named(&name, scope)),
        }
    }

    fn reference(&mut self, operand: &Node, scope: Scope) -> Option<Expr> {
        let Some(name) = operand.as_str() else {
            let message = format!("`$ref` takes a name, not {}", operand.describe());
            self.error("operand-type", operand, message, "name one of `$evaluators`");
            return None;
        };
        if self.in_evaluator {
            let message = "a `$ref` within `$evaluators`: flagd does not resolve it";
            self.error("nested-ref", operand, message, "write the rule out");
            return None;
        }
        let Some((&name, _)) = self.evaluators.get_key_value(name) else {
            let help = match closest(name, self.evaluators.keys().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "add it to `$evaluators`".to_owned(),
            };
            self.error("unresolved-ref", operand, format!("there is no `{name}` in `$evaluators`"), help);
            return None;
        };
        Some(Expr::Shared(name.into(), self.evaluator(name, scope)?))
    }

    /// Compiles a shared rule once per scope; the element's scope repeats no findings.
    fn evaluator(&mut self, name: &'n str, scope: Scope) -> Option<Arc<Expr>> {
        if let Some(known) = self.compiled.get(&(name, scope)) {
            return known.clone();
        }
        let (_, body) = self.evaluators.get(name)?;
        let known = self.report.diagnostics.len();
        self.in_evaluator = true;
        let rule = self.expr(body, scope).map(Arc::new);
        self.in_evaluator = false;
        if scope == Scope::Item {
            self.report.diagnostics.truncate(known);
        }
        self.compiled.insert((name, scope), rule.clone());
        rule
    }
}

fn named(name: &str, scope: Scope) -> Expr {
    match scope {
        Scope::Root => Expr::Var(Box::new(Var::new(name))),
        Scope::Item => Expr::Item(Var::split(name)),
    }
}
