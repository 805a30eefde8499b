//! Owns the HTTP side of an answer: status, fields and body. What JSON it holds is the shapes' affair.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use serde::Serialize;

use super::shape::Failure;

/// A whole body, or a stream of events.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
/// An answer, of the type of all answers on the admin listener.
pub(super) type Answer = Response<Body>;

/// When who was refused may ask again, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Makes an answer of JSON that is written already.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(Body::new(Full::new(body.into())));
    *answer.status_mut() = status;
    let answer = with(answer, CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = with(answer, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    with(answer, X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
}

/// Writes a shape.
pub(super) fn written(status: StatusCode, shape: &impl Serialize) -> Answer {
    match serde_json::to_vec(shape) {
        Ok(body) => json(status, body),
        Err(_) => internal(),
    }
}

/// Refuses with a general error.
pub(super) fn refusal(status: StatusCode, details: &str) -> Answer {
    written(status, &Failure { key: None, error_code: "GENERAL", error_details: details.to_owned() })
}

/// Refuses what may be asked for again in a moment.
pub(super) fn too_many(details: &str) -> Answer {
    with(refusal(StatusCode::TOO_MANY_REQUESTS, details), RETRY_AFTER, RETRY_AFTER_S)
}

/// Refuses a method; `allowed` lists those that the path has.
pub(super) fn method_not_allowed(allowed: &'static str) -> Answer {
    let details = "this path has other methods";
    with(refusal(StatusCode::METHOD_NOT_ALLOWED, details), ALLOW, HeaderValue::from_static(allowed))
}

/// Says that we are at fault, in a form that cannot fail to be written.
pub(super) fn internal() -> Answer {
    json(StatusCode::INTERNAL_SERVER_ERROR, r#"{"errorDetails":"the answer could not be made"}"#)
}

/// Says that the caller has what it asks for.
pub(super) fn not_modified() -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    answer
}

/// Ends the connection after an answer: what is left of a body that was not read to its end cannot be skipped.
pub(super) fn closing(answer: Answer) -> Answer {
    with(answer, CONNECTION, HeaderValue::from_static("close"))
}

/// Sets a field.
pub(super) fn with(mut answer: Answer, name: HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(name, value);
    answer
}
