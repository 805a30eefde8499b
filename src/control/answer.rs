//! Owns the shape of the admin listener's answers; errors are problems of RFC 9457.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;

/// An answer of the admin listener; its body cannot fail.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// The text format's version 0.0.4, as Prometheus asks for it.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

pub(super) fn text(body: &'static str) -> Answer {
    with(StatusCode::OK, TEXT, body)
}

pub(super) fn json(body: &serde_json::Value) -> Answer {
    with(StatusCode::OK, JSON, body.to_string())
}

/// Makes an answer of JSON that is written already.
pub(super) fn json_text(body: impl Into<Bytes>) -> Answer {
    with(StatusCode::OK, JSON, body)
}

/// Says that the caller has what it asks for.
pub(super) fn not_modified() -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    answer
}

pub(super) fn metrics(body: String) -> Answer {
    with(StatusCode::OK, METRICS, body)
}

/// Makes a problem whose title is the status' own.
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    with(status, PROBLEM, problem_body(status, detail).to_string())
}

/// Makes a problem with a code for scripts.
pub(super) fn coded(status: StatusCode, code: &str, detail: &str) -> Answer {
    let mut body = problem_body(status, detail);
    body["code"] = code.into();
    with(status, PROBLEM, body.to_string())
}

fn problem_body(status: StatusCode, detail: &str) -> serde_json::Value {
    let title = status.canonical_reason().unwrap_or_default();
    serde_json::json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail})
}

/// Makes a problem after which the connection ends, as its bytes cannot be trusted any more.
pub(super) fn fatal(status: StatusCode, detail: &str) -> Answer {
    closing(problem(status, detail))
}

/// Ends the connection after an answer.
pub(super) fn closing(answer: Answer) -> Answer {
    with_header(answer, CONNECTION, HeaderValue::from_static("close"))
}

pub(super) fn method_not_allowed() -> Answer {
    let answer = problem(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
    with_header(answer, ALLOW, HeaderValue::from_static("GET, HEAD"))
}

/// Sets a field.
pub(super) fn with_header(mut answer: Answer, name: HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(name, value);
    answer
}

fn with(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(UnsyncBoxBody::new(Full::new(body.into())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
