//! Owns the choice of one endpoint among several by share and load; it knows them by number only.

use crate::health::FULL_SHARE;

/// Draws that may miss before the shares are added up: a miss needs an endpoint that is out or on its way in.
const DRAWS_MAX: u32 = 8;

/// The less loaded of two that are drawn at random, each as likely as its share; `None` when all shares are 0.
///
/// With all fully in service it looks at two of them, however many there are. An endpoint on its way in has little to
/// do and would win every comparison, so it can be chosen only as the one drawn first: its part of the requests then
/// never exceeds its share. `draw` gives a random number below its argument.
pub(super) fn two_choices(
    count: usize,
    share: impl Fn(usize) -> u32,
    load: impl Fn(usize) -> u32,
    mut draw: impl FnMut(u32) -> u32,
) -> Option<usize> {
    let first = weighted(count, &share, &mut draw)?;
    let second = weighted(count, |index| if index == first { 0 } else { share(index) }, &mut draw);
    let better = second.filter(|second| share(*second) == FULL_SHARE && load(*second) < load(first));
    Some(better.unwrap_or(first))
}

/// One of `count` at random, each as likely as its share.
fn weighted(count: usize, share: impl Fn(usize) -> u32, mut draw: impl FnMut(u32) -> u32) -> Option<usize> {
    let bound = u32::try_from(count).ok().filter(|bound| *bound > 0)?;
    for _ in 0..DRAWS_MAX {
        let index = draw(bound) as usize;
        let share = share(index);
        if share == FULL_SHARE || (share > 0 && draw(FULL_SHARE) < share) {
            return Some(index);
        }
    }
    let total: u32 = (0..count).map(&share).fold(0, u32::saturating_add);
    let mut left = if total == 0 { return None } else { draw(total) };
    (0..count).find(|index| {
        let share = share(*index);
        let found = left < share;
        left = left.saturating_sub(share);
        found
    })
}

/// A random number below `bound`, which is not 0.
pub(super) fn draw(bound: u32) -> u32 {
    fastrand::u32(..bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each of the shares is chosen in 100,000 choices, with equal loads or with those given.
    fn picks(shares: &[u32], loads: &[u32]) -> Vec<u32> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut picks = vec![0; shares.len()];
        for _ in 0..100_000 {
            let load = |index: usize| loads.get(index).copied().unwrap_or(0);
            let chosen = two_choices(shares.len(), |index| shares[index], load, |bound| random.u32(..bound));
            picks[chosen.expect("some share is not 0")] += 1;
        }
        picks
    }

    fn is_near(found: u32, expected: u32) -> bool {
        found.abs_diff(expected) < 600
    }

    #[test]
    fn equal_shares_are_chosen_alike() {
        assert!(picks(&[FULL_SHARE; 4], &[]).into_iter().all(|picks| is_near(picks, 25_000)));
    }

    #[test]
    fn what_has_no_share_is_never_chosen() {
        let picks = picks(&[0, FULL_SHARE, 0, FULL_SHARE, 0], &[0, 9, 0, 9, 0]);
        assert_eq!((picks[0], picks[2], picks[4]), (0, 0, 0));
        assert!(is_near(picks[1], 50_000));
        assert_eq!(two_choices(3, |_| 0, |_| 0, |_| 0), None);
        assert_eq!(two_choices(0, |_| FULL_SHARE, |_| 0, |_| 0), None);
    }

    #[test]
    fn the_less_loaded_of_two_is_chosen() {
        assert_eq!(picks(&[FULL_SHARE; 2], &[1, 2]), [100_000, 0]);
    }

    #[test]
    fn on_the_way_in_the_part_is_the_share_and_never_more() {
        for share in [10, 100, 250, 500, 900] {
            let expected = 100_000 * share / (share + 3 * FULL_SHARE);
            let shares = [FULL_SHARE, share, FULL_SHARE, FULL_SHARE];
            assert!(is_near(picks(&shares, &[])[1], expected), "{share}: {:?}", picks(&shares, &[]));
            let busy = picks(&shares, &[5, 0, 5, 5]);
            assert!(is_near(busy[1], expected), "idle as it is, {share}: {busy:?}");
        }
    }

    #[test]
    fn all_on_their_way_in_share_by_their_shares() {
        let picks = picks(&[10, 30], &[]);
        assert!(is_near(picks[0], 25_000) && is_near(picks[1], 75_000), "{picks:?}");
    }
}
