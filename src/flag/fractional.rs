//! Owns `fractional`: the bucketing value, its hash in both generations, and the pair that a bucket falls into.

use super::cbor;
use super::evaluate::{Run, Scope};
use super::expr::{Expr, Fractional, Op, Weight};
use super::murmur::murmur3;
use super::scratch::Scratch;
use super::trace::Tracer;
use super::value::Value;
use super::{Bucket, Context, Hashing};

/// The largest weight and the largest sum of weights (flagd).
pub(crate) const WEIGHT_SUM_MAX: u32 = i32::MAX as u32;

/// How many computed weights are kept without allocating.
const WEIGHTS_ON_STACK: usize = 16;

impl<'a, C: Context, T: Tracer> Run<'a, C, T> {
    /// Gives the variant of the bucket's pair, and null where there is no bucketing value or no weight.
    pub(super) fn fractional(&mut self, split: &'a Fractional, scope: Scope<'_, 'a>) -> Value<'a> {
        if let Some((weights, total)) = self.reweighed {
            return match self.bucket(split, total, scope) {
                Some(bucket) => self.pick(split, weights.iter().copied(), bucket, scope),
                None => Value::Null,
            };
        }
        match split.total {
            Some(total) => {
                let Some(bucket) = self.bucket(split, total, scope) else {
                    return Value::Null;
                };
                let weights = split.pairs.iter().map(|pair| match pair.weight {
                    Weight::Fixed(weight) => weight,
                    Weight::Computed(_) => 0,
                });
                self.pick(split, weights, bucket, scope)
            }
            None => self.fractional_computed(split, scope),
        }
    }

    #[inline(never)]
    fn fractional_computed(&mut self, split: &'a Fractional, scope: Scope<'_, 'a>) -> Value<'a> {
        let mut on_stack = [0; WEIGHTS_ON_STACK];
        let mut on_heap = Vec::new();
        let count = split.pairs.len();
        let weights = if count <= WEIGHTS_ON_STACK {
            &mut on_stack[..count]
        } else {
            on_heap.resize(count, 0);
            &mut on_heap[..]
        };
        let mut total = 0;
        for (weight, pair) in weights.iter_mut().zip(&split.pairs) {
            let Some(value) = self.weight(&pair.weight, scope) else {
                return Value::Null;
            };
            *weight = value;
            // Both are at most 2^31 - 1, so the sum cannot overflow before it is found too large.
            total += value;
            if total > WEIGHT_SUM_MAX {
                return Value::Null;
            }
        }
        match self.bucket(split, total, scope) {
            Some(bucket) => self.pick(split, weights.iter().copied(), bucket, scope),
            None => Value::Null,
        }
    }

    fn weight(&mut self, weight: &'a Weight, scope: Scope<'_, 'a>) -> Option<u32> {
        match weight {
            Weight::Fixed(weight) => Some(*weight),
            Weight::Computed(expr) => match self.eval(expr, scope) {
                Value::Number(number) => whole_weight(number),
                _ => None,
            },
        }
    }

    fn bucket(&mut self, split: &'a Fractional, total: u32, scope: Scope<'_, 'a>) -> Option<Bucket> {
        let bucket = slot_of(self.hash(split, scope)?, total)?;
        self.bucket = Some(bucket);
        Some(bucket)
    }

    /// The bucket of the flag key with the targeting key, as a `fractional` without a bucketing value has it.
    pub(super) fn bucket_of_key(&self, total: u32) -> Option<Bucket> {
        slot_of(self.hash_implicit()?, total)
    }

    fn pick(
        &mut self,
        split: &'a Fractional,
        weights: impl Iterator<Item = u32>,
        bucket: Bucket,
        scope: Scope<'_, 'a>,
    ) -> Value<'a> {
        let mut end = 0;
        for (weight, pair) in weights.zip(&split.pairs) {
            end += weight;
            if bucket.slot < end {
                return self.eval(&pair.variant, scope);
            }
        }
        Value::Null
    }

    fn hash(&mut self, split: &'a Fractional, scope: Scope<'_, 'a>) -> Option<u32> {
        match &split.seed {
            None => self.hash_implicit(),
            Some(Expr::Call(Op::Cat, parts)) => Some(self.hash_cat(parts, scope)),
            Some(seed) => {
                let value = self.eval(seed, scope);
                self.hash_value(&value)
            }
        }
    }

    fn hash_implicit(&self) -> Option<u32> {
        let targeting_key = self.context.targeting_key().filter(|key| !key.is_empty())?;
        let mut scratch = Scratch::new();
        match self.hashing {
            Hashing::V3 => cbor::write_text_pair(&self.flag.key, targeting_key, &mut scratch),
            Hashing::V2 => {
                scratch.push(self.flag.key.as_bytes());
                scratch.push(targeting_key.as_bytes());
            }
        }
        Some(murmur3(scratch.as_bytes()))
    }

    /// Hashes the text of a `cat` without making a string of it.
    fn hash_cat(&mut self, parts: &'a [Expr], scope: Scope<'_, 'a>) -> u32 {
        let mut scratch = Scratch::new();
        scratch.push(&[0; cbor::HEAD_BYTES_MAX]);
        for part in parts {
            let value = self.eval(part, scope);
            self.spend(value.extent().1);
            value.write_text(&mut scratch);
        }
        match self.hashing {
            Hashing::V3 => murmur3(cbor::text_in_place(&mut scratch)),
            Hashing::V2 => murmur3(&scratch.as_bytes()[cbor::HEAD_BYTES_MAX..]),
        }
    }

    fn hash_value(&self, value: &Value<'a>) -> Option<u32> {
        match (self.hashing, value) {
            // Generation 2 falls back to the implicit value where the attribute is missing; 3 gives the default variant.
            (Hashing::V2, Value::Null) => self.hash_implicit(),
            (Hashing::V2, Value::Str(text)) => Some(murmur3(text.as_bytes())),
            (Hashing::V2, _) | (Hashing::V3, Value::Null) => None,
            (Hashing::V3, value) if value.is_list() => None,
            (Hashing::V3, value) => {
                let mut scratch = Scratch::new();
                cbor::write_value(value, &mut scratch)?;
                Some(murmur3(scratch.as_bytes()))
            }
        }
    }
}

fn slot_of(hash: u32, total: u32) -> Option<Bucket> {
    // Below `total`, since the hash is below 2^32.
    let slot = ((u64::from(hash) * u64::from(total)) >> 32) as u32;
    (total > 0).then_some(Bucket { slot, of: total })
}

/// A weight as flagd counts it: whole, at most 2^31 - 1, and 0 when it is negative.
pub(crate) fn whole_weight(number: f64) -> Option<u32> {
    let legal = number.is_finite() && number.fract() == 0.0 && number <= f64::from(WEIGHT_SUM_MAX);
    // The cast takes what is below 0 for 0.
    legal.then_some(number as u32)
}
