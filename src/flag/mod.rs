//! Owns the evaluation of one compiled flag with flagd's semantics; it never reads files, requests or the clock.

mod cbor;
mod evaluate;
mod expr;
mod fractional;
mod iterate;
mod metadata;
mod murmur;
mod operators;
mod overriding;
mod rest;
mod sample;
mod scratch;
mod semver;
mod shares;
mod trace;
mod value;

#[cfg(test)]
mod tests;

pub use overriding::{FlagOverride, OverrideKind, Pin, Split, SplitError};
pub use rest::{Rest, Shares};
pub use sample::{Move, Person, Sample};
pub use shares::{Share, ShareError};
pub use trace::{Trace, TraceStep};
pub use value::Value;

pub(crate) use expr::{Expr, Fractional, Member, Op, Pair, Weight};
pub(crate) use fractional::{WEIGHT_SUM_MAX, whole_weight};
pub(crate) use semver::{COMPARISONS, Version};

use evaluate::Run;
use trace::{Recorder, Tracer};

/// Selects how `fractional` hashes its bucketing value; both generations are in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hashing {
    /// CBOR of the value, or of `[flagKey, targetingKey]`.
    #[default]
    V3,
    /// Raw UTF-8; the flag key directly followed by the targeting key.
    V2,
}

impl Hashing {
    /// Names the generation in settings, metrics and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V3 => "v3",
            Self::V2 => "v2",
        }
    }
}

/// Indexes [`Flag::variants`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariantId(pub u16);

/// Indexes the flags of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlagId(pub u32);

/// Says why an evaluation gave what it gave (OpenFeature, flagd).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The flag has no targeting.
    Static,
    /// Targeting said nothing: the default variant.
    Default,
    /// Targeting chose the variant.
    TargetingMatch,
    /// The flag is disabled: the code default.
    Disabled,
    /// Evaluation failed: the code default.
    Error,
}

impl Reason {
    /// All reasons, by discriminant.
    pub const ALL: [Self; 5] = [Self::Static, Self::Default, Self::TargetingMatch, Self::Disabled, Self::Error];

    /// Names the reason as OpenFeature does.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::Default => "DEFAULT",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Disabled => "DISABLED",
            Self::Error => "ERROR",
        }
    }
}

/// Says what went wrong in an evaluation (OpenFeature).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// There is no such flag.
    FlagNotFound,
    /// The flag's definition or rule cannot be evaluated.
    ParseError,
    /// The variant's type is not the one asked for.
    TypeMismatch,
    /// Any other failure, such as a rule that names no variant.
    General,
}

/// The slot that `fractional` gave a targeting key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The slot, below `of`.
    pub slot: u32,
    /// The sum of the weights.
    pub of: u32,
}

/// The result of evaluating a flag; a failure is a result too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// The chosen variant; `None` means the code default (a route's fallback).
    pub variant: Option<VariantId>,
    /// Why.
    pub reason: Reason,
    /// What went wrong, with [`Reason::Error`] only.
    pub error: Option<ErrorCode>,
    /// The slot of the last `fractional` on the way, if one was evaluated.
    pub bucket: Option<Bucket>,
}

/// What a rule's `var` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Var {
    /// The name as written, such as `header.x-user-id` or `customer.plan`.
    pub name: Box<str>,
    /// The same, split at dots.
    pub path: Box<[Box<str>]>,
    /// The request attribute it names.
    pub attribute: crate::attribute::Attribute,
}

/// The evaluation context: what a flag may ask about a request.
pub trait Context {
    /// Looks up what `var` names; null when there is none. Never called for `$flagd` names.
    fn lookup<'a>(&'a self, var: &Var) -> Value<'a>;
    /// The targeting key, if there is one.
    fn targeting_key(&self) -> Option<&str>;
    /// The time for `$flagd.timestamp`, in seconds since the epoch.
    fn now_unix_s(&self) -> i64;
}

/// A variant of a flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Its name.
    pub name: Box<str>,
    /// Its value.
    pub value: serde_json::Value,
}

