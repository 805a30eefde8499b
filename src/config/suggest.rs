//! Owns the guess at what a misspelt name was meant to be.

/// Finds the candidate that a name is most likely a misspelling of; `None` when none is near.
///
/// Near is a distance of a third of the name's length (insertions, deletions, replacements, swaps of neighbours), or
/// else that one of the two is the other's beginning.
pub fn closest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let far = (name.chars().count() / 3).max(1) + 1;
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (nearness(&name, &candidate.to_lowercase(), far), candidate))
        .filter(|(distance, _)| *distance < far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The help for an unknown name: the likely one, or else all of them when they are few.
pub fn did_you_mean<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str> + Clone) -> Option<String> {
    /// More than these are no help.
    const LISTED_MAX: usize = 24;
    if let Some(near) = closest(name, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut known: Vec<&str> = candidates.into_iter().take(LISTED_MAX + 1).collect();
    if known.is_empty() || known.len() > LISTED_MAX {
        return None;
    }
    known.sort_unstable();
    Some(format!("known here: {}", known.join(", ")))
}

fn nearness(name: &str, candidate: &str, far: usize) -> usize {
    let found = distance(name, candidate, far);
    let begins = name.len().min(candidate.len()) >= 3 && (candidate.starts_with(name) || name.starts_with(candidate));
    if found == far && begins { far - 1 } else { found }
}

/// The optimal string alignment distance, or `far` when it is that or more.
fn distance(left: &str, right: &str, far: usize) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    if left.len().abs_diff(right.len()) >= far {
        return far;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, own) in left.iter().enumerate() {
        let mut current = Vec::with_capacity(right.len() + 1);
        current.push(row + 1);
        for (column, other) in right.iter().enumerate() {
            let mut cost = (above[column] + usize::from(own != other)).min(above[column + 1] + 1);
            cost = cost.min(current[column] + 1);
            let swapped = row > 0 && column > 0 && *own == right[column - 1] && left[row - 1] == *other;
            if swapped {
                cost = cost.min(before[column - 1] + 1);
            }
            current.push(cost);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, did_you_mean};

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(closest("endpoint", ["protocol", "endpoints"]), Some("endpoints"));
        assert_eq!(closest("upstraem", ["upstreams", "upstream"]), Some("upstream"));
        assert_eq!(closest("OFF", ["off", "live"]), Some("off"));
        assert_eq!(closest("head_bytes", ["fields_max", "head_bytes_max"]), Some("head_bytes_max"));
        assert_eq!(closest("x", ["live", "off"]), None);
    }

    #[test]
    fn lists_what_there_is_when_nothing_is_near() {
        assert_eq!(did_you_mean("zzz", ["b", "a"]).as_deref(), Some("known here: a, b"));
        assert_eq!(did_you_mean("zzz", []), None);
    }
}
