//! Owns one evaluation: the walk over a rule's tree, with its bounds.

use std::borrow::Cow;

use super::expr::{Expr, Op};
use super::trace::Tracer;
use super::value::Value;
use super::{Bucket, Context, Flag, Hashing, Var};

/// How much one evaluation may do, in expressions: a thousand times any rule that people write, a few milliseconds.
const STEPS_MAX: u32 = 100_000;

/// What `var` reads from.
#[derive(Clone, Copy)]
pub(super) enum Scope<'s, 'a> {
    /// The evaluation context.
    Root,
    /// An element of the list that `map`, `filter` or a quantifier goes over.
    Item(&'s Value<'a>),
    /// An element that `reduce` goes over, and what it has so far.
    Reduce { current: &'s Value<'a>, accumulator: &'s Value<'a> },
}

/// One evaluation of one flag.
pub(super) struct Run<'a, C, T> {
    pub(super) flag: &'a Flag,
    pub(super) context: &'a C,
    pub(super) hashing: Hashing,
    /// The slot of the last `fractional`.
    pub(super) bucket: Option<Bucket>,
    pub(super) tracer: T,
    /// Weights in place of those of the rule's one `fractional`, with their sum.
    pub(super) reweighed: Option<(&'a [u32], u32)>,
    steps: u32,
    exhausted: bool,
}

impl<'a, C: Context, T: Tracer> Run<'a, C, T> {
    pub(super) fn new(flag: &'a Flag, context: &'a C, hashing: Hashing, tracer: T) -> Self {
        Self { flag, context, hashing, bucket: None, tracer, reweighed: None, steps: STEPS_MAX, exhausted: false }
    }

    /// Whether the rule did more than an evaluation may do; its result means nothing then.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Takes away from what the evaluation may still do.
    pub(super) fn spend(&mut self, steps: usize) {
        match u32::try_from(steps).ok().and_then(|steps| self.steps.checked_sub(steps)) {
            Some(left) => self.steps = left,
            None => self.exhaust(),
        }
    }

    /// Ends the evaluation: every expression is null from here on.
    pub(super) fn exhaust(&mut self) {
        self.steps = 0;
        self.exhausted = true;
    }

    /// Evaluates an expression; total.
    pub(super) fn eval(&mut self, expr: &'a Expr, scope: Scope<'_, 'a>) -> Value<'a> {
        self.spend(1);
        if self.exhausted {
            return Value::Null;
        }
        match expr {
            Expr::Null => Value::Null,
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Number(value) => Value::Number(*value),
            Expr::Text(text) => Value::Str(Cow::Borrowed(text)),
            Expr::Json(json) => Value::from_json(json),
            _ => self.traced(expr, scope),
        }
    }

    fn traced(&mut self, expr: &'a Expr, scope: Scope<'_, 'a>) -> Value<'a> {
        self.tracer.enter(expr);
        let value = match expr {
            Expr::Call(op, operands) => self.call(*op, operands, scope),
            Expr::Fractional(split) => self.fractional(split, scope),
            Expr::Member(member) => match self.eval(&member.part, scope) {
                Value::Str(text) => Value::Bool(member.texts.contains(&*text)),
                _ => Value::Bool(false),
            },
            Expr::Var(var) => self.lookup(var),
            Expr::Item(path) => self.item(path, scope),
            Expr::FlagKey => Value::Str(Cow::Borrowed(&self.flag.key)),
            // Seconds since the epoch stay far below 2^53.
            Expr::Timestamp => Value::Number(self.context.now_unix_s() as f64),
            Expr::Shared(_, rule) => self.eval(rule, scope),
            other => self.rare(other, scope),
        };
        self.tracer.leave(&value);
        value
    }

    #[inline(never)]
    fn rare(&mut self, expr: &'a Expr, scope: Scope<'_, 'a>) -> Value<'a> {
        match expr {
            Expr::List(items) => Value::List(items.iter().map(|item| self.eval(item, scope)).collect()),
            Expr::Computed(name) => {
                let name = self.eval(name, scope);
                self.lookup_computed(&name.to_text(), scope)
            }
            Expr::Otherwise(both) => match self.eval(&both.0, scope) {
                Value::Null => self.eval(&both.1, scope),
                found => found,
            },
            _ => Value::Null,
        }
    }

    /// Reads a path in an element, whose copy is paid for by its size.
    fn item(&mut self, path: &[Box<str>], scope: Scope<'_, 'a>) -> Value<'a> {
        let value = read_item(scope, path);
        self.spend(value.extent().1 - 1);
        value
    }

    fn lookup(&self, var: &Var) -> Value<'a> {
        match self.context.lookup(var) {
            // A context may hand out whatever it holds; rules see scalars as such.
            Value::Json(json) => Value::from_json(json),
            value => value,
        }
    }

    /// Looks up a name that the rule computed; it costs an allocation, which a plain name does not.
    pub(super) fn lookup_computed(&self, name: &str, scope: Scope<'_, 'a>) -> Value<'a> {
        match (scope, name) {
            (Scope::Root, "$flagd.flagKey") => Value::Str(Cow::Borrowed(&self.flag.key)),
            (Scope::Root, "$flagd.timestamp") => Value::Number(self.context.now_unix_s() as f64),
            (Scope::Root, _) => self.lookup(&Var::new(name)),
            _ => read_item(scope, &Var::split(name)),
        }
    }

