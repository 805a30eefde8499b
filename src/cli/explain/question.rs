//! Owns the request that `explain` asks about: read by the same rules as one from the wire, and decided.

use std::net::IpAddr;
use std::sync::OnceLock;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header::HOST};

use super::report::{Decided, KeyOrigin, Other, Outcome, Step};
use super::{Answer, FROM_FILES};
use crate::decision::{self, Certificate, Decision, Head, Undecided};
use crate::fault::Fault;
use crate::flag::ErrorCode;
use crate::head::{Policy, request};
use crate::limits::Limits;
use crate::route::Missed;
use crate::snapshot::{Choice, Snapshot};

/// A request as given on the command line.
pub(super) struct Question {
    parts: Parts,
    client: IpAddr,
    secure: bool,
}

impl Question {
    /// Makes a request head as a client would send it.
    pub(super) fn new(method: &Method, url: &Uri, headers: &[(HeaderName, HeaderValue)], client: IpAddr) -> Self {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = method.clone();
        parts.uri = url.path_and_query().map_or_else(|| Uri::from_static("/"), |target| Uri::from(target.clone()));
        for (name, value) in headers {
            parts.headers.append(name, value.clone());
        }
        if !parts.headers.contains_key(HOST) {
            let authority = url.authority().map_or("localhost", |authority| authority.as_str());
            let host = HeaderValue::from_str(authority);
            parts.headers.extend(host.ok().map(|host| (HOST, host)));
        }
        Self { parts, client, secure: url.scheme_str() == Some("https") }
    }

    /// Decides about the request as the data plane does.
    pub(super) fn ask(&self, snapshot: &Snapshot, certificate: Option<Certificate<'_>>, now_unix_s: i64) -> Answer {
        let mut answer = Answer {
            method: self.parts.method.to_string(),
            host: String::new(),
            target: self.parts.uri.to_string(),
            client: self.client.to_string(),
            generation: FROM_FILES,
            others: Vec::new(),
            outcome: Err(String::new()),
        };
        let admitted = match request::admit(&self.parts, &Limits::default(), &Policy::default()) {
            Ok(admitted) => admitted,
            Err(fault) => {
                answer.outcome = Err(refusal(fault));
                return answer;
            }
        };
        answer.host = admitted.host.to_string();
        let head = Head {
            method: &self.parts.method,
            host: &admitted.host,
            path: self.parts.uri.path(),
            query: self.parts.uri.query(),
            headers: &self.parts.headers,
            client: self.client,
            secure: self.secure,
            certificate,
            now_unix_s,
            fresh_key,
        };
        answer.others = others(snapshot, &head);
        answer.outcome = match decision::decide(snapshot, &head) {
            Ok(decision) => Ok(decided(snapshot, &head, &decision)),
            Err(undecided) => Err(undecided_text(undecided)),
        };
        answer
    }
}

/// A key for a visitor without one: the same in the decision and in its trace, another one in each run.
fn fresh_key() -> String {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| format!("{:032x}", fastrand::u128(..))).clone()
}

fn refusal(fault: Fault) -> String {
    format!("the router refuses the request with {} ({})", fault.status(), fault.as_str())
}

fn undecided_text(undecided: Undecided) -> String {
    let (fault, why) = match undecided {
        Undecided::NoRoute => {
            (Fault::NoRoute, "no route takes it; a route with the path `/{*rest}` would take what no other does")
        }
        Undecided::PathAmbiguous => (
            Fault::PathAmbiguous,
            "the path means different routes to different readers; send it without needless escapes, dot segments, \
             double slashes and `;`, or let one route take all of its readings",
        ),
    };
    format!("{}: {why}", refusal(fault))
}

