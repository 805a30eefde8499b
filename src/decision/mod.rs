//! Owns the way from a request head to a decision: pure and total.

mod facts;
mod forcing;
mod partial;

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method};

use crate::attribute::Attribute;
use crate::flag::{Bucket, Context, ErrorCode, Evaluation, Flag, FlagId, OverrideKind, Reason, Trace, VariantId};
use crate::route::{Ambiguous, Match, Params, Request};
use crate::snapshot::{Choice, IssuedCookie, Leg, Overflow, Route, Rules, Ruling, Snapshot};

use facts::Facts;

pub use crate::snapshot::TARGETING_KEY_BYTES_MAX;
pub use partial::{Partial, Unknown, decide_partly};

/// What of a request a decision may look at.
#[derive(Debug, Clone, Copy)]
pub struct Head<'r> {
    /// The method.
    pub method: &'r Method,
    /// Lower case, without port or trailing dot.
    pub host: &'r str,
    /// The path as received.
    pub path: &'r str,
    /// The query as received, without `?`.
    pub query: Option<&'r str>,
    /// The header fields.
    pub headers: &'r HeaderMap,
    /// The peer's address.
    pub client: IpAddr,
    /// Whether the client came over TLS (an issued cookie is `Secure` then).
    pub secure: bool,
    /// Who the client is by its certificate, if it showed one.
    pub certificate: Option<Certificate<'r>>,
    /// The wall clock in seconds since the epoch, for `$flagd.timestamp`.
    pub now_unix_s: i64,
    /// Makes a fresh targeting key for a visitor without one.
    pub fresh_key: fn() -> String,
}

/// Who a client is, by a certificate that was verified.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'r> {
    /// The subject in the form of RFC 4514.
    pub subject: &'r str,
    /// The issuer in the same form.
    pub issuer: &'r str,
    /// The first alternative name that is a host name or a URI.
    pub san: Option<&'r str>,
    /// The SHA-256 in hexadecimal.
    pub fingerprint: &'r str,
}

/// Who serves a request, and why.
#[derive(Debug)]
pub struct Decision<'s> {
    /// The matched route.
    pub route: &'s Route,
    /// The leg that serves.
    pub leg: &'s Leg,
    /// The leg that serves if the chosen upstream takes no more; `None` where the route or the method has none.
    pub overflow: Option<&'s Leg>,
    /// What happened to the flag; `None` on a route without one.
    pub flag: Option<FlagOutcome<'s>>,
    /// The targeting key, if the request has one and an upstream that may serve wants it (its `version_key`).
    pub targeting_key: Option<Box<str>>,
    /// A `Set-Cookie` for the answer, where a targeting key was issued.
    ///
    /// That happens only where a flag asked for the key and no source had one.
    pub set_cookie: Option<HeaderValue>,
    /// The route's parameters.
    pub params: Params<'s>,
}

/// What a flag said about a request.
#[derive(Debug, Clone, Copy)]
pub struct FlagOutcome<'s> {
    /// The flag's key.
    pub key: &'s str,
    /// The chosen variant; `None` when the fallback serves.
    pub variant: Option<&'s str>,
    /// Why.
    pub reason: Reason,
    /// What went wrong, with [`Reason::Error`] only.
    pub error: Option<ErrorCode>,
    /// The slot of the targeting key.
    pub bucket: Option<Bucket>,
    /// A tester forced the variant by a header; the reason is [`Reason::TargetingMatch`] then.
    pub forced: bool,
    /// The kind of override that decided; `None` when the files or a tester did.
    pub overridden: Option<OverrideKind>,
    /// The fallback serves because the chosen upstream was full.
    pub overflow: bool,
    /// The write stays on the side that served before, until older copies have arrived at the chosen one.
    pub held: bool,
}

/// Why there is no decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecided {
    /// No route matches.
    NoRoute,
    /// The path reads differently for routing and for an upstream (rule H6).
    PathAmbiguous,
}

/// How a flag came to its outcome, for people.
#[derive(Debug)]
pub struct Explanation<'s> {
    /// The flag of the route.
    pub flag: &'s Flag,
    /// Every rule on the way; it is what would have happened if no variant had been forced.
    pub trace: Trace,
    /// The targeting key that the flag saw, if it asked.
    pub targeting_key: Option<Box<str>>,
    /// Which source had it; `None` also when it was issued.
    pub source: Option<&'s Attribute>,
    /// The flag asked for a targeting key, the request has none, and none is issued.
    pub is_keyless: bool,
}

/// Decides who serves a request.
///
/// Total: every flag error is the route's fallback with [`Reason::Error`]. It reads nothing but its arguments.
///
/// # Errors
/// Only when the request has no route.
pub fn decide<'s>(snapshot: &'s Snapshot, head: &Head<'_>) -> Result<Decision<'s>, Undecided> {
    let rules = &*snapshot.rules;
    let Match { payload: route, params } = find(rules, head)?;
    let facts = Facts::new(rules, head, route, params);
    Ok(settle(snapshot, route, params, &facts, &facts))
}

/// Explains what a route's flag says about a request; `None` where there is no route or it has no flag.
pub fn explain<'s>(snapshot: &'s Snapshot, head: &Head<'_>) -> Option<Explanation<'s>> {
    let rules = &*snapshot.rules;
    let Match { payload: route, params } = find(rules, head).ok()?;
    let Choice::ByFlag { flag, .. } = &route.choice else {
        return None;
    };
    let (id, flag) = (*flag, rules.flags.get(flag.0 as usize)?);
    let facts = Facts::new(rules, head, route, params);
    let (trace, _) = snapshot.explain(id, &facts)?;
    let (targeting_key, source) = facts.asked_key().unzip();
    let (targeting_key, source) = (targeting_key.map(Into::into), source.flatten());
    Some(Explanation { flag, trace, targeting_key, source, is_keyless: facts.is_keyless() })
}

