//! Owns the operators on lists and on names; they alone can grow a value, so they alone bound it.

use super::Context;
use super::evaluate::{Run, Scope};
use super::expr::{Expr, Op};
use super::trace::Tracer;
use super::value::Value;

/// How deep a list that `reduce` builds may nest: deeper, and dropping it would need a deep stack.
const NESTING_MAX: usize = 64;

impl<'a, C: Context, T: Tracer> Run<'a, C, T> {
    /// One list of all operands, lists opened by one level.
    pub(super) fn merge(&mut self, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let mut merged = Vec::new();
        for operand in operands {
            let value = self.eval(operand, scope);
            self.spend(value.length());
            if value.is_list() { merged.extend(value.items()) } else { merged.push(value) }
        }
        Value::List(merged)
    }

    /// `map` and `filter`; what is no list counts as an empty one.
    pub(super) fn select(&mut self, op: Op, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let list = self.operand(operands, 0, scope);
        let Some(body) = operands.get(1) else {
            return Value::List(Vec::new());
        };
        let mut found = Vec::new();
        for item in list.items() {
            let result = self.eval(body, Scope::Item(&item));
            if op == Op::Map {
                found.push(result);
            } else if result.is_truthy() {
                found.push(item);
            }
        }
        Value::List(found)
    }

    /// `all`, `some` and `none`; `all` of nothing is false, as in JSONLogic.
    pub(super) fn quantify(&mut self, op: Op, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let list = self.operand(operands, 0, scope);
        let Some(body) = operands.get(1) else {
            return Value::Bool(false);
        };
        let mut is_empty = true;
        for item in list.items() {
            is_empty = false;
            let holds = self.eval(body, Scope::Item(&item)).is_truthy();
            if holds != (op == Op::All) {
                return Value::Bool(op == Op::Some);
            }
        }
        Value::Bool(match op {
            Op::All => !is_empty,
            Op::Some => false,
            _ => true,
        })
    }

    pub(super) fn reduce(&mut self, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let list = self.operand(operands, 0, scope);
        let mut accumulator = self.operand(operands, 2, scope);
        let Some(body) = operands.get(1) else {
            return Value::Null;
        };
        for current in list.items() {
            accumulator = self.eval(body, Scope::Reduce { current: &current, accumulator: &accumulator });
            let (depth, size) = accumulator.extent();
            self.spend(size);
            if depth > NESTING_MAX {
                self.exhaust();
            }
            if self.is_exhausted() {
                return Value::Null;
            }
        }
        accumulator
    }

    /// The names among the operands that the evaluation context lacks.
    pub(super) fn missing(&mut self, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let first = self.operand(operands, 0, scope);
        if first.is_list() {
            return Value::List(self.lacking(&first, scope));
        }
        let names = operands.iter().map(|operand| self.eval(operand, scope)).collect();
        Value::List(self.lacking(&Value::List(names), scope))
    }

    /// The names that are missing, unless enough of them are there.
    pub(super) fn missing_some(&mut self, operands: &'a [Expr], scope: Scope<'_, 'a>) -> Value<'a> {
        let needed = self.operand(operands, 0, scope).to_number();
        let names = self.operand(operands, 1, scope);
        let lacking = self.lacking(&names, scope);
        let there = names.items().count() - lacking.len();
        Value::List(if there as f64 >= needed { Vec::new() } else { lacking })
    }

    fn lacking(&mut self, names: &Value<'a>, scope: Scope<'_, 'a>) -> Vec<Value<'a>> {
        let mut lacking = Vec::new();
        for name in names.items() {
            self.spend(1);
            let is_there = match self.lookup_computed(&name.to_text(), scope) {
                Value::Null => false,
                Value::Str(text) => !text.is_empty(),
                _ => true,
            };
            if !is_there {
                lacking.push(name);
            }
        }
        lacking
    }
}