/// The routes whose host and path fit, with why they did not take the request.
fn others(snapshot: &Snapshot, head: &Head<'_>) -> Vec<Other> {
    let mut taken = false;
    let considered = snapshot.rules.routes.considered(&head.request());
    let others = considered.into_iter().map(|route| {
        let why = match route.missed {
            Some(Missed::Method) => "the method is not listed".to_owned(),
            Some(Missed::Header(name)) => format!("the header `{name}` is absent or has another value"),
            Some(Missed::Query(name)) => format!("the query parameter `{name}` is absent or has another value"),
            None if taken => "less specific".to_owned(),
            None => {
                taken = true;
                return None;
            }
        };
        Some(Other { route: route.payload.name.to_string(), path: route.template.to_string(), why })
    });
    others.flatten().collect()
}

fn decided(snapshot: &Snapshot, head: &Head<'_>, decision: &Decision<'_>) -> Decided {
    let upstream = snapshot.upstreams.get(decision.leg.upstream.0 as usize);
    let explanation = decision::explain(snapshot, head);
    let params = decision.params.template().parameters().iter().map(|name| {
        let value = decision.params.value(name, head.path).map(std::borrow::Cow::into_owned);
        (name.to_string(), value)
    });
    let mut decided = Decided {
        route: decision.route.name.to_string(),
        path: decision.params.template().to_string(),
        params: params.collect(),
        upstream: upstream.map(|upstream| upstream.name.to_string()).unwrap_or_default(),
        overflow: decision.overflow.map(|leg| snapshot.rules.legs[leg.id.0 as usize].upstream.to_string()),
        why: why(snapshot, decision, explanation.as_ref().and_then(|found| found.trace.evaluation.variant)),
        flag: None,
        steps: Vec::new(),
        key: None,
    };
    let Some((outcome, explanation)) = decision.flag.as_ref().zip(explanation) else {
        return decided;
    };
    decided.steps = (explanation.trace.steps.into_iter())
        .map(|step| Step { depth: step.depth, rule: step.rule, result: step.result })
        .collect();
    decided.key = explanation.targeting_key.filter(|_| !outcome.forced).map(|key| match explanation.source {
        Some(source) => KeyOrigin::Found { source: source.to_string(), key: key.into() },
        None => KeyOrigin::Issued,
    });
    decided.flag = Some(Outcome {
        flag: outcome.key.to_owned(),
        variant: outcome.variant.map(str::to_owned),
        reason: outcome.reason.as_str(),
        error: outcome.error.map(ErrorCode::as_str),
        // The fresh key of an issued cookie is another one each time, so its slot says nothing.
        bucket: outcome.bucket.filter(|_| !matches!(decided.key, Some(KeyOrigin::Issued))),
        forced: outcome.forced,
        overridden: outcome.overridden,
    });
    decided
}

/// Why this upstream serves.
fn why(snapshot: &Snapshot, decision: &Decision<'_>, evaluated: Option<crate::flag::VariantId>) -> String {
    let Choice::ByFlag { flag, .. } = &decision.route.choice else {
        return "the route has no flag".to_owned();
    };
    let Some(outcome) = &decision.flag else {
        return String::new();
    };
    let forced = match (outcome.forced, outcome.overridden) {
        (true, _) => ", forced by a header",
        (false, Some(_)) => ", by an override",
        (false, None) => "",
    };
    match (outcome.variant, outcome.reason) {
        (Some(variant), _) => format!("the variant `{variant}` leads there{forced}"),
        (None, crate::flag::Reason::Disabled) if outcome.overridden.is_some() => {
            "an override kills the flag: the fallback serves".to_owned()
        }
        (None, crate::flag::Reason::Disabled) => "the flag is disabled: the fallback serves".to_owned(),
        (None, crate::flag::Reason::Error) => {
            let flag = snapshot.rules.flags.get(flag.0 as usize);
            let named = flag.zip(evaluated).and_then(|(flag, id)| flag.variants.get(usize::from(id.0)));
            match named {
                Some(variant) => {
                    format!("the route names no upstream for the variant `{}`: the fallback serves", variant.name)
                }
                None => "the flag could not be evaluated: the fallback serves".to_owned(),
            }
        }
        (None, _) => "the flag has no default variant: the fallback serves".to_owned(),
    }
}
