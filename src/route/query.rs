//! Owns reading one parameter of a query.

use std::borrow::Cow;

use super::escape::decode_query;

/// Reads the first value of a query parameter, decoded as HTML forms are; one without `=` is empty.
///
/// The query is given as received, without `?`. `None` when there is no such parameter or its value is not UTF-8.
pub fn query_value<'r>(query: &'r str, name: &str) -> Option<Cow<'r, str>> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(key, _)| decode_query(key).is_some_and(|key| key == name))?;
    decode_query(value)
}
