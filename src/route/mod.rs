//! Owns the matching of requests to routes; it never knows what a route leads to (`RouteTable` is generic over it).
//!
//! The most specific route wins, whatever the order in the files. Routes are compared by, in this order:
//!
//! 1. **Host**: an exact host beats `*.` patterns, of those the longer name beats the shorter, any host comes last.
//! 2. **Path**, segment by segment from the left: a literal beats a parameter beats `{*rest}`; a template that ends
//!    with the path beats one whose `{*rest}` stays empty. The first segment that differs decides.
//! 3. **Methods**: a route that lists methods beats one that does not.
//! 4. **Headers**: more conditions beat fewer, then more exact values beat fewer.
//! 5. **Query**: the same.
//! 6. Of routes that differ in their list of methods only, the shorter list wins.
//!
//! A more specific route whose conditions do not hold is passed over, whatever level made it more specific: the search
//! goes on with the next route in this order, also with the trees of less specific hosts.
//!
//! Two routes that this order does not separate and that one request may both satisfy are a [`Conflict`], unless a
//! more specific route takes every such request.

mod conditions;
mod escape;
mod hosts;
mod index;
mod leaf;
mod query;
mod readings;
mod shown;
mod template;
#[cfg(test)]
mod tests;
mod tree;

use std::borrow::Cow;
use std::collections::HashMap;

use http::{HeaderMap, HeaderName, Method};

pub use query::query_value;
pub use template::{PathTemplate, TemplateError};

use conditions::Conditions;
use hosts::Hosts;
use leaf::Leaf;
use tree::{Growing, Tree};

/// The host condition of a matcher; host names are lower case and carry no port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// `*.example.com`, kept as `example.com`: any name below it, one label or more.
    Below(Box<str>),
    /// Exactly this host.
    Exact(Box<str>),
}

/// A condition on a header or query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValuePattern {
    /// There is one, whatever its value.
    Present,
    /// Its (first) value is exactly this.
    Exact(Box<str>),
}

/// The conditions of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// The host.
    pub host: HostPattern,
    /// The path template, such as `/orders/{id}` or `/static/{*rest}`.
    pub path: PathTemplate,
    /// The methods; empty means any.
    pub methods: Vec<Method>,
    /// Headers, all of which must hold.
    pub headers: Vec<(HeaderName, ValuePattern)>,
    /// Query parameters, all of which must hold.
    pub query: Vec<(Box<str>, ValuePattern)>,
}

/// What of a request matching looks at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// Lower case, without port or trailing dot.
    pub host: &'r str,
    /// The path as received.
    pub path: &'r str,
    /// The query as received, without `?`.
    pub query: Option<&'r str>,
    /// The method.
    pub method: &'r Method,
    /// The header fields.
    pub headers: &'r HeaderMap,
}

/// A set of routes, compiled for matching in a time that does not depend on their number.
#[derive(Debug)]
pub struct RouteTable<P> {
    hosts: Hosts,
    tree: Tree,
    leaves: Vec<Leaf>,
    /// By route, as are the templates and payloads.
    conditions: Vec<Conditions>,
    templates: Vec<PathTemplate>,
    /// What requests each takes, for people.
    shown: Vec<Box<str>>,
    payloads: Vec<P>,
}

/// Two routes that no rule ranks although one request may satisfy both, by their index in what was given to
/// [`RouteTable::build`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The earlier one.
    pub first: usize,
    /// The later one.
    pub second: usize,
}

/// The path reads differently in its raw and its normalised form, and the two lead to different routes (rule H6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path means different routes to different readers")]
pub struct Ambiguous;

/// A matched route.
#[derive(Debug)]
pub struct Match<'t, P> {
    /// What the route leads to.
    pub payload: &'t P,
    /// The template's parameters.
    pub params: Params<'t>,
}

/// The parameters of a matched template; their values stay in the path until somebody asks.
#[derive(Debug, Clone, Copy)]
pub struct Params<'t>(&'t PathTemplate);

/// A route whose host and path fit a request, with what became of it.
#[derive(Debug)]
pub struct Considered<'t, P> {
    /// What the route leads to.
    pub payload: &'t P,
    /// The route's template.
    pub template: &'t PathTemplate,
    /// The first condition that the request does not meet; `None` when all hold.
    pub missed: Option<Missed<'t>>,
}

