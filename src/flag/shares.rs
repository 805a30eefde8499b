//! Owns shares in percent and how the weights of a split come to say them; it knows no flag.

use std::fmt;
use std::str::FromStr;

use super::WEIGHT_SUM_MAX;

/// The sums of weights that are tried when the present one cannot say a share, the smallest first.
const SUMS: [u32; 4] = [100, 1_000, 10_000, Share::WHOLE.0];

/// A share of users in thousandths of a percent, from 0 to 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Share(u32);

/// Says why a text is not a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a share; write a percentage from 0% to 100%, with at most three decimals, such as 12.5%")]
pub struct ShareError(String);

impl Share {
    /// 100 %.
    pub const WHOLE: Self = Self(100_000);

    /// Adds; `None` beyond 100 %.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self).filter(|sum| *sum <= Self::WHOLE)
    }

    /// The weight that is this share of `sum`, where a whole number is.
    pub(super) fn of(self, sum: u32) -> Option<u32> {
        let product = u64::from(self.0) * u64::from(sum);
        let whole = u64::from(Self::WHOLE.0);
        product.is_multiple_of(whole).then(|| u32::try_from(product / whole).ok()).flatten()
    }
}

impl FromStr for Share {
    type Err = ShareError;

    /// Reads `10%`, `10` or `0.001%`.
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let wrong = || ShareError(text.to_owned());
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || whole.len() > 3 || decimals.len() > 3 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let thousandths: u32 = format!("{decimals:0<3}").parse().map_err(|_| wrong())?;
        Some(Self(whole * 1_000 + thousandths)).filter(|share| *share <= Self::WHOLE).ok_or_else(wrong)
    }
}

/// Writes what [`Share::from_str`] reads, such as `12.5%`.
impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, thousandths) = (self.0 / 1_000, self.0 % 1_000);
        if thousandths == 0 {
            return write!(out, "{whole}%");
        }
        write!(out, "{whole}.{}%", format!("{thousandths:03}").trim_end_matches('0'))
    }
}

/// The sum of weights that says all shares: the present one if it can, else the smallest round one that can.
pub(super) fn sum_for(present: u32, shares: impl Iterator<Item = Share> + Clone) -> u32 {
    let can = |sum: &u32| *sum > 0 && shares.clone().all(|share| share.of(*sum).is_some());
    [present].into_iter().chain(SUMS).find(can).unwrap_or(Share::WHOLE.0)
}

/// Divides `amount` in proportion to `present`; where all of them are 0, the first gets it.
///
/// Whole numbers by the largest remainder, the earlier first, so that they add up to `amount`.
pub(super) fn apportion(amount: u32, present: &[u32]) -> Vec<u32> {
    let sum: u64 = present.iter().map(|weight| u64::from(*weight)).sum();
    if sum == 0 {
        return present.iter().enumerate().map(|(at, _)| if at == 0 { amount } else { 0 }).collect();
    }
    // Each product is below 2^62, and each quotient at most `amount`.
    let product = |weight: &u32| u64::from(amount) * u64::from(*weight);
    let mut parts: Vec<u32> = present.iter().map(|weight| (product(weight) / sum) as u32).collect();
    let mut order: Vec<usize> = (0..present.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(product(&present[*at]) % sum));
    let missing = amount - parts.iter().sum::<u32>();
    for at in order.into_iter().take(missing as usize) {
        parts[at] += 1;
    }
    parts
}

const _: () = assert!(Share::WHOLE.0 <= WEIGHT_SUM_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_as_they_are_read() {
        for text in ["0%", "0.001%", "0.01%", "12.5%", "33.333%", "99.999%", "100%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        assert_eq!("10".parse::<Share>(), "10.000%".parse());
        for text in ["", "%", "-1%", "100.001%", "1000%", "0.0001%", "1e1", "1.%", ".5%", "ten%", "+1", "1 %"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_sum_stays_if_it_can_say_the_shares() {
        let sum = |present, shares: &[&str]| {
            let shares: Vec<Share> = shares.iter().map(|share| share.parse().unwrap()).collect();
            sum_for(present, shares.iter().copied())
        };
        assert_eq!(sum(100, &["10%"]), 100);
        assert_eq!(sum(8, &["12.5%", "25%"]), 8);
        assert_eq!(sum(3, &["50%"]), 100);
        assert_eq!(sum(100, &["0.5%"]), 1_000);
        assert_eq!(sum(100, &["0.25%"]), 10_000);
        assert_eq!(sum(7, &["0.001%"]), 100_000);
        assert_eq!(sum(0, &["0%"]), 100);
    }

    #[test]
    fn what_is_left_is_divided_whole() {
        assert_eq!(apportion(90, &[10, 20]), [30, 60]);
        assert_eq!(apportion(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(apportion(5, &[0, 0]), [5, 0]);
        assert_eq!(apportion(0, &[3, 4]), [0, 0]);
        assert_eq!(apportion(WEIGHT_SUM_MAX, &[WEIGHT_SUM_MAX, WEIGHT_SUM_MAX]).iter().sum::<u32>(), WEIGHT_SUM_MAX);
    }
}