    fn call(&mut self, op: Op, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        match op {
            Op::If => self.branch(operands, scope),
            Op::And | Op::Or => self.chain(op == Op::Or, operands, scope),
            Op::Not | Op::Truthy => {
                let truthy = self.operand(operands, 0, scope).is_truthy();
                Value::Bool(truthy == (op == Op::Truthy))
            }
            Op::Equal | Op::NotEqual | Op::Same | Op::NotSame | Op::In => self.relate(op, operands, scope),
            Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual => self.compare(op, operands, scope),
            Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Remainder | Op::Max | Op::Min => {
                self.arithmetic(op, operands, scope)
            }
            Op::Cat => self.cat(operands, scope),
            Op::Substr => self.substr(operands, scope),
            Op::StartsWith | Op::EndsWith => self.affix(op, operands, scope),
            Op::SemVer => self.sem_ver(operands, scope),
            Op::Merge => self.merge(operands, scope),
            Op::Map | Op::Filter => self.select(op, operands, scope),
            Op::All | Op::NoneOf | Op::Some => self.quantify(op, operands, scope),
            Op::Reduce => self.reduce(operands, scope),
            Op::Missing => self.missing(operands, scope),
            Op::MissingSome => self.missing_some(operands, scope),
        }
    }

    /// The value of an operand; null where there is none.
    pub(super) fn operand(&mut self, operands: &'a [Expr], at: usize, scope: Scope<'_, 'a>) -> Value<'a> {
        operands.get(at).map_or(Value::Null, |operand| self.eval(operand, scope))
    }

    fn branch(&mut self, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        for step in operands.chunks(2) {
            match step {
                [condition, then] if self.eval(condition, scope).is_truthy() => return self.eval(then, scope),
                [otherwise] => return self.eval(otherwise, scope),
                _ => {}
            }
        }
        Value::Null
    }

    /// `and` gives the first falsy operand or the last, `or` the first truthy one or the last.
    fn chain(&mut self, until: bool, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let mut value = Value::Null;
        for operand in operands {
            value = self.eval(operand, scope);
            if value.is_truthy() == until {
                break;
            }
        }
        value
    }
}

/// Reads a path in what an iterating operator is at; the evaluation context is out of its reach, as in JSONLogic.
pub(super) fn read_item<'a>(scope: Scope<'_, 'a>, path: &[Box<str>]) -> Value<'a> {
    match scope {
        Scope::Root => Value::Null,
        Scope::Item(item) => item.descend(path),
        Scope::Reduce { current, accumulator } => match path.split_first() {
            Some((first, rest)) if &**first == "current" => current.descend(rest),
            Some((first, rest)) if &**first == "accumulator" => accumulator.descend(rest),
            _ => Value::Null,
        },
    }
}
