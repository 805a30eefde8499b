//! Owns the conditions that a route adds to host and path: whether they hold, and which set is more specific.

use http::{HeaderMap, HeaderName, Method};

use super::query::query_value;
use super::{Matcher, Missed, Request, ValuePattern};

/// The methods, headers and query parameters that a route asks for; headers and query sorted, each condition once.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) methods: Vec<Method>,
    pub(super) headers: Vec<(HeaderName, ValuePattern)>,
    pub(super) query: Vec<(Box<str>, ValuePattern)>,
}

/// How specific conditions are; a greater rank is tried first.
///
/// The order of the fields is the definition: methods, then headers, then query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    names_methods: bool,
    headers: usize,
    exact_headers: usize,
    query: usize,
    exact_query: usize,
}

impl Conditions {
    /// Takes the conditions out of a matcher.
    pub(super) fn new(matcher: &Matcher) -> Self {
        let mut methods = matcher.methods.clone();
        methods.sort_unstable_by(|left, right| left.as_str().cmp(right.as_str()));
        methods.dedup();
        let mut headers = matcher.headers.clone();
        headers.sort_unstable_by(|left, right| (left.0.as_str(), &left.1).cmp(&(right.0.as_str(), &right.1)));
        headers.dedup();
        let mut query = matcher.query.clone();
        query.sort_unstable();
        query.dedup();
        Self { methods, headers, query }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.headers.is_empty() && self.query.is_empty()
    }

    pub(super) fn rank(&self) -> Rank {
        Rank {
            names_methods: !self.methods.is_empty(),
            headers: self.headers.len(),
            exact_headers: exact(&self.headers),
            query: self.query.len(),
            exact_query: exact(&self.query),
        }
    }

    /// The first condition that does not hold.
    pub(super) fn missed(&self, request: &Request<'_>) -> Option<Missed<'_>> {
        if !self.methods.is_empty() && !self.methods.contains(request.method) {
            return Some(Missed::Method);
        }
        let header = self
            .headers
            .iter()
            .find(|(name, pattern)| first_header(request.headers, name).is_none_or(|value| !pattern.holds(value)));
        if let Some((name, _)) = header {
            return Some(Missed::Header(name));
        }
        let query = self.query.iter().find(|(name, pattern)| {
            let value = request.query.and_then(|query| query_value(query, name));
            value.is_none_or(|value| !pattern.holds(value.as_bytes()))
        });
        query.map(|(name, _)| Missed::Query(name))
    }

    /// Whether these hold for every request with this method for which both `left` and `right` hold.
    pub(super) fn follow_from(&self, left: &Self, right: &Self, method: Option<&Method>) -> bool {
        let methods = self.methods.is_empty() || method.is_some_and(|method| self.methods.contains(method));
        methods
            && self.headers.iter().all(|own| implied(own, &left.headers) || implied(own, &right.headers))
            && self.query.iter().all(|own| implied(own, &left.query) || implied(own, &right.query))
    }
}

impl ValuePattern {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(wanted) => wanted.as_bytes() == value,
        }
    }
}

pub(super) fn first_header<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Option<&'r [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes)
}

fn exact<N>(conditions: &[(N, ValuePattern)]) -> usize {
    conditions.iter().filter(|(_, pattern)| *pattern != ValuePattern::Present).count()
}

fn implied<N: PartialEq>(own: &(N, ValuePattern), others: &[(N, ValuePattern)]) -> bool {
    others.iter().any(|(name, pattern)| *name == own.0 && (own.1 == ValuePattern::Present || *pattern == own.1))
}