/// The kind of condition that a request does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed<'t> {
    /// The method is not listed.
    Method,
    /// This header is absent or has another value.
    Header(&'t HeaderName),
    /// This query parameter is absent or has another value.
    Query(&'t str),
}

impl<'t> Params<'t> {
    /// Reads a parameter from the path that was matched, percent-decoded once.
    ///
    /// `None` when the template has no parameter of that name, or the decoded value is not UTF-8.
    pub fn value<'r>(&self, name: &str, path: &'r str) -> Option<Cow<'r, str>> {
        self.0.value(name, path)
    }

    /// The template that was matched.
    pub fn template(&self) -> &'t PathTemplate {
        self.0
    }
}

impl<P> RouteTable<P> {
    /// Compiles routes.
    ///
    /// # Errors
    /// Each route that cannot be told apart from an earlier one, with the first such.
    pub fn build(routes: Vec<(Matcher, P)>) -> Result<Self, Vec<Conflict>> {
        let mut growing = Growing::default();
        let mut roots: HashMap<HostPattern, u32> = HashMap::new();
        let mut leaf_of = Vec::with_capacity(routes.len());
        let (mut conditions, mut templates, mut shown, mut payloads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (matcher, payload) in routes {
            shown.push(matcher.to_string().into());
            conditions.push(Conditions::new(&matcher));
            let root = *roots.entry(matcher.host).or_insert_with(|| growing.root());
            leaf_of.push(growing.add(root, &matcher.path));
            templates.push(matcher.path);
            payloads.push(payload);
        }
        let mut conflicts = Vec::new();
        let groups = leaf::group_by_leaf(&leaf_of);
        let leaves = groups.iter().map(|routes| Leaf::build(routes, &conditions, &mut conflicts)).collect();
        if !conflicts.is_empty() {
            conflicts.sort_unstable_by_key(|found| (found.second, found.first));
            conflicts.dedup();
            return Err(conflicts);
        }
        Ok(Self { hosts: Hosts::build(roots), tree: growing.finish(), leaves, conditions, templates, shown, payloads })
    }

    /// Finds the most specific route of a request.
    ///
    /// Allocates only for a path that has several readings, and to decode query parameters that a route asks for.
    ///
    /// # Errors
    /// When readings of the path disagree (rule H6).
    pub fn find<'t>(&'t self, request: &Request<'_>) -> Result<Option<Match<'t, P>>, Ambiguous> {
        let path = request.path.as_bytes();
        let route = if readings::is_plain(path) {
            self.read(path, request)
        } else {
            readings::find_agreed(path, |reading| self.read(reading, request))?
        };
        Ok(route.map(|route| Match {
            payload: &self.payloads[route as usize],
            params: Params(&self.templates[route as usize]),
        }))
    }

    /// Lists the routes whose host and path fit a request, the most specific first; the path is taken as it stands.
    pub fn considered<'t>(&'t self, request: &Request<'_>) -> Vec<Considered<'t, P>> {
        let mut found = Vec::new();
        self.walk(request.host, request.path.as_bytes(), |leaf| {
            found.extend(leaf.routes().map(|route| route as usize).map(|route| Considered {
                payload: &self.payloads[route],
                template: &self.templates[route],
                missed: self.conditions[route].missed(request),
            }));
            None::<()>
        });
        found
    }

    /// All payloads, in the order in which they were given.
    pub fn payloads(&self) -> impl Iterator<Item = &P> {
        self.payloads.iter()
    }

    /// All payloads in the same order, each with what requests its route takes, such as `GET shop.example/search`.
    pub fn described(&self) -> impl Iterator<Item = (&P, &str)> {
        self.payloads.iter().zip(self.shown.iter().map(|shown| &**shown))
    }

    /// Finds the route of one reading of the path.
    fn read(&self, path: &[u8], request: &Request<'_>) -> Option<u32> {
        self.walk(request.host, path, |leaf| leaf.find(request, &self.conditions))
    }

    fn walk<'t, R>(&'t self, host: &str, path: &[u8], mut visit: impl FnMut(&'t Leaf) -> Option<R>) -> Option<R> {
        self.hosts.walk(host, |root| self.tree.walk(root, path, &mut |leaf| visit(&self.leaves[leaf as usize])))
    }
}
