//! Owns the evaluation of one compiled flag with flagd's semantics; it never reads files, requests or the clock.

mod value;

pub use value::Value;

/// Selects how `fractional` hashes its bucketing value; both generations are in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hashing {
    /// CBOR of the value, or of `[flagKey, targetingKey]`.
    #[default]
    V3,
    /// Raw UTF-8; the flag key directly followed by the targeting key.
    V2,
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
#[derive(Debug)]
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
#[derive(Debug)]
pub struct Rule;

impl Flag {
    /// Evaluates the flag; total: every failure is an [`Evaluation`] with [`Reason::Error`].
    pub fn evaluate<C: Context>(&self, _context: &C, _hashing: Hashing) -> Evaluation {
        todo!("helper A")
    }
}