/// A compiled flag.
#[derive(Debug, PartialEq)]
pub struct Flag {
    /// Its key.
    pub key: Box<str>,
    /// `state: ENABLED`.
    pub enabled: bool,
    /// Its variants in file order.
    pub variants: Box<[Variant]>,
    /// The default variant; `None` means the code default.
    pub default_variant: Option<VariantId>,
    /// The compiled targeting rule.
    pub rule: Option<Rule>,
    /// The flat metadata, the set's merged in.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// A compiled targeting rule.
#[derive(Debug, PartialEq)]
pub struct Rule {
    /// `None` when the rule cannot be evaluated at all; a set with such a rule is never published.
    pub(crate) root: Option<Expr>,
}

impl Flag {
    /// Evaluates the flag; total: every failure is an [`Evaluation`] with [`Reason::Error`].
    ///
    /// Rules of comparisons, plain names, `in` a written list and `fractional` with up to 16 pairs do not allocate.
    pub fn evaluate<C: Context>(&self, context: &C, hashing: Hashing) -> Evaluation {
        self.run(context, hashing, ())
    }

    /// Evaluates the flag and records every rule's outcome, for `explain`; slow.
    pub fn explain<C: Context>(&self, context: &C, hashing: Hashing) -> Trace {
        let mut recorder = Recorder::default();
        let evaluation = self.run(context, hashing, &mut recorder);
        Trace { evaluation, steps: recorder.steps }
    }

    /// Finds a variant by its name.
    pub fn variant(&self, name: &str) -> Option<VariantId> {
        // There are at most 2^16 variants: the compiler refuses more.
        self.variants.iter().position(|variant| &*variant.name == name).map(|at| VariantId(at as u16))
    }

    /// Every name that a `var` of the rule may read, in reading order, with repetitions.
    ///
    /// Names that a rule computes, those in `missing`, and the targeting key that `fractional` reads are not among them.
    pub fn vars(&self) -> impl Iterator<Item = &Var> {
        let mut found = Vec::new();
        if let Some(root) = self.root() {
            root.collect_vars(&mut found);
        }
        found.into_iter()
    }

    /// The rule's tree, where there is one.
    pub(crate) fn root(&self) -> Option<&Expr> {
        self.rule.as_ref()?.root.as_ref()
    }

    /// The rule as JSON, with its `$ref`s unresolved; null where there is none.
    pub fn rule_json(&self) -> serde_json::Value {
        self.root().map_or(serde_json::Value::Null, Expr::to_json)
    }

    fn run<C: Context, T: Tracer>(&self, context: &C, hashing: Hashing, tracer: T) -> Evaluation {
        if !self.enabled {
            return Evaluation::of(None, Reason::Disabled);
        }
        self.ask_rule(&mut Run::new(self, context, hashing, tracer))
    }

    /// What the rule's result means: a variant's name, or null for the default variant.
    fn outcome(&self, result: &Value<'_>) -> Evaluation {
        let variant = match result {
            Value::Null => return Evaluation::of(self.default_variant, Reason::Default),
            Value::Str(name) => self.variant(name),
            Value::Bool(_) | Value::Number(_) => self.variant(&result.to_text()),
            Value::Json(_) | Value::List(_) => None,
        };
        match variant {
            Some(_) => Evaluation::of(variant, Reason::TargetingMatch),
            None => Evaluation::failed(ErrorCode::General),
        }
    }
}

impl Evaluation {
    const fn of(variant: Option<VariantId>, reason: Reason) -> Self {
        Self { variant, reason, error: None, bucket: None }
    }

    const fn failed(code: ErrorCode) -> Self {
        Self { variant: None, reason: Reason::Error, error: Some(code), bucket: None }
    }
}

impl ErrorCode {
    /// Names the code as OpenFeature does.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FlagNotFound => "FLAG_NOT_FOUND",
            Self::ParseError => "PARSE_ERROR",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::General => "GENERAL",
        }
    }
}

impl Var {
    /// Reads a name as it stands in a rule.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), path: Self::split(name), attribute: crate::attribute::Attribute::from_rule(name) }
    }

    /// Splits a name at its dots; the empty name is the empty path, which means everything.
    pub(crate) fn split(name: &str) -> Box<[Box<str>]> {
        if name.is_empty() { Box::default() } else { name.split('.').map(Into::into).collect() }
    }
}
