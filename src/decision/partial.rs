//! Owns decisions about requests of which not all is known any more, such as those in a log. It guesses nothing: what a
//! decision asks for and is not known is named.

use std::cell::OnceCell;

use super::facts::Facts;
use super::{Decision, Head, Undecided, find, settle};
use crate::attribute::Attribute;
use crate::flag::{Context, Value, Var};
use crate::route::{Match, Missed};
use crate::snapshot::{Choice, Route, Rules, Snapshot, is_targeting_key};

/// A decision about what is known of a request.
#[derive(Debug)]
pub struct Partial<'s> {
    /// What [`super::decide`] says when the unknown is taken for absent.
    pub decision: Result<Decision<'s>, Undecided>,
    /// The targeting key that the request has, if what it takes to find it is known.
    pub key: Option<Box<str>>,
    /// The first thing that the decision asked for and that is not known; it may be another one then.
    pub unknown: Option<Unknown>,
}

/// What a decision asked for in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What it was.
    pub attribute: Attribute,
    /// Whether the choice of the route asked, so that not even that is known.
    pub by_route: bool,
}

/// Decides as [`super::decide`] does, and says whether that took something that is not known of the request.
///
/// `is_known` is asked about attributes of the request itself: never about the targeting key or mapped names, which
/// stand for others. An attribute that is known to be absent is known.
pub fn decide_partly<'s>(
    snapshot: &'s Snapshot,
    head: &Head<'_>,
    is_known: &dyn Fn(&Attribute) -> bool,
) -> Partial<'s> {
    let rules = &*snapshot.rules;
    let by_route = passed_over(rules, head, is_known).map(|attribute| Unknown { attribute, by_route: true });
    let Match { payload: route, params } = match find(rules, head) {
        Ok(found) => found,
        Err(undecided) => return Partial { decision: Err(undecided), key: None, unknown: by_route },
    };
    let facts = Facts::new(rules, head, route, params);
    let watch = Watch { facts: &facts, is_known, unknown: OnceCell::new() };
    watch.ask_forcing(route);
    let decision = settle(snapshot, route, params, &facts, &watch);
    let key = watch.key();
    let unknown = watch.unknown.into_inner().map(|attribute| Unknown { attribute, by_route: false });
    Partial { decision: Ok(decision), key, unknown: by_route.or(unknown) }
}

/// What would have to be known to say that a more specific route does not take the request.
fn passed_over(rules: &Rules, head: &Head<'_>, is_known: &dyn Fn(&Attribute) -> bool) -> Option<Attribute> {
    let considered = rules.routes.considered(&head.request());
    let missed = considered.into_iter().map_while(|route| route.missed);
    let mut asked = missed.filter_map(|missed| match missed {
        Missed::Method => None,
        Missed::Header(name) => Some(Attribute::Header(name.clone())),
        Missed::Query(name) => Some(Attribute::Query(name.into())),
    });
    asked.find(|attribute| !is_known(attribute))
}

/// The facts, with a note of the first that is asked for and not known.
struct Watch<'w, 's, 'r> {
    facts: &'w Facts<'s, 'r>,
    is_known: &'w dyn Fn(&Attribute) -> bool,
    unknown: OnceCell<Attribute>,
}

impl<'s: 'r, 'r> Watch<'_, 's, 'r> {
    fn ask(&self, attribute: &Attribute) {
        match attribute {
            Attribute::TargetingKey => {
                if let Some(unknown) = self.before_key() {
                    self.note(unknown);
                }
            }
            Attribute::Mapped(name) => {
                if let Some(direct) = self.facts.rules.mapped.get(name) {
                    self.note(direct);
                }
            }
            direct => self.note(direct),
        }
    }

    fn note(&self, attribute: &Attribute) {
        if !(self.is_known)(attribute) {
            self.unknown.get_or_init(|| attribute.clone());
        }
    }

    /// A tester's header could force a variant.
    fn ask_forcing(&self, route: &Route) {
        let Some(forcing) = &self.facts.rules.forcing else { return };
        let client = self.facts.head.client;
        if matches!(route.choice, Choice::ByFlag { .. }) && forcing.networks.iter().any(|net| net.contains(client)) {
            self.note(&Attribute::Header(forcing.header.clone()));
        }
    }

    /// The first source that is not known, unless an earlier one has the targeting key.
    fn before_key(&self) -> Option<&'s Attribute> {
        let has_key = |source: &Attribute| self.facts.property(source).is_some_and(|text| is_targeting_key(&text));
        let (facts, is_known) = (self.facts, self.is_known);
        let first = facts.rules.identity.sources.iter().find(|source| !is_known(source) || has_key(source));
        first.filter(|source| !is_known(source))
    }

    fn key(&self) -> Option<Box<str>> {
        let is_issued = self.facts.issued_key().is_some();
        if is_issued || self.before_key().is_some() { None } else { self.facts.known_key().map(Into::into) }
    }
}

impl<'s: 'r, 'r> Context for Watch<'_, 's, 'r> {
    fn lookup<'a>(&'a self, var: &Var) -> Value<'a> {
        self.ask(&var.attribute);
        self.facts.lookup(var)
    }

    fn targeting_key(&self) -> Option<&str> {
        self.ask(&Attribute::TargetingKey);
        self.facts.targeting_key()
    }

    fn now_unix_s(&self) -> i64 {
        self.facts.now_unix_s()
    }
}
