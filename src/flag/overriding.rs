//! Owns what an operator's override does to the evaluation of one flag; it never keeps or publishes one.

use super::evaluate::{Run, Scope};
use super::shares::{apportion, sum_for};
use super::trace::{Recorder, Tracer};
use super::{
    Context, ErrorCode, Evaluation, Expr, Flag, Fractional, Hashing, Op, Pair, Reason, Share, Trace, Var, VariantId,
    Weight,
};

/// Which kind of override decided an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverrideKind {
    /// Every flag is killed.
    KillAll,
    /// The flag is killed.
    Kill,
    /// A pin gave the variant.
    Pin,
    /// Shares that were set gave the variant.
    Split,
}

impl OverrideKind {
    /// All kinds, by discriminant, in the order in which they are asked.
    pub const ALL: [Self; 4] = [Self::KillAll, Self::Kill, Self::Pin, Self::Split];

    /// Names the kind in headers, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KillAll => "kill_all",
            Self::Kill => "kill",
            Self::Pin => "pin",
            Self::Split => "split",
        }
    }
}

/// What lies over one flag.
///
/// A kill is asked first, then the pins in their order, then the split. A flag that its file disables stays disabled
/// under pins and splits: a kill from any source beats them.
#[derive(Debug, Default)]
pub struct FlagOverride {
    /// The flag gives its code default.
    pub killed: bool,
    /// Who gets which variant before the rule is asked.
    pub pins: Vec<Pin>,
    /// Shares in place of those in the rule.
    pub split: Option<Split>,
}

/// A variant for whoever has a value of an attribute.
#[derive(Debug)]
pub struct Pin {
    condition: Expr,
    variant: VariantId,
}

/// Shares that lie over a flag's split.
#[derive(Debug)]
pub struct Split {
    form: Form,
    total: u32,
}

#[derive(Debug)]
enum Form {
    /// Weights for the pairs of the rule's one `fractional`.
    Reweighed(Box<[u32]>),
    /// Pairs that stand where the default variant would have been given; `None` is the default variant.
    AtDefault(Box<[(Option<VariantId>, u32)]>),
}

/// Says why shares cannot lie over a flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The flag has no such variant, or its split has no pair for it.
    #[error("`{0}` is no variant of the flag's split")]
    NotInSplit(Box<str>),
    /// A variant is named twice.
    #[error("the variant `{0}` is named twice")]
    Repeated(Box<str>),
    /// The shares add up to more than 100 %.
    #[error("the shares add up to more than 100%")]
    TooMuch,
    /// All variants of the split are named, and less than 100 % is given away.
    #[error("every variant of the split is named, so the shares must add up to 100%")]
    TooLittle,
    /// No share is given.
    #[error("no share is given")]
    Nothing,
    /// The rule has more than one `fractional`.
    #[error("the flag's rule has {0} `fractional`s, so it is not clear which one is meant; edit the file by hand")]
    SeveralSplits(usize),
    /// A weight is computed.
    #[error("the flag's `fractional` computes its weights; edit the file by hand")]
    Computed,
}

impl Pin {
    /// Pins whoever's attribute, named as in rules, equals a value.
    ///
    /// It is the rule `{"==": [{"var": ATTRIBUTE}, VALUE]}` and compares as that does.
    pub fn new(attribute: &str, value: &str, variant: VariantId) -> Self {
        let name = Expr::Var(Box::new(Var::new(attribute)));
        let condition = Expr::Call(Op::Equal, Box::new([name, Expr::Text(value.into())]));
        Self { condition, variant }
    }
}

