//! Owns shares of users: how they are written, and the weights that say them in a split.

use std::fmt;
use std::str::FromStr;

use super::WEIGHT_SUM_MAX;

/// The sums of weights that people can read as shares, the coarsest first; the last says every [`Share`].
const SUMS: [u32; 4] = [100, 1_000, 10_000, Share::ALL.0];

/// A share of users in steps of 0.001 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

/// Says why shares cannot be weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharesError {
    /// Together they are more than everybody.
    #[error("the shares sum to {0}, which is more than 100 %")]
    Over(Percent),
    /// They leave somebody out, and no other pair can take them.
    #[error("the shares sum to {0}, and no other variant is there to take the rest")]
    NoRest(Percent),
}

/// A sum of shares, in steps of 0.001 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(u64);

impl Share {
    /// Nobody.
    pub const NONE: Self = Self(0);
    /// Everybody.
    pub const ALL: Self = Self(100_000);
}

impl FromStr for Share {
    type Err = &'static str;

    /// Reads `10%`, `12.5%` or `0.001%`; the sign is required, because 0.1 could mean both.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').ok_or("write a share with its sign, such as 10% or 0.5%")?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err("write a share from 0% to 100%, such as 10% or 0.5%");
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > 3 {
            return Err("the finest share is 0.001%");
        }
        let thousandths: u32 = format!("{decimals:0<3}").parse().unwrap_or(0);
        let whole = whole.parse::<u32>().ok().filter(|whole| *whole <= 100);
        let share = whole.map(|whole| whole * 1_000 + thousandths).filter(|share| *share <= Self::ALL.0);
        share.map(Self).ok_or("a share is at most 100%")
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Percent(self.0.into()).fmt(out)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000);
        write!(out, "{} %", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Makes the weights of a split whose named pairs get the wanted shares, in the order of the pairs.
///
/// `present` are the weights now, `wanted` the share of each pair that is named. What is left goes to the others in
/// proportion to their present weights; if those are all 0, to the first of them. The sum stays the present one if it
/// says all shares exactly; else it is the smallest of 100, 1000, 10000 and 100000 that does, or that says at
/// least the wanted ones exactly.
///
/// # Errors
/// When the shares are more than everybody, or leave people to nobody.
pub fn weights_of(present: &[u32], wanted: &[Option<Share>]) -> Result<Vec<u32>, SharesError> {
    let named: u64 = wanted.iter().flatten().map(|share| u64::from(share.0)).sum();
    if named > u64::from(Share::ALL.0) {
        return Err(SharesError::Over(Percent(named)));
    }
    let others: Vec<u64> = present
        .iter()
        .zip(wanted)
        .filter(|(_, wanted)| wanted.is_none())
        .map(|(weight, _)| u64::from(*weight))
        .collect();
    let rest = u64::from(Share::ALL.0) - named;
    if rest > 0 && others.is_empty() {
        return Err(SharesError::NoRest(Percent(named)));
    }
    let now: u64 = present.iter().map(|weight| u64::from(*weight)).sum();
    let now = u32::try_from(now).ok().filter(|sum| (1..=WEIGHT_SUM_MAX).contains(sum));
    let sums = || now.into_iter().chain(SUMS);
    let says_wanted = |sum: &u32| wanted.iter().flatten().all(|share| exact(*share, *sum).is_some());
    let says_others = |sum: &u32| {
        let whole = rest * u64::from(*sum) / u64::from(Share::ALL.0);
        let all: u64 = others.iter().sum();
        others.iter().all(|weight| all == 0 || (whole * weight).is_multiple_of(all))
    };
    let sum = sums().find(|sum| says_wanted(sum) && says_others(sum)).or_else(|| sums().find(says_wanted));
    Ok(spread(wanted, &others, sum.unwrap_or(Share::ALL.0)))
}

/// The weight that says a share of a sum, if a whole one does.
fn exact(share: Share, sum: u32) -> Option<u32> {
    let product = u64::from(share.0) * u64::from(sum);
    let weight = product.is_multiple_of(Share::ALL.0.into()).then_some(product / u64::from(Share::ALL.0));
    weight.and_then(|weight| u32::try_from(weight).ok())
}

/// The wanted weights of a sum that says them, and the rest over the others by the largest remainders.
fn spread(wanted: &[Option<Share>], others: &[u64], sum: u32) -> Vec<u32> {
    let taken: u32 = wanted.iter().flatten().filter_map(|share| exact(*share, sum)).sum();
    let rest = u64::from(sum - taken);
    let all: u64 = others.iter().sum();
    let mut parts: Vec<u64> = match all {
        0 => others.iter().enumerate().map(|(at, _)| if at == 0 { rest } else { 0 }).collect(),
        all => others.iter().map(|weight| rest * weight / all).collect(),
    };
    let mut by_remainder: Vec<usize> = (0..others.len()).collect();
    // A stable sort: among equals the first gets more.
    by_remainder.sort_by_key(|at| std::cmp::Reverse(if all == 0 { 0 } else { rest * others[*at] % all }));
    let short = rest - parts.iter().sum::<u64>();
    for at in by_remainder.into_iter().take(usize::try_from(short).unwrap_or(0)) {
        parts[at] += 1;
    }
    let mut parts = parts.into_iter();
    let weight = |share: &Option<Share>| match share {
        Some(share) => exact(*share, sum).unwrap_or(0),
        // Each part is at most the sum.
        None => parts.next().unwrap_or(0) as u32,
    };
    wanted.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::{Share, SharesError, weights_of};

    fn share(text: &str) -> Option<Share> {
        Some(text.parse().expect("a share"))
    }

    #[test]
    fn shares_are_read_exactly() {
        for (text, shown) in [("10%", "10 %"), ("0.001%", "0.001 %"), ("12.50 %", "12.5 %"), ("100.000%", "100 %")] {
            assert_eq!(text.parse::<Share>().map(|share| share.to_string()), Ok(shown.to_owned()));
        }
        for wrong in ["10", "%", "-1%", "1e1%", "100.001%", "101%", "0.0001%", ".5%", "5.%", "99999999999%"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_present_sum_stays_where_it_can() {
        assert_eq!(weights_of(&[10, 90], &[share("25%"), None]), Ok(vec![25, 75]));
        assert_eq!(weights_of(&[100, 900], &[share("25%"), None]), Ok(vec![250, 750]));
        assert_eq!(weights_of(&[10, 90], &[share("12.5%"), None]), Ok(vec![125, 875]));
        assert_eq!(weights_of(&[10, 90], &[share("0.001%"), None]), Ok(vec![1, 99_999]));
        assert_eq!(weights_of(&[1, 1], &[share("50%"), None]), Ok(vec![1, 1]));
        assert_eq!(weights_of(&[1, 2], &[share("10%"), None]), Ok(vec![10, 90]));
    }

    #[test]
    fn the_rest_keeps_its_proportions() {
        assert_eq!(weights_of(&[10, 60, 30], &[share("40%"), None, None]), Ok(vec![40, 40, 20]));
        assert_eq!(weights_of(&[10, 45, 45], &[share("15%"), None, None]), Ok(vec![150, 425, 425]));
        assert_eq!(weights_of(&[10, 30, 60], &[share("11%"), None, None]), Ok(vec![11, 30, 59]));
        assert_eq!(weights_of(&[100, 0, 0], &[share("40%"), None, None]), Ok(vec![40, 60, 0]));
        assert_eq!(weights_of(&[0, 0], &[share("100%"), None]), Ok(vec![100, 0]));
        assert_eq!(weights_of(&[10, 90], &[share("100%"), share("0%")]), Ok(vec![100, 0]));
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let over = weights_of(&[1, 2, 3], &[share("60%"), share("40.5%"), None]);
        assert_eq!(
            over.map_err(|error| error.to_string()),
            Err("the shares sum to 100.5 %, which is more than 100 %".into())
        );
        assert!(matches!(weights_of(&[1, 2], &[share("60%"), share("30%")]), Err(SharesError::NoRest(_))));
    }
}
