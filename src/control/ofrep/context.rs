//! Owns the evaluation context that a caller sends as JSON: it answers under the names by which rules ask of a request.

use std::cell::OnceCell;

use serde_json::Value as Json;

use crate::attribute::Attribute;
use crate::flag::{Context, Value, Var};
use crate::snapshot::{Rules, is_targeting_key};

/// How deep a context may nest; attributes of requests do not nest at all.
const DEPTH_MAX: usize = 16;
/// How many values a context may have; a request has 100 header fields at most.
const VALUES_MAX: usize = 1_024;

/// Says why a context cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContextError {
    /// It is no map.
    #[error("`context` must be an object")]
    NotAnObject,
    /// The targeting key is no text.
    #[error("`targetingKey` must be a string")]
    TargetingKey,
    /// It nests deeper than [`DEPTH_MAX`].
    #[error("`context` nests deeper than {DEPTH_MAX} levels")]
    Depth,
    /// It has more than [`VALUES_MAX`] values.
    #[error("`context` has more than {VALUES_MAX} values")]
    Values,
}

/// The attributes that a caller sent, checked.
#[derive(Debug)]
pub(super) struct Attributes(Json);

impl Attributes {
    /// Checks a context; null is an empty one.
    ///
    /// # Errors
    /// When it is none, or beyond the limits.
    pub(super) fn new(context: Json) -> Result<Self, ContextError> {
        let mut context = if context.is_null() { Json::Object(serde_json::Map::new()) } else { context };
        measure(&context, DEPTH_MAX, &mut 0)?;
        let map = context.as_object_mut().ok_or(ContextError::NotAnObject)?;
        match map.get(TARGETING_KEY) {
            None | Some(Json::Null | Json::String(_)) => {}
            Some(_) => return Err(ContextError::TargetingKey),
        }
        lower_headers(map);
        Ok(Self(context))
    }
}

const TARGETING_KEY: &str = "targetingKey";
const HEADER: &str = "header";

fn measure(json: &Json, depth: usize, values: &mut usize) -> Result<(), ContextError> {
    *values += 1;
    if *values > VALUES_MAX {
        return Err(ContextError::Values);
    }
    let below = depth.checked_sub(1);
    match json {
        Json::Array(items) => {
            let below = below.ok_or(ContextError::Depth)?;
            items.iter().try_for_each(|item| measure(item, below, values))
        }
        Json::Object(map) => {
            let below = below.ok_or(ContextError::Depth)?;
            map.values().try_for_each(|item| measure(item, below, values))
        }
        _ => Ok(()),
    }
}

/// Header names match in any case, as they do in a request.
fn lower_headers(map: &mut serde_json::Map<String, Json>) {
    let prefix = |name: &str| name.get(..=HEADER.len()).is_some_and(|start| start.strip_suffix('.') == Some(HEADER));
    if map.keys().any(|name| prefix(name)) {
        *map = std::mem::take(map)
            .into_iter()
            .map(|(name, value)| if prefix(&name) { (name.to_ascii_lowercase(), value) } else { (name, value) })
            .collect();
    }
    if let Some(Json::Object(headers)) = map.get_mut(HEADER) {
        *headers =
            std::mem::take(headers).into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    }
}

/// Attributes as rules see them: identity and `context:` of the route files apply as they do to a request.
#[derive(Debug)]
pub(super) struct SentContext<'s> {
    rules: &'s Rules,
    attributes: &'s Attributes,
    now_unix_s: i64,
    /// Set when a rule first asks.
    key: OnceCell<Option<&'s str>>,
}

impl<'s> SentContext<'s> {
    pub(super) const fn new(rules: &'s Rules, attributes: &'s Attributes, now_unix_s: i64) -> Self {
        Self { rules, attributes, now_unix_s, key: OnceCell::new() }
    }

