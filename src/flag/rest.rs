//! Owns what a flag gives to everybody, if it does, and which shares its split gives; read from the rule, never evaluated.

use super::{Expr, Flag, Fractional, Op, Split, VariantId};

/// What a flag at rest gives to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// This variant.
    Variant(VariantId),
    /// The code default: the fallback of its routes.
    Fallback,
}

/// The shares of a split, from 0 to 1, by [`VariantId`]; `None` for a variant that has no pair.
pub type Shares = Vec<Option<f64>>;

impl Flag {
    /// What the flag gives to everybody; `None` while its rule gives different things, or computes them.
    ///
    /// Whoever has no targeting key gets the default variant of a split; that does not count as another outcome.
    pub fn rest(&self) -> Option<Rest> {
        if !self.enabled {
            return Some(Rest::Fallback);
        }
        let Some(rule) = &self.rule else { return Some(self.default_rest()) };
        self.rest_of(rule.root.as_ref()?)
    }

    /// The shares that the file gives: those of the rule's first split; `None` where there is none, or it computes them.
    pub fn file_shares(&self) -> Option<Shares> {
        let splits = self.splits();
        let split = splits.first()?;
        let weights: Option<Vec<u32>> = split.pairs.iter().map(super::Pair::fixed_weight).collect();
        self.shares(split, &weights?)
    }

    /// The shares while an override's split lies over it.
    pub fn shares_under(&self, over: &Split) -> Option<Shares> {
        if let Some((weights, _)) = over.weights() {
            return self.shares(self.splits().first()?, weights);
        }
        let total: f64 = over.pairs().iter().map(|(_, weight)| f64::from(*weight)).sum();
        let mut shares = vec![None; self.variants.len()];
        for (variant, weight) in over.pairs() {
            if let Some(variant) = variant.or(self.default_variant) {
                add(&mut shares, variant, f64::from(*weight) / total);
            }
        }
        Some(shares)
    }

    fn shares(&self, split: &Fractional, weights: &[u32]) -> Option<Shares> {
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        if total == 0.0 {
            return None;
        }
        let mut shares = vec![None; self.variants.len()];
        for (pair, weight) in split.pairs.iter().zip(weights) {
            if let Some(variant) = self.named(&pair.variant).flatten() {
                add(&mut shares, variant, f64::from(*weight) / total);
            }
        }
        Some(shares)
    }

    fn rest_of(&self, rule: &Expr) -> Option<Rest> {
        match rule {
            Expr::Shared(_, rule) => self.rest_of(rule),
            Expr::Call(Op::If, operands) => self.rest_of_if(operands),
            Expr::Fractional(split) => self.rest_of_split(split),
            plain => self.named(plain).map(|variant| variant.map_or_else(|| self.default_rest(), Rest::Variant)),
        }
    }

    /// What all branches agree on; without a last one, the default variant is a branch too.
    fn rest_of_if(&self, operands: &[Expr]) -> Option<Rest> {
        let branches = operands.iter().enumerate().filter(|(at, _)| at % 2 == 1 || at + 1 == operands.len());
        let mut rests = branches.map(|(_, branch)| self.rest_of(branch));
        let first = rests.next()??;
        let agree = rests.all(|rest| rest == Some(first));
        let has_else = operands.len() % 2 == 1;
        (agree && (has_else || first == self.default_rest())).then_some(first)
    }

    fn rest_of_split(&self, split: &Fractional) -> Option<Rest> {
        let mut rests = (split.pairs.iter()).filter(|pair| pair.fixed_weight() != Some(0)).map(|pair| {
            // A computed weight may be 0 today and not tomorrow.
            pair.fixed_weight().and_then(|_| self.rest_of(&pair.variant))
        });
        let Some(first) = rests.next() else { return Some(self.default_rest()) };
        first.filter(|first| rests.all(|rest| rest == Some(*first)))
    }

    fn default_rest(&self) -> Rest {
        self.default_variant.map_or(Rest::Fallback, Rest::Variant)
    }

    /// The variant that stands in a rule, `Some(None)` where null stands there for the default variant.
    fn named(&self, constant: &Expr) -> Option<Option<VariantId>> {
        let variant = match constant {
            Expr::Null => return Some(None),
            Expr::Text(name) => self.variant(name),
            Expr::Bool(value) => self.variant(if *value { "true" } else { "false" }),
            _ => None,
        };
        variant.map(Some)
    }
}

fn add(shares: &mut Shares, variant: VariantId, share: f64) {
    if let Some(slot) = shares.get_mut(usize::from(variant.0)) {
        *slot = Some(slot.unwrap_or_default() + share);
    }
}