impl<'s> Decision<'s> {
    /// What is decided instead when the chosen upstream takes no more.
    ///
    /// The visitor's variant stays what it is: only this request goes to the fallback, if it may.
    pub fn overflowed(self) -> Self {
        let Some(leg) = self.overflow else { return self };
        let flag = self.flag.map(|outcome| FlagOutcome { variant: None, overflow: true, ..outcome });
        Self { leg, overflow: None, flag, ..self }
    }

    /// Lets another leg serve, until older copies have arrived where the chosen one would; `variant` is that leg's.
    pub fn hold(&mut self, leg: &'s Leg, variant: Option<&'s str>) {
        self.leg = leg;
        if let Some(outcome) = &mut self.flag {
            (outcome.variant, outcome.held) = (variant, true);
        }
    }
}

impl<'r> Head<'r> {
    /// What of it matching looks at.
    pub fn request(&self) -> Request<'r> {
        Request { host: self.host, path: self.path, query: self.query, method: self.method, headers: self.headers }
    }
}

fn find<'s>(rules: &'s Rules, head: &Head<'_>) -> Result<Match<'s, Route>, Undecided> {
    match rules.routes.find(&head.request()) {
        Ok(found) => found.ok_or(Undecided::NoRoute),
        Err(Ambiguous) => Err(Undecided::PathAmbiguous),
    }
}

/// Decides for a matched route; `context` is what the flag asks, and the facts are behind it.
#[inline]
fn settle<'s: 'r, 'r>(
    snapshot: &'s Snapshot,
    route: &'s Route,
    params: Params<'s>,
    facts: &Facts<'s, 'r>,
    context: &impl Context,
) -> Decision<'s> {
    let (leg, flag, overflow) = match &route.choice {
        Choice::Always(leg) => (leg, None, None),
        Choice::ByFlag { flag, legs, fallback, overflow } => {
            let (leg, outcome) = choose(snapshot, *flag, legs, fallback, facts.head, context);
            let may_overflow = overflows(*overflow, facts.head.method) && leg.upstream != fallback.upstream;
            (leg, Some(outcome), may_overflow.then_some(fallback))
        }
    };
    let wants_key =
        |leg: &Leg| snapshot.upstreams.get(leg.upstream.0 as usize).is_some_and(|upstream| upstream.version_key);
    let wants_key = wants_key(leg) || overflow.is_some_and(wants_key);
    Decision {
        route,
        leg,
        overflow,
        flag,
        targeting_key: if wants_key { facts.known_key().map(Into::into) } else { None },
        set_cookie: facts.issued_key().and_then(|(cookie, key)| set_cookie(cookie, key, facts.head.secure)),
        params,
    }
}

/// Chooses a leg by a flag; whatever goes wrong, the fallback serves.
#[inline]
fn choose<'s>(
    snapshot: &'s Snapshot,
    id: FlagId,
    legs: &'s [Option<Leg>],
    fallback: &'s Leg,
    head: &Head<'_>,
    context: &impl Context,
) -> (&'s Leg, FlagOutcome<'s>) {
    let Some(flag) = snapshot.rules.flags.get(id.0 as usize) else {
        let ruling = Ruling { evaluation: failed(ErrorCode::FlagNotFound, None), overridden: None };
        return (fallback, outcome("", None, ruling, false));
    };
    let forced = forcing::forced(snapshot, head, id, flag);
    let ruling = match forced {
        Some(variant) => Ruling {
            evaluation: Evaluation {
                variant: Some(variant),
                reason: Reason::TargetingMatch,
                error: None,
                bucket: None,
            },
            overridden: None,
        },
        None => snapshot.evaluate(id, context),
    };
    let Some(variant) = ruling.evaluation.variant else {
        return (fallback, outcome(&flag.key, None, ruling, false));
    };
    match leg(legs, variant).zip(flag.variants.get(usize::from(variant.0))) {
        Some((leg, variant)) => (leg, outcome(&flag.key, Some(&variant.name), ruling, forced.is_some())),
        // The route names no upstream for this variant.
        None => {
            let evaluation = failed(ErrorCode::General, ruling.evaluation.bucket);
            (fallback, outcome(&flag.key, None, Ruling { evaluation, ..ruling }, forced.is_some()))
        }
    }
}

/// Whether a request may go to the fallback while the chosen upstream is full.
fn overflows(overflow: Overflow, method: &Method) -> bool {
    match overflow {
        Overflow::Never => false,
        Overflow::Reads => matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS),
        Overflow::All => true,
    }
}

fn leg(legs: &[Option<Leg>], variant: VariantId) -> Option<&Leg> {
    legs.get(usize::from(variant.0))?.as_ref()
}

fn failed(code: ErrorCode, bucket: Option<Bucket>) -> Evaluation {
    Evaluation { variant: None, reason: Reason::Error, error: Some(code), bucket }
}

fn outcome<'s>(key: &'s str, variant: Option<&'s str>, ruling: Ruling, forced: bool) -> FlagOutcome<'s> {
    let Evaluation { reason, error, bucket, .. } = ruling.evaluation;
    FlagOutcome {
        key,
        variant,
        reason,
        error,
        bucket,
        forced,
        overridden: ruling.overridden,
        overflow: false,
        held: false,
    }
}

/// Writes the cookie that keeps a visitor's targeting key (RFC 6265bis); no script needs it, hence `HttpOnly`.
fn set_cookie(cookie: &IssuedCookie, key: &str, secure: bool) -> Option<HeaderValue> {
    let IssuedCookie { name, max_age_s } = cookie;
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{name}={key}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}")).ok()
}
