//! Owns compiling `fractional`: bucketing value, pairs and weights, with the findings about them.

use super::rule::{RuleCompiler, Scope};
use crate::config::{Diagnostic, Kind, Node};
use crate::flag::{Expr, Fractional, Pair, WEIGHT_SUM_MAX, Weight, whole_weight};

/// The sums that people can read as per cent, per mille and finer.
const USUAL_SUMS: [u64; 4] = [100, 1_000, 10_000, 100_000];

impl RuleCompiler<'_, '_> {
    pub(super) fn fractional(&mut self, operands: &Node, scope: Scope) -> Option<Expr> {
        let (seed, pairs) = match operands.as_list() {
            Some([first, pairs @ ..]) if first.as_list().is_none() => (Some(first), pairs),
            Some(pairs) => (None, pairs),
            None => (None, [].as_slice()),
        };
        if pairs.is_empty() {
            let message = "`fractional` takes a list of pairs of variant and weight";
            self.error("bad-pair", operands, message, "write `fractional: [[live, 10], [shadow, 90]]`");
            return Some(Expr::Null);
        }
        let seed = match seed {
            Some(seed) => Some(self.seed(seed, scope)?),
            None => None,
        };
        let compiled: Vec<_> = pairs.iter().map(|pair| self.pair(pair, scope)).collect();
        self.check_sum(operands, pairs);
        // A malformed pair makes the whole null, as in flagd.
        let Some(pairs) = compiled.into_iter().collect::<Option<Box<[Pair]>>>() else {
            return Some(Expr::Null);
        };
        let total = total(&pairs);
        Some(Expr::Fractional(Box::new(Fractional { seed, pairs, total })))
    }

    fn seed(&mut self, node: &Node, scope: Scope) -> Option<Expr> {
        if !matches!(node.kind, Kind::Map(_)) {
            let message = format!("the bucketing value is {} that is the same for everybody", node.describe());
            self.error(
                "constant-seed",
                node,
                message,
                "name an attribute as in `{var: targetingKey}`, or leave it out",
            );
        }
        self.expr(node, scope)
    }

    fn pair(&mut self, node: &Node, scope: Scope) -> Option<Pair> {
        match node.as_list() {
            Some([variant]) => Some(Pair { variant: self.expr(variant, scope)?, weight: Weight::Fixed(1) }),
            Some([variant, weight]) => {
                let (variant, weight) = (self.expr(variant, scope), self.weight(weight, scope));
                Some(Pair { variant: variant?, weight: weight? })
            }
            _ => {
                let help = "write a variant and a weight, as in `[live, 10]`";
                self.error("bad-pair", node, "this is not a pair of variant and weight", help);
                None
            }
        }
    }

    fn weight(&mut self, node: &Node, scope: Scope) -> Option<Weight> {
        let number = match &node.kind {
            Kind::Map(_) => return self.expr(node, scope).map(Weight::Computed),
            Kind::Number(number) => number.as_f64()?,
            _ => {
                let message = format!("a weight is a whole number, not {}", node.describe());
                self.error("bad-weight", node, message, "write a number, without quotes");
                return None;
            }
        };
        if number < 0.0 {
            self.error("bad-weight", node, "a weight is not below 0", "write 0 for nobody");
        }
        match whole_weight(number) {
            Some(weight) => Some(Weight::Fixed(weight)),
            None if number.fract() != 0.0 => {
                self.error("bad-weight", node, format!("a weight is a whole number, not {number}"), finer(number));
                None
            }
            None => {
                let message = format!("a weight is at most {WEIGHT_SUM_MAX}");
                self.error("bad-weight", node, message, "write smaller weights");
                None
            }
        }
    }

    fn check_sum(&mut self, operands: &Node, pairs: &[Node]) {
        let weights: Vec<_> = pairs.iter().filter_map(Node::as_list).map(|pair| pair.get(1)).collect();
        if weights.iter().all(Option::is_none) {
            return;
        }
        let mut sum: u64 = 0;
        for weight in weights {
            match weight.map(|node| &node.kind) {
                None => sum += 1,
                Some(Kind::Number(number)) => match number.as_u64() {
                    Some(weight) => sum = sum.saturating_add(weight),
                    None => return,
                },
                Some(_) => return,
            }
        }
        if sum > u64::from(WEIGHT_SUM_MAX) {
            let message = format!("the weights sum to more than {WEIGHT_SUM_MAX}");
            self.error("bad-weight", operands, message, "write smaller weights");
        } else if !USUAL_SUMS.contains(&sum) {
            let message = match sum {
                0 => "all weights are 0: everybody gets the default variant".to_owned(),
                sum => format!("the weights sum to {sum}"),
            };
            let help = "weights that sum to 100, 1000, 10000 or 100000 can be read as shares";
            self.report.push(Diagnostic::warning("weight-sum", &operands.place, message).help(help));
        }
    }
}

/// The sum of weights that all stand in the rule.
fn total(pairs: &[Pair]) -> Option<u32> {
    let mut total: u32 = 0;
    for pair in pairs {
        match pair.weight {
            Weight::Fixed(weight) => total = total.checked_add(weight).filter(|sum| *sum <= WEIGHT_SUM_MAX)?,
            Weight::Computed(_) => return None,
        }
    }
    Some(total)
}

/// How to write a weight with decimals: all weights ten, a hundred or a thousand times as large.
fn finer(number: f64) -> String {
    let scaled = [10_u32, 100, 1_000].into_iter().map(|factor| (factor, number * f64::from(factor)));
    match scaled.into_iter().find(|(_, scaled)| scaled.fract() == 0.0) {
        Some((factor, scaled)) => format!("write {number} of 100 as {scaled} of {}", 100 * factor),
        None => "multiply all weights until they are whole".to_owned(),
    }
}
