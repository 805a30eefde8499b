//! Owns the reading of `Via`, which is how a request that runs in circles is found (rules P3 and P4).

use http::HeaderValue;

use super::connection::elements;

/// Counts how often a pseudonym has added itself to a `Via` line.
pub(super) fn count(value: &HeaderValue, pseudonym: &str) -> u32 {
    let own = |element: &&[u8]| {
        // protocol RWS received-by [RWS comment]
        let mut words = element.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(pseudonym.as_bytes()))
    };
    elements(value).filter(own).map(|_| 1).sum()
}
