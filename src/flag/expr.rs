//! Owns the compiled form of a targeting rule: a tree that holds nothing to be looked up or parsed again.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::Var;

/// An expression of a rule.
#[derive(Debug, PartialEq)]
pub(crate) enum Expr {
    /// Null.
    Null,
    /// A boolean that stands in the rule.
    Bool(bool),
    /// A number that stands in the rule.
    Number(f64),
    /// A string that stands in the rule.
    Text(Box<str>),
    /// A list of constants, or a map, that stands in the rule.
    Json(Json),
    /// A list with something to compute in it.
    List(Box<[Expr]>),
    /// Asks the evaluation context.
    Var(Box<Var>),
    /// Asks the element that `map`, `filter` and their like are at.
    Item(Box<[Box<str>]>),
    /// Asks for a name that the rule computes.
    Computed(Box<Expr>),
    /// The first expression, or the second where the first is null.
    Otherwise(Box<(Expr, Expr)>),
    /// `$flagd.flagKey`.
    FlagKey,
    /// `$flagd.timestamp`.
    Timestamp,
    /// An operator with its operands.
    Call(Op, Box<[Expr]>),
    /// `in` a long list of strings that stands in the rule.
    Member(Box<Member>),
    /// `fractional`.
    Fractional(Box<Fractional>),
    /// A shared rule of `$evaluators`, with its name.
    Shared(Box<str>, Arc<Expr>),
}

/// A compiled `in` whose cost does not grow with its list.
#[derive(Debug, PartialEq)]
pub(crate) struct Member {
    /// What is looked for.
    pub(crate) part: Expr,
    /// The list as it stands in the rule.
    list: Json,
    /// The same for looking up.
    pub(crate) texts: HashSet<Box<str>>,
}

impl Member {
    /// The fewest strings that are looked up and not compared one by one.
    const TEXTS_MIN: usize = 16;

    /// Makes a call of `in` one where its list is long and of strings only.
    pub(crate) fn of(operands: Box<[Expr]>) -> Expr {
        let texts: Option<HashSet<Box<str>>> = match &*operands {
            [_, Expr::Json(Json::Array(items))] if items.len() >= Self::TEXTS_MIN => {
                items.iter().map(|item| item.as_str().map(Into::into)).collect()
            }
            _ => None,
        };
        match (texts, <[Expr; 2]>::try_from(operands.into_vec())) {
            (Some(texts), Ok([part, Expr::Json(list)])) => Expr::Member(Box::new(Self { part, list, texts })),
            (_, Ok(operands)) => Expr::Call(Op::In, Box::new(operands)),
            (_, Err(operands)) => Expr::Call(Op::In, operands.into()),
        }
    }
}

/// A compiled `fractional`.
#[derive(Debug, PartialEq)]
pub(crate) struct Fractional {
    /// The bucketing value; `None` means the flag key with the targeting key.
    pub(crate) seed: Option<Expr>,
    /// The pairs in file order.
    pub(crate) pairs: Box<[Pair]>,
    /// The sum of the weights, where all of them stand in the rule and the sum is in range.
    pub(crate) total: Option<u32>,
}

/// A variant with its weight.
#[derive(Debug, PartialEq)]
pub(crate) struct Pair {
    /// What the rule says if the bucket is in this pair's share.
    pub(crate) variant: Expr,
    /// The share.
    pub(crate) weight: Weight,
}

/// A pair's share.
#[derive(Debug, PartialEq)]
pub(crate) enum Weight {
    /// Stands in the rule; without a weight it is 1, and what is below 0 counts as 0.
    Fixed(u32),
    /// Is computed at each evaluation.
    Computed(Expr),
}

macro_rules! operators {
    ($($name:literal $op:ident $min:literal..=$max:expr;)*) => {
        /// The operators of flagd's targeting schema, except `var`, `fractional` and `$ref`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Op { $(#[doc = $name] $op,)* }

        impl Op {
            /// All operators with their fewest and most operands.
            pub(crate) const ALL: &'static [(&'static str, Op, usize, usize)] = &[$(($name, Op::$op, $min, $max),)*];

            /// Names the operator as rules do.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Op::$op => $name,)* }
            }
        }
    };
}

