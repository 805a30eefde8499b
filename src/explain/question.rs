//! Owns the request that `explain` asks about: read by the same rules as one from the wire, and decided.

use std::net::IpAddr;
use std::sync::OnceLock;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header::HOST};

use super::report::{Answer, Asked, Copy, KeyOrigin, Other, Slot, Step};
use crate::decision::{self, Certificate, Decision, Head, Undecided};
use crate::fault::Fault;
use crate::flag::{ErrorCode, OverrideKind, VariantId};
use crate::head::{Policy, request};
use crate::limits::Limits;
use crate::route::Missed;
use crate::snapshot::{Choice, Snapshot};

/// A request as somebody describes it.
#[derive(Debug)]
pub struct Question {
    parts: Parts,
    client: IpAddr,
    secure: bool,
}

impl Question {
    /// Makes a request head as a client would send it.
    pub fn new(method: &Method, url: &Uri, headers: &[(HeaderName, HeaderValue)], client: IpAddr) -> Self {
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
    pub fn ask(&self, snapshot: &Snapshot, certificate: Option<Certificate<'_>>, now_unix_s: i64) -> Answer {
        let mut answer = Answer {
            request: Asked {
                method: self.parts.method.to_string(),
                host: String::new(),
                target: self.parts.uri.to_string(),
                client: self.client.to_string(),
            },
            generation: snapshot.generation,
            ..Answer::default()
        };
        let admitted = match request::admit(&self.parts, &Limits::default(), &Policy::default()) {
            Ok(admitted) => admitted,
            Err(fault) => {
                answer.refused = Some(refusal(fault));
                return answer;
            }
        };
        answer.request.host = admitted.host.to_string();
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
        answer.considered = others(snapshot, &head);
        match decision::decide(snapshot, &head) {
            Ok(decision) => decided(&mut answer, snapshot, &head, &decision),
            Err(undecided) => answer.refused = Some(undecided_text(undecided)),
        }
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

fn decided(answer: &mut Answer, snapshot: &Snapshot, head: &Head<'_>, decision: &Decision<'_>) {
    let upstream = snapshot.upstreams.get(decision.leg.upstream.0 as usize);
    let explanation = decision::explain(snapshot, head);
    let template = decision.params.template();
    let params = template.parameters().iter().map(|name| {
        let value = decision.params.value(name, head.path).map(std::borrow::Cow::into_owned);
        (name.to_string(), value)
    });
    answer.route = Some(decision.route.name.to_string());
    answer.path = Some(template.to_string());
    answer.params = Some(params.collect());
    answer.upstream = Some(upstream.map(|upstream| upstream.name.to_string()).unwrap_or_default());
    answer.overflow = decision.overflow.map(|leg| snapshot.rules.legs[leg.id.0 as usize].upstream.to_string());
    match copy(snapshot, head, decision) {
        Ok(copy) => answer.copy = Some(copy),
        Err(why) => answer.not_copied = why,
    }
    answer.why = Some(why(snapshot, decision, explanation.as_ref().and_then(|found| found.trace.evaluation.variant)));
    answer.rules = Some(Vec::new());
    let Some((outcome, explanation)) = decision.flag.as_ref().zip(explanation) else {
        return;
    };
    let steps = explanation.trace.steps.into_iter();
    answer.rules = Some(steps.map(|step| Step { depth: step.depth, rule: step.rule, result: step.result }).collect());
    answer.targeting_key = match (explanation.targeting_key, explanation.source) {
        _ if outcome.forced => None,
        (Some(key), Some(source)) => Some(KeyOrigin { value: Some(key.into()), source: source.to_string() }),
        (Some(_), None) => Some(KeyOrigin { value: None, source: KeyOrigin::ISSUED.to_owned() }),
        (None, _) => explanation.is_keyless.then(|| KeyOrigin { value: None, source: KeyOrigin::NONE.to_owned() }),
    };
    answer.flag = Some(outcome.key.to_owned());
    answer.variant = outcome.variant.map(str::to_owned);
    answer.reason = Some(outcome.reason.as_str().to_owned());
    answer.error = outcome.error.map(ErrorCode::as_str).map(str::to_owned);
    // The fresh key of an issued cookie is another one each time, so its slot says nothing.
    let is_issued = answer.targeting_key.as_ref().is_some_and(|key| key.source == KeyOrigin::ISSUED);
    answer.bucket = outcome.bucket.filter(|_| !is_issued).map(|bucket| Slot { slot: bucket.slot, of: bucket.of });
    answer.forced = outcome.forced;
    answer.overridden = outcome.overridden.map(OverrideKind::as_str).map(str::to_owned);
}

/// Where a copy goes, or why there is none; without a word where nobody would expect one.
fn copy(snapshot: &Snapshot, head: &Head<'_>, decision: &Decision<'_>) -> Result<Copy, Option<String>> {
    let method = head.method;
    let Some(rules) = &decision.route.copies else {
        let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        return Err((!is_read).then(|| format!("the route `{}` copies no writes", decision.route.name)));
    };
    if !rules.is_write(method) {
        return Err(Some(format!("{method} is a read here, and reads are not copied")));
    }
    let to = decision.leg.copy_to.and_then(|id| snapshot.upstreams.get(id.0 as usize)).ok_or_else(|| {
        let variant = decision.flag.as_ref().and_then(|outcome| outcome.variant);
        let chosen = variant.map_or("the fallback".to_owned(), |variant| format!("the variant `{variant}`"));
        let upstream = snapshot.upstreams.get(decision.leg.upstream.0 as usize);
        let alone = upstream.map_or(String::new(), |upstream| format!(": this write is on `{}` alone", upstream.name));
        Some(format!("{chosen} copies nothing{alone}"))
    })?;
    let entity = rules.entity(head.path).map(std::borrow::Cow::into_owned);
    Ok(Copy { to: to.name.to_string(), entity, mode: rules.mode.as_str().to_owned() })
}

/// Why this upstream serves.
fn why(snapshot: &Snapshot, decision: &Decision<'_>, evaluated: Option<VariantId>) -> String {
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

/// Reads a method.
///
/// # Errors
/// When it is none; says what to write.
pub fn method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes()).map_err(|_| "not a method; write GET, POST, …".to_owned())
}

/// Reads a URL, or a path alone.
///
/// # Errors
/// When it is none; says what to write.
pub fn url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}; write http://shop.example/path or /path"))?;
    let is_http = matches!(uri.scheme_str(), None | Some("http" | "https"));
    if !is_http || (uri.scheme().is_none() && uri.authority().is_some()) {
        return Err("write http://shop.example/path or /path".to_owned());
    }
    Ok(uri)
}

/// Reads a header field such as `x-user-id: ada`.
///
/// # Errors
/// When it is none; says what to write.
pub fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err("no colon; write 'name: value'".to_owned());
    };
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| format!("`{name}` is not a header name"))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| "the value has bytes that no header has".to_owned())?;
    Ok((name, value))
}
