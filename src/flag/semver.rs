//! Owns `sem_ver`: versions as flagd reads them and their comparison (semver.org 2.0.0).

use std::cmp::Ordering;

/// The comparisons that `sem_ver` knows.
pub(crate) const COMPARISONS: [&str; 8] = ["=", "!=", "<", "<=", ">", ">=", "^", "~"];

/// A version; build metadata takes no part in comparisons and is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version<'t> {
    numbers: [u64; 3],
    pre_release: &'t str,
}

impl<'t> Version<'t> {
    /// Reads a version; a leading `v` is dropped, and `1` and `1.2` are filled up with zeros.
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (text, build) = split_suffix(text, '+');
        let (core, pre_release) = split_suffix(text, '-');
        let mut numbers = [0; 3];
        let mut count = 0;
        for part in core.split('.') {
            *numbers.get_mut(count)? = number(part)?;
            count += 1;
        }
        let suffixes_valid = pre_release.is_none_or(|text| text.split('.').all(|part| is_identifier(part, true)))
            && build.is_none_or(|text| text.split('.').all(|part| is_identifier(part, false)));
        let complete = count == 3 || (pre_release.is_none() && build.is_none());
        (suffixes_valid && complete).then_some(Self { numbers, pre_release: pre_release.unwrap_or("") })
    }

    /// Compares as `comparison` says; `None` when there is no such comparison.
    pub(crate) fn matches(self, comparison: &str, other: Self) -> Option<bool> {
        let order = self.order(other);
        Some(match comparison {
            "=" => order == Ordering::Equal,
            "!=" => order != Ordering::Equal,
            "<" => order == Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">" => order == Ordering::Greater,
            ">=" => order != Ordering::Less,
            "^" => self.numbers[0] == other.numbers[0],
            "~" => self.numbers[..2] == other.numbers[..2],
            _ => return None,
        })
    }

    fn order(self, other: Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre_release, other.pre_release) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (left, right) => order_pre_release(left, right),
        })
    }
}

fn split_suffix(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if digits && !padded { text.parse().ok() } else { None }
}

fn is_identifier(text: &str, refuse_padding: bool) -> bool {
    let legal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let padded = text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    legal && !(refuse_padding && padded)
}

/// Numbers before words, numbers by value, words by bytes, and the shorter of two equal beginnings first.
fn order_pre_release(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(left), Some(right)) => order_identifier(left, right),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn order_identifier(left: &str, right: &str) -> Ordering {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match (is_number(left), is_number(right)) {
        // Without leading zeros the longer number is the greater one, of whatever size.
        (true, true) => left.len().cmp(&right.len()).then_with(|| left.cmp(right)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => left.cmp(right),
    }
}
