//! Owns finding out what a create has made, from the answer to it.

use http::HeaderMap;
use http::header::LOCATION;
use serde_json::Value;

use crate::snapshot::CopyRules;

/// The longest id in bytes; a longer one is taken for something else.
const ID_BYTES_MAX: usize = 256;

/// The id that `Location` names, read by the route's own path; `path` is the request's, which a relative one is relative to.
pub(super) fn of_location(headers: &HeaderMap, rules: &CopyRules, path: &str) -> Option<String> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let location = location.split(['?', '#']).next()?;
    let absolute = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map(|at| rest[at..].to_owned())?,
        None if location.starts_with('/') => location.to_owned(),
        None => format!("{}/{location}", path.rsplit_once('/').map_or("", |(parent, _)| parent)),
    };
    if !rules.path.fits(&absolute) {
        return None;
    }
    rules.id(&absolute).map(|id| id.into_owned()).filter(|id| id.len() <= ID_BYTES_MAX)
}

/// The id at a JSON pointer of a body.
pub(super) fn of_json(body: &[u8], pointer: &str) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let id = match body.pointer(pointer)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!id.is_empty() && id.len() <= ID_BYTES_MAX).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::PathTemplate;

    fn located(location: &str) -> Option<String> {
        let rules = CopyRules::new(PathTemplate::parse("/api/orders/{*rest}").unwrap());
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        of_location(&headers, &rules, "/api/orders")
    }

    #[test]
    fn a_location_names_what_was_created() {
        for location in ["/api/orders/17", "http://shop.example/api/orders/17?x=1", "orders/17"] {
            assert_eq!(located(location).as_deref(), Some("17"), "{location}");
        }
        for location in ["/elsewhere/17", "/api/orders/", "http://shop.example", "17"] {
            assert_eq!(located(location), None, "{location}");
        }
    }

    #[test]
    fn a_pointer_names_what_was_created() {
        assert_eq!(of_json(br#"{"id": 17}"#, "/id").as_deref(), Some("17"));
        assert_eq!(of_json(br#"{"order": {"id": "a"}}"#, "/order/id").as_deref(), Some("a"));
        for body in ["", "{", "{}", r#"{"id": null}"#, r#"{"id": ""}"#] {
            assert_eq!(of_json(body.as_bytes(), "/id"), None, "{body}");
        }
    }
}
