//! Owns the fields that the router adds to a request on its way out: they stand beside the head's own map.
//!
//! They are written once and never looked up, so that putting them into the map would be the dearest part of adding them.

use std::cell::RefCell;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields kept room for between requests.
const FIELDS_KEPT_MAX: usize = 16;

thread_local! {
    /// The worker's spare list: one request after another uses it.
    static SPARE: RefCell<Vec<(HeaderName, HeaderValue)>> = const { RefCell::new(Vec::new()) };
}

/// Fields of ours that follow those of a request's map.
#[derive(Debug)]
pub struct Added(Vec<(HeaderName, HeaderValue)>);

impl Default for Added {
    fn default() -> Self {
        Self(SPARE.take())
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        let mut fields = std::mem::take(&mut self.0);
        if (1..=FIELDS_KEPT_MAX).contains(&fields.capacity()) {
            fields.clear();
            SPARE.set(fields);
        }
    }
}

impl Added {
    /// Adds a field; that the map has none of this name, or may have several, is the caller's to know.
    pub fn push(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Takes a field out again.
    pub fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|(other, _)| other != name);
    }

    /// The value of a field.
    pub fn value(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Puts a copy of the fields into a map, for whoever needs all in one.
    pub fn copy_into(&self, headers: &mut HeaderMap) {
        for (name, value) in self.iter() {
            headers.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_list_is_used_again_and_is_empty() {
        let mut added = Added::default();
        added.push(http::header::VIA, HeaderValue::from_static("1.1 banyan"));
        assert_eq!(added.value(&http::header::VIA).unwrap(), "1.1 banyan");
        let room = added.0.capacity();
        drop(added);
        let again = Added::default();
        assert_eq!((again.iter().count(), again.0.capacity()), (0, room));
    }

    #[test]
    fn a_field_can_be_taken_out_again() {
        let mut added = Added::default();
        for value in ["1", "2"] {
            added.push(http::header::VIA, HeaderValue::from_static(value));
        }
        added.push(http::header::FORWARDED, HeaderValue::from_static("for=x"));
        let mut map = HeaderMap::new();
        added.copy_into(&mut map);
        assert_eq!(map.len(), 3);
        added.remove(&http::header::VIA);
        assert_eq!(added.iter().count(), 1);
    }
}