impl Split {
    /// Lays shares over a flag: of its one `fractional`, or where its default variant would be given.
    ///
    /// Named variants get their shares; what is left goes to the others in proportion to their weights. The order of
    /// the pairs stays, and so do the buckets.
    ///
    /// # Errors
    /// When the shares do not fit the flag.
    pub fn over(flag: &Flag, shares: &[(&str, Share)]) -> Result<Self, SplitError> {
        let mut given = Share::default();
        for (at, (name, share)) in shares.iter().enumerate() {
            if shares[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(SplitError::Repeated((*name).into()));
            }
            if flag.variant(name).is_none() {
                return Err(SplitError::NotInSplit((*name).into()));
            }
            given = given.plus(*share).ok_or(SplitError::TooMuch)?;
        }
        if shares.is_empty() {
            return Err(SplitError::Nothing);
        }
        match *flag.splits() {
            [] => Self::at_default(flag, shares, given),
            [split] => Self::reweigh(split, shares, given),
            ref several => Err(SplitError::SeveralSplits(several.len())),
        }
    }

    fn reweigh(split: &Fractional, shares: &[(&str, Share)], given: Share) -> Result<Self, SplitError> {
        let present: Option<Vec<u32>> = split.pairs.iter().map(Pair::fixed_weight).collect();
        let (Some(present), Some(sum)) = (present, split.total) else {
            return Err(SplitError::Computed);
        };
        let total = sum_for(sum, shares.iter().map(|(_, share)| *share));
        let mut weights = vec![0; present.len()];
        let mut unnamed: Vec<usize> = (0..present.len()).collect();
        let mut left = total;
        for (name, share) in shares {
            let is_named = |at: &usize| split.pairs[*at].text() == Some(name);
            let named: Vec<usize> = unnamed.iter().copied().filter(is_named).collect();
            if named.is_empty() {
                return Err(SplitError::NotInSplit((*name).into()));
            }
            unnamed.retain(|at| !named.contains(at));
            // `sum_for` chose a sum that can say each share; together they are at most all of it.
            let amount = share.of(total).unwrap_or_default();
            left = left.saturating_sub(amount);
            give(amount, &named, &present, &mut weights);
        }
        if unnamed.is_empty() && given != Share::WHOLE {
            return Err(SplitError::TooLittle);
        }
        give(left, &unnamed, &present, &mut weights);
        Ok(Self { form: Form::Reweighed(weights.into()), total })
    }

    fn at_default(flag: &Flag, shares: &[(&str, Share)], given: Share) -> Result<Self, SplitError> {
        let total = sum_for(100, shares.iter().map(|(_, share)| *share));
        let weigh = |(name, share): &(&str, Share)| (flag.variant(name), share.of(total).unwrap_or_default());
        let mut pairs: Vec<_> = shares.iter().map(weigh).collect();
        if given != Share::WHOLE {
            if flag.default_variant.is_some_and(|default| pairs.iter().any(|(named, _)| *named == Some(default))) {
                return Err(SplitError::TooLittle);
            }
            let left = total - pairs.iter().map(|(_, weight)| weight).sum::<u32>();
            pairs.push((None, left));
        }
        Ok(Self { form: Form::AtDefault(pairs.into()), total })
    }

    /// The weights in place of those in the rule, with their sum; `None` where the split has pairs of its own.
    pub fn weights(&self) -> Option<(&[u32], u32)> {
        match &self.form {
            Form::Reweighed(weights) => Some((weights, self.total)),
            Form::AtDefault(_) => None,
        }
    }

    /// The pairs that stand where the default variant would be given, which is `None`; nothing where the rule has pairs.
    pub fn pairs(&self) -> &[(Option<VariantId>, u32)] {
        match &self.form {
            Form::Reweighed(_) => &[],
            Form::AtDefault(pairs) => pairs,
        }
    }
}

/// Divides an amount among some of the pairs.
fn give(amount: u32, to: &[usize], present: &[u32], weights: &mut [u32]) {
    let present: Vec<u32> = to.iter().map(|at| present[*at]).collect();
    for (at, part) in to.iter().zip(apportion(amount, &present)) {
        weights[*at] = part;
    }
}

impl Pair {
    /// The weight, where it stands in the rule.
    pub(crate) fn fixed_weight(&self) -> Option<u32> {
        match self.weight {
            Weight::Fixed(weight) => Some(weight),
            Weight::Computed(_) => None,
        }
    }

