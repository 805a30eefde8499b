//! Owns the matching of requests to routes; it never knows what a route leads to (`RouteTable` is generic over it).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method};

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

/// A parsed path template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathTemplate;

/// Says why a path template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What is wrong and how to mend it.
    pub message: String,
    /// Byte offset of the fault in the template.
    pub offset: usize,
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When it does not begin with `/`, a brace is not closed, a name repeats, or `{*rest}` is not last.
    pub fn parse(_text: &str) -> Result<Self, TemplateError> {
        todo!("helper B")
    }

    /// The names of its parameters, in order.
    pub fn parameters(&self) -> &[Box<str>] {
        todo!("helper B")
    }
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
pub struct RouteTable<P>(Vec<P>);

/// Two routes that no request can tell apart, by their index in what was given to [`RouteTable::build`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Where the template's parameters stand in the path.
    pub params: Params<'t>,
}

/// The values of a template's parameters, as places in the path; kept without allocating.
#[derive(Debug, Clone, Copy)]
pub struct Params<'t>(std::marker::PhantomData<&'t ()>);

impl Params<'_> {
    /// Reads a parameter from the path that was matched, percent-decoded; `None` when it has none of that name.
    pub fn value<'r>(&self, _name: &str, _path: &'r str) -> Option<Cow<'r, str>> {
        todo!("helper B")
    }
}

impl<P> RouteTable<P> {
    /// Compiles routes.
    ///
    /// # Errors
    /// All pairs that cannot be told apart.
    pub fn build(_routes: Vec<(Matcher, P)>) -> Result<Self, Vec<Conflict>> {
        todo!("helper B")
    }

    /// Finds the most specific route of a request.
    ///
    /// # Errors
    /// When readings of the path disagree (rule H6).
    pub fn find<'t>(&'t self, _request: &Request<'_>) -> Result<Option<Match<'t, P>>, Ambiguous> {
        todo!("helper B")
    }

    /// All payloads, in the order in which they were given.
    pub fn payloads(&self) -> impl Iterator<Item = &P> {
        self.0.iter()
    }
}