    /// The key as sent, else the first source of identity that the attributes answer; none is ever issued.
    fn key(&self) -> Option<&'s str> {
        *self.key.get_or_init(|| {
            let sent = self.sent(TARGETING_KEY).and_then(Json::as_str).filter(|text| is_targeting_key(text));
            sent.or_else(|| {
                let read = |source: &Attribute| self.property(source).and_then(Json::as_str);
                self.rules.identity.find(read).map(|(key, _)| key)
            })
        })
    }

    /// Reads what would stand in a request itself.
    fn property(&self, attribute: &Attribute) -> Option<&'s Json> {
        match attribute {
            Attribute::TargetingKey | Attribute::Mapped(_) => None,
            // Sources write `header:x` where rules write `header.x`; nothing else has a colon before its name.
            named => self.sent(&named.to_string().replacen(':', ".", 1)),
        }
    }

    fn sent(&self, name: &str) -> Option<&'s Json> {
        find(&self.attributes.0, name).filter(|found| !found.is_null())
    }
}

/// Finds a name as it stands, else part by part at its dots.
fn find<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    match json {
        Json::Object(map) => map.get(name).or_else(|| {
            let (first, rest) = name.split_once('.')?;
            find(map.get(first)?, rest)
        }),
        Json::Array(items) => {
            let (at, rest) = name.split_once('.').map_or((name, None), |(at, rest)| (at, Some(rest)));
            let item = items.get(at.parse::<usize>().ok()?)?;
            rest.map_or(Some(item), |rest| find(item, rest))
        }
        _ => None,
    }
}

impl Context for SentContext<'_> {
    fn lookup<'a>(&'a self, var: &Var) -> Value<'a> {
        let found = match &var.attribute {
            Attribute::TargetingKey => return self.key().map_or(Value::Null, |key| Value::Str(key.into())),
            Attribute::Mapped(name) => self.sent(name).or_else(|| self.property(self.rules.mapped.get(name)?)),
            direct => self.property(direct),
        };
        found.map_or(Value::Null, Value::from_json)
    }

    fn targeting_key(&self) -> Option<&str> {
        self.key()
    }

    fn now_unix_s(&self) -> i64 {
        self.now_unix_s
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(context: Json, name: &str) -> Option<Json> {
        let attributes = Attributes::new(context).unwrap();
        find(&attributes.0, name).cloned()
    }

    #[test]
    fn names_are_found_flat_and_nested() {
        for context in [
            json!({"customer.plan.name": "gold"}),
            json!({"customer": {"plan.name": "gold"}}),
            json!({"customer": {"plan": {"name": "gold"}}}),
        ] {
            assert_eq!(found(context.clone(), "customer.plan.name"), Some(json!("gold")), "{context}");
        }
        assert_eq!(found(json!({"list": [1, {"a": 2}]}), "list.1.a"), Some(json!(2)));
        for missing in ["customer", "customer.plan", "list.2", "list.x", "", "."] {
            assert_eq!(found(json!({"list": [1], "a": 1}), missing), None, "{missing}");
        }
    }

    #[test]
    fn header_names_match_in_any_case_and_others_do_not() {
        assert_eq!(found(json!({"header.X-User": "a"}), "header.x-user"), Some(json!("a")));
        assert_eq!(found(json!({"header": {"X-User": "a"}}), "header.x-user"), Some(json!("a")));
        assert_eq!(found(json!({"cookie.A": "a"}), "cookie.a"), None);
    }

    #[test]
    fn contexts_have_limits() {
        let nested = |levels: usize| (1..levels).fold(json!([]), |inner, _| json!([inner]));
        assert!(Attributes::new(json!({"a": nested(DEPTH_MAX - 1)})).is_ok());
        assert!(matches!(Attributes::new(json!({"a": nested(DEPTH_MAX)})), Err(ContextError::Depth)));
        let wide = |values: usize| json!({"a": vec![0; values]});
        assert!(Attributes::new(wide(VALUES_MAX - 2)).is_ok());
        assert!(matches!(Attributes::new(wide(VALUES_MAX - 1)), Err(ContextError::Values)));
        assert!(matches!(Attributes::new(json!([])), Err(ContextError::NotAnObject)));
        assert!(matches!(Attributes::new(json!({"targetingKey": 1})), Err(ContextError::TargetingKey)));
        assert!(Attributes::new(json!({"targetingKey": null})).is_ok());
    }
}