    /// The variant's name, where it stands in the rule.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.variant {
            Expr::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Flag {
    /// Evaluates the flag under an override; says which kind decided, if one did. As total as [`Flag::evaluate`].
    pub fn evaluate_under<C: Context>(
        &self,
        context: &C,
        hashing: Hashing,
        over: &FlagOverride,
    ) -> (Evaluation, Option<OverrideKind>) {
        self.run_under(context, hashing, over, ())
    }

    /// The same with every rule's outcome, for `explain`; slow.
    pub fn explain_under<C: Context>(
        &self,
        context: &C,
        hashing: Hashing,
        over: &FlagOverride,
    ) -> (Trace, Option<OverrideKind>) {
        let mut recorder = Recorder::default();
        let (evaluation, kind) = self.run_under(context, hashing, over, &mut recorder);
        (Trace { evaluation, steps: recorder.steps }, kind)
    }

    /// What a killed flag gives: the code default.
    pub const fn killed() -> Evaluation {
        Evaluation::of(None, Reason::Disabled)
    }

    /// Every `fractional` of the rule; one that is shared and stands there twice is one.
    pub(crate) fn splits(&self) -> Vec<&Fractional> {
        let mut found = Vec::new();
        if let Some(root) = self.root() {
            root.collect_splits(&mut found);
        }
        let mut splits: Vec<&Fractional> = Vec::new();
        for split in found {
            if !splits.iter().any(|known| std::ptr::eq(*known, split)) {
                splits.push(split);
            }
        }
        splits
    }

    fn run_under<C: Context, T: Tracer>(
        &self,
        context: &C,
        hashing: Hashing,
        over: &FlagOverride,
        tracer: T,
    ) -> (Evaluation, Option<OverrideKind>) {
        if over.killed {
            return (Self::killed(), Some(OverrideKind::Kill));
        }
        if !self.enabled {
            return (Self::killed(), None);
        }
        let mut run = Run::new(self, context, hashing, tracer);
        run.reweighed = over.split.as_ref().and_then(Split::weights);
        for pin in &over.pins {
            if run.eval(&pin.condition, Scope::Root).is_truthy() {
                return (Evaluation::of(Some(pin.variant), Reason::TargetingMatch), Some(OverrideKind::Pin));
            }
        }
        let evaluation = self.ask_rule(&mut run);
        let at_default = matches!(evaluation.reason, Reason::Static | Reason::Default);
        let split = over.split.as_ref().filter(|_| at_default);
        if let Some(shared) = split.and_then(|split| self.share_default(split, &run)) {
            return (shared, Some(OverrideKind::Split));
        }
        let split_chose = run.reweighed.is_some() && run.bucket.is_some();
        (evaluation, split_chose.then_some(OverrideKind::Split))
    }

    /// What a split gives where the default variant would have been given; `None` where it has no say.
    fn share_default<C: Context, T: Tracer>(&self, split: &Split, run: &Run<'_, C, T>) -> Option<Evaluation> {
        let Form::AtDefault(pairs) = &split.form else { return None };
        let bucket = run.bucket_of_key(split.total)?;
        let mut end = 0;
        let pair = pairs.iter().find(|(_, weight)| {
            end += weight;
            bucket.slot < end
        });
        let variant = pair.and_then(|(variant, _)| *variant).or(self.default_variant);
        let reason = if variant.is_some() { Reason::TargetingMatch } else { Reason::Default };
        Some(Evaluation { bucket: Some(bucket), ..Evaluation::of(variant, reason) })
    }

    /// What the rule of an enabled flag says.
    pub(super) fn ask_rule<'a, C: Context, T: Tracer>(&'a self, run: &mut Run<'a, C, T>) -> Evaluation {
        let Some(rule) = &self.rule else {
            let reason = if self.default_variant.is_some() { Reason::Static } else { Reason::Default };
            return Evaluation::of(self.default_variant, reason);
        };
        let Some(root) = &rule.root else {
            return Evaluation::failed(ErrorCode::ParseError);
        };
        let result = run.eval(root, Scope::Root);
        let outcome = if run.is_exhausted() { Evaluation::failed(ErrorCode::General) } else { self.outcome(&result) };
        Evaluation { bucket: run.bucket, ..outcome }
    }
}