operators! {
    "if" If 1..=usize::MAX;
    "==" Equal 2..=2;
    "===" Same 2..=2;
    "!=" NotEqual 2..=2;
    "!==" NotSame 2..=2;
    "!" Not 1..=1;
    "!!" Truthy 1..=1;
    "or" Or 1..=usize::MAX;
    "and" And 1..=usize::MAX;
    "<" Less 2..=3;
    "<=" LessOrEqual 2..=3;
    ">" Greater 2..=2;
    ">=" GreaterOrEqual 2..=2;
    "+" Add 1..=usize::MAX;
    "-" Subtract 1..=usize::MAX;
    "*" Multiply 2..=usize::MAX;
    "/" Divide 2..=2;
    "%" Remainder 2..=2;
    "max" Max 1..=usize::MAX;
    "min" Min 1..=usize::MAX;
    "in" In 2..=2;
    "cat" Cat 1..=usize::MAX;
    "substr" Substr 2..=3;
    "merge" Merge 1..=usize::MAX;
    "map" Map 2..=2;
    "filter" Filter 2..=2;
    "reduce" Reduce 3..=3;
    "all" All 2..=2;
    "none" NoneOf 2..=2;
    "some" Some 2..=2;
    "missing" Missing 0..=usize::MAX;
    "missing_some" MissingSome 2..=2;
    "starts_with" StartsWith 2..=2;
    "ends_with" EndsWith 2..=2;
    "sem_ver" SemVer 3..=3;
}

impl Expr {
    /// Whether it is the same at every evaluation.
    pub(crate) const fn is_constant(&self) -> bool {
        matches!(self, Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Json(_))
    }

    /// The rule as JSON again; a `$ref` stays one.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Number(value) => super::value::json_number(*value),
            Self::Text(text) => Json::from(&**text),
            Self::Json(json) => json.clone(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Var(var) => json!({"var": &*var.name}),
            Self::Item(path) => json!({"var": path.join(".")}),
            Self::Computed(name) => json!({"var": [name.to_json()]}),
            Self::Otherwise(both) => with_default(both.0.to_json(), both.1.to_json()),
            Self::FlagKey => json!({"var": "$flagd.flagKey"}),
            Self::Timestamp => json!({"var": "$flagd.timestamp"}),
            Self::Call(op, operands) => json!({op.name(): operands.iter().map(Self::to_json).collect::<Json>()}),
            Self::Member(member) => json!({"in": [member.part.to_json(), member.list]}),
            Self::Fractional(split) => json!({"fractional": split.to_json()}),
            Self::Shared(name, _) => json!({"$ref": &**name}),
        }
    }

    /// Adds every `var` that the expression may ask for, in reading order.
    pub(super) fn collect_vars<'e>(&'e self, found: &mut Vec<&'e Var>) {
        if let Self::Var(var) = self {
            found.push(var);
        }
        self.each_child(&mut |child| child.collect_vars(found));
    }

    /// Adds every `fractional`, in reading order.
    pub(crate) fn collect_splits<'e>(&'e self, found: &mut Vec<&'e Fractional>) {
        if let Self::Fractional(split) = self {
            found.push(split);
        }
        self.each_child(&mut |child| child.collect_splits(found));
    }

    fn each_child<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        match self {
            Self::List(items) | Self::Call(_, items) => items.iter().for_each(visit),
            Self::Computed(name) => visit(name),
            Self::Member(member) => visit(&member.part),
            Self::Otherwise(both) => {
                visit(&both.0);
                visit(&both.1);
            }
            Self::Shared(_, rule) => visit(rule),
            Self::Fractional(split) => {
                split.seed.iter().for_each(&mut *visit);
                for pair in &split.pairs {
                    visit(&pair.variant);
                    if let Weight::Computed(weight) = &pair.weight {
                        visit(weight);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Fractional {
    fn to_json(&self) -> Json {
        let pairs = self.pairs.iter().map(|pair| match &pair.weight {
            Weight::Fixed(weight) => json!([pair.variant.to_json(), weight]),
            Weight::Computed(weight) => json!([pair.variant.to_json(), weight.to_json()]),
        });
        self.seed.iter().map(Expr::to_json).chain(pairs).collect()
    }
}

fn with_default(var: Json, default: Json) -> Json {
    match var.get("var") {
        Some(Json::Array(name)) => json!({"var": [name.first(), default]}),
        Some(name) => json!({"var": [name, default]}),
        None => var,
    }
}
