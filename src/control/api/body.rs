//! Owns reading the body of a write: JSON only, bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::Problem;

/// The largest body (rule A7); orders have some hundred bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// From the head to the end of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body to its end.
///
/// # Errors
/// When it is not said to be JSON, is too large, too slow, or breaks off.
pub(super) async fn read(headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // A page of another origin cannot send this type unasked (rule A2).
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let detail = "the content type must be application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", detail).fatal());
    }
    let limited = Limited::new(body, BODY_BYTES_MAX);
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).fatal())
        }
        Ok(Err(_)) => Err(Problem::malformed("the body broke off".to_owned()).fatal()),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "the body is not there yet").fatal()),
    }
}

/// Reads the JSON of a body.
///
/// # Errors
/// A problem when it is not what the order takes.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::malformed(format!("the body does not fit: {error}")))
}
