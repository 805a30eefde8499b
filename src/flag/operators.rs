//! Owns the operators that compare, compute and work on strings, with JSONLogic's conversions.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::Context;
use super::evaluate::{Run, Scope};
use super::expr::{Expr, Op};
use super::semver::Version;
use super::trace::Tracer;
use super::value::Value;

/// How many bytes or list items may be looked through at the price of one expression.
const SCANNED_A_STEP: usize = 64;

impl<'a, C: Context, T: Tracer> Run<'a, C, T> {
    /// `==`, `!=`, `===`, `!==` and `in`.
    pub(super) fn relate(&mut self, op: Op, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let left = self.operand(operands, 0, scope);
        let right = self.operand(operands, 1, scope);
        if op == Op::In {
            self.spend(right.length() / SCANNED_A_STEP);
        }
        Value::Bool(match op {
            Op::Equal => loosely_equal(&left, &right),
            Op::NotEqual => !loosely_equal(&left, &right),
            Op::Same => same(&left, &right),
            Op::NotSame => !same(&left, &right),
            _ => contains(&right, &left),
        })
    }

    /// `<`, `<=`, `>` and `>=`; the first two also as `between`.
    pub(super) fn compare(&mut self, op: Op, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let left = self.operand(operands, 0, scope);
        let right = self.operand(operands, 1, scope);
        let mut holds = in_order(op, &left, &right);
        if holds && let Some(last) = operands.get(2) {
            holds = in_order(op, &right, &self.eval(last, scope));
        }
        Value::Bool(holds)
    }

    /// The operators on numbers; what is no number makes the result NaN, which no comparison holds for.
    pub(super) fn arithmetic(&mut self, op: Op, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let mut numbers = operands.iter().map(|operand| self.eval(operand, scope).to_number());
        let Some(first) = numbers.next() else {
            return Value::Number(if op == Op::Multiply { 1.0 } else { 0.0 });
        };
        if op == Op::Subtract && operands.len() == 1 {
            return Value::Number(-first);
        }
        Value::Number(numbers.fold(first, |left, right| match op {
            Op::Add => left + right,
            Op::Subtract => left - right,
            Op::Multiply => left * right,
            Op::Divide => left / right,
            Op::Remainder => left % right,
            // `f64::max` would drop a NaN.
            _ if left.is_nan() || right.is_nan() => f64::NAN,
            Op::Max => left.max(right),
            _ => left.min(right),
        }))
    }

    pub(super) fn cat(&mut self, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let mut text = String::new();
        for operand in operands {
            let value = self.eval(operand, scope);
            // Before the text grows: a rule that doubles it again and again is stopped early.
            self.spend(value.extent().1);
            value.write_text(&mut text);
        }
        Value::Str(Cow::Owned(text))
    }

    /// A part of a string, counted in characters; a negative length leaves that many off the end.
    pub(super) fn substr(&mut self, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let source = self.operand(operands, 0, scope);
        let text = source.to_text();
        self.spend(text.len() / SCANNED_A_STEP);
        let start = self.operand(operands, 1, scope).to_number();
        let count = text.chars().count() as f64;
        let start = if start < 0.0 { (count + start).max(0.0) } else { start.min(count) };
        let end = match operands.get(2).map(|length| self.eval(length, scope).to_number()) {
            None => count,
            Some(length) if length < 0.0 => count + length,
            Some(length) => start + length,
        };
        // The casts saturate, and NaN becomes 0.
        let (start, end) = (start as usize, end as usize);
        Value::Str(Cow::Owned(text.chars().skip(start).take(end.saturating_sub(start)).collect()))
    }

    /// `starts_with` and `ends_with`: null unless there are two strings.
    pub(super) fn affix(&mut self, op: Op, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let [text, affix] = operands else {
            return Value::Null;
        };
        match (self.eval(text, scope), self.eval(affix, scope)) {
            (Value::Str(text), Value::Str(affix)) if op == Op::StartsWith => Value::Bool(text.starts_with(&*affix)),
            (Value::Str(text), Value::Str(affix)) => Value::Bool(text.ends_with(&*affix)),
            _ => Value::Null,
        }
    }

    /// `sem_ver`: null unless there are two versions and a comparison.
    pub(super) fn sem_ver(&mut self, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let [left, comparison, right] = operands else {
            return Value::Null;
        };
        let (left, comparison, right) = (self.eval(left, scope), self.eval(comparison, scope), self.eval(right, scope));
        let Value::Str(comparison) = comparison else {
            return Value::Null;
        };
        let (left, right) = (version_text(&left), version_text(&right));
        let versions = left.as_deref().and_then(Version::parse).zip(right.as_deref().and_then(Version::parse));
        versions.and_then(|(left, right)| left.matches(&comparison, right)).map_or(Value::Null, Value::Bool)
    }
}

/// A version may also be a number, such as `1.2`.
fn version_text<'v>(value: &'v Value<'_>) -> Option<Cow<'v, str>> {
    matches!(value, Value::Str(_) | Value::Number(_)).then(|| value.to_text())
}

fn in_order(op: Op, left: &Value<'_>, right: &Value<'_>) -> bool {
    let order = match (left, right) {
        (Value::Str(left), Value::Str(right)) => Some(left.cmp(right)),
        _ => left.to_number().partial_cmp(&right.to_number()),
    };
    match op {
        Op::Less => order == Some(Ordering::Less),
        Op::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Op::Greater => order == Some(Ordering::Greater),
        _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

/// Equality of type and value; lists and maps are equal when their content is.
fn same(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Number(left), Value::Number(right)) => left == right,
        (Value::Str(left), Value::Str(right)) => left == right,
        (Value::Json(left), Value::Json(right)) if left.is_object() && right.is_object() => left == right,
        _ if left.is_list() && right.is_list() => {
            let (mut left, mut right) = (left.items(), right.items());
            loop {
                match (left.next(), right.next()) {
                    (None, None) => return true,
                    (Some(left), Some(right)) if same(&left, &right) => {}
                    _ => return false,
                }
            }
        }
        _ => false,
    }
}

/// Equality after JavaScript's conversions: null equals only null, all other scalars compare as numbers.
fn loosely_equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    let is_compound = |value: &Value<'_>| matches!(value, Value::Json(_) | Value::List(_));
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => same(left, right),
        (Value::Bool(_), Value::Bool(_)) | (Value::Number(_), Value::Number(_)) | (Value::Str(_), Value::Str(_)) => {
            same(left, right)
        }
        _ if is_compound(left) && is_compound(right) => same(left, right),
        (Value::Str(text), other) | (other, Value::Str(text)) if is_compound(other) => other.to_text() == *text,
        _ => left.to_number() == right.to_number(),
    }
}

/// Whether a list has an element that is the same, or a string has the part.
fn contains(whole: &Value<'_>, part: &Value<'_>) -> bool {
    match (whole, part) {
        // The common rule: a string in a list that stands in the file.
        (Value::Json(serde_json::Value::Array(items)), Value::Str(text)) => {
            items.iter().any(|item| item.as_str() == Some(&**text))
        }
        // Null is no part of any string, although it is empty as text.
        (Value::Str(_), Value::Null) => false,
        (Value::Str(whole), _) => !whole.is_empty() && whole.contains(&*part.to_text()),
        _ => whole.items().any(|item| same(&item, part)),
    }
}
