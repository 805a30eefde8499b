//! Owns the record of an evaluation for people: each rule on the way, with its outcome.

use std::fmt;

use super::Evaluation;
use super::expr::Expr;
use super::value::Value;

/// An evaluation with every rule that had a part in it.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The result.
    pub evaluation: Evaluation,
    /// The rules in the order in which they were begun; those that were passed over are not there.
    pub steps: Vec<TraceStep>,
}

/// One rule's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// How many rules it stands in.
    pub depth: usize,
    /// The rule as JSON.
    pub rule: String,
    /// What it gave, as JSON.
    pub result: String,
}

impl fmt::Display for Trace {
    /// Writes a line per rule, indented by two spaces a level.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(out, "{:indent$}{} -> {}", "", step.rule, step.result, indent = step.depth * 2)?;
        }
        Ok(())
    }
}

/// Hears of each operator and `var` of an evaluation.
pub(super) trait Tracer {
    fn enter(&mut self, expr: &Expr);
    fn leave(&mut self, result: &Value<'_>);
}

/// Records nothing, at no cost.
impl Tracer for () {
    #[inline]
    fn enter(&mut self, _expr: &Expr) {}

    #[inline]
    fn leave(&mut self, _result: &Value<'_>) {}
}

/// How many rules are recorded: what a person can read, and far below what a hostile rule could ask for.
const STEPS_MAX: usize = 1_000;

/// Records steps.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) steps: Vec<TraceStep>,
    /// The steps that have begun; `None` for one beyond [`STEPS_MAX`].
    open: Vec<Option<usize>>,
}

impl Tracer for &mut Recorder {
    fn enter(&mut self, expr: &Expr) {
        let recorded = self.steps.len() < STEPS_MAX;
        self.open.push(recorded.then_some(self.steps.len()));
        if recorded {
            let depth = self.open.len() - 1;
            self.steps.push(TraceStep { depth, rule: expr.to_json().to_string(), result: String::new() });
        }
    }

    fn leave(&mut self, result: &Value<'_>) {
        if let Some(Some(at)) = self.open.pop() {
            self.steps[at].result = result.to_json().to_string();
        }
    }
}
