//! Owns OFREP 0.3.0, by which components ask flags of the snapshot that routes requests; it never changes anything.

mod context;
mod reply;
mod shape;
mod tags;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value as Json, json};
use tokio::sync::{Semaphore, watch};

use self::context::{Attributes, SentContext};
use self::reply::Answer;
use self::shape::{Evaluated, Failure, set_metadata};
use self::tags::ForceTags;
use super::streams::{Feed, Gone, Streams};
use super::{Reporter, Status};
use crate::flag::FlagId;
use crate::snapshot::{Snapshot, Store};

pub(super) use tags::{entity_tag, matches};

/// Where all paths begin.
pub(super) const PREFIX: &str = "/ofrep/v1/";
/// What evaluates, without [`PREFIX`]; a flag's key may follow after a slash.
const FLAGS: &str = "evaluate/flags";
/// Where changes are told, without [`PREFIX`]; the protocol leaves the name to us.
const EVENTS: &str = "events";
/// The largest request body; contexts of requests have some hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// From the head to the end of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How many callers are told all flags at the same time; each takes a thread, and memory for every flag.
const BULKS_MAX: usize = 4;
/// After so many seconds without a user, clients close their stream.
const INACTIVITY_S: u32 = 120;

/// Answers OFREP.
#[derive(Debug)]
pub(super) struct Ofrep {
    store: Arc<Store>,
    status: watch::Receiver<Status>,
    tags: Arc<ForceTags>,
    streams: Streams,
    bulks: Arc<Semaphore>,
    reporter: Reporter,
}

impl Ofrep {
    pub(super) fn new(
        store: Arc<Store>,
        status: watch::Receiver<Status>,
        streams: Streams,
        reporter: Reporter,
    ) -> Self {
        let (tags, bulks) = (Arc::new(ForceTags::new()), Arc::new(Semaphore::new(BULKS_MAX)));
        Self { store, status, tags, streams, bulks, reporter }
    }

    /// Answers a request whose path begins with [`PREFIX`].
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
        if path == EVENTS {
            return self.events(&request);
        }
        let Some(key) = path.strip_prefix(FLAGS).filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            return reply::refusal(StatusCode::NOT_FOUND, "OFREP has no such path here");
        };
        if request.method() != Method::POST {
            return reply::method_not_allowed("POST");
        }
        let key = key.strip_prefix('/').map(decode);
        let (head, body) = request.into_parts();
        let attributes = match read(&head.headers, body).await {
            Ok(attributes) => attributes,
            Err((status, failure)) => return refuse(status, &Failure { key: key.as_deref(), ..failure }),
        };
        match key {
            Some(key) => self.one(&key, &attributes),
            None => self.all(attributes, &head).await,
        }
    }

    fn one(&self, key: &str, attributes: &Attributes) -> Answer {
        let snapshot = self.store.snapshot();
        let Some(id) = snapshot.rules.flag_ids.get(key) else {
            let error_details = format!("there is no flag `{key}`");
            let failure = Failure { key: Some(key), error_code: "FLAG_NOT_FOUND", error_details };
            return reply::written(StatusCode::NOT_FOUND, &failure);
        };
        // Whoever asks for all flags says nothing about the use of one.
        self.reporter.note_asked(key);
        let context = SentContext::new(&snapshot.rules, attributes, now_unix_s());
        match evaluate(&snapshot, *id, &context) {
            Some(evaluated) => reply::written(evaluated.status(), &evaluated.with_set(&snapshot)),
            None => reply::internal(),
        }
    }

    async fn all(&self, attributes: Attributes, head: &http::request::Parts) -> Answer {
        let Ok(slot) = Arc::clone(&self.bulks).try_acquire_owned() else {
            return reply::too_many("all flags are being evaluated for as many callers as may ask at once");
        };
        let (snapshot, tags) = (self.store.snapshot(), Arc::clone(&self.tags));
        let held = Held::of(head);
        // Thousands of flags take long enough to be in the way of a kill.
        let work = move || {
            let answer = evaluate_all(&snapshot, &attributes, &held, &tags.tag(&snapshot));
            drop(slot);
            answer
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| reply::internal())
    }

    fn events(&self, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::GET {
            return reply::method_not_allowed("GET");
        }
        let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let (store, status, tags) = (Arc::clone(&self.store), self.status.clone(), Arc::clone(&self.tags));
        let stream = self.streams.open(|feed| tell(feed, store, status, tags, last));
        stream.unwrap_or_else(|| reply::too_many("there are as many streams of events as may be"))
    }
}

/// Tells of each change; at the start too, unless the listener has heard of what is in force.
async fn tell(
    feed: Feed,
    store: Arc<Store>,
    mut status: watch::Receiver<Status>,
    tags: Arc<ForceTags>,
    mut last: Option<String>,
) -> Result<(), Gone> {
    loop {
        // Seen before the snapshot is looked at, so that none after it is missed.
        status.mark_unchanged();
        let tag = tags.tag(&store.snapshot());
        if last.as_ref() != Some(&tag) {
            feed.event(&tag, "message", &json!({"type": "refetchEvaluation", "etag": tag})).await?;
            last = Some(tag);
        }
        status.changed().await.map_err(|_| Gone)?;
    }
}

/// What a caller has already.
#[derive(Debug)]
struct Held {
    /// Of `If-None-Match`.
    tags: Vec<String>,
    /// The tag of an event that made it ask.
    told: Option<String>,
}

impl Held {
    fn of(head: &http::request::Parts) -> Self {
        let values = head.headers.get_all(IF_NONE_MATCH).iter();
        let tags = values.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
        let mut pairs = head.uri.query().unwrap_or_default().split('&');
        let told = pairs.find_map(|pair| pair.strip_prefix("flagConfigEtag=")).map(decode);
        Self { tags, told }
    }

    /// Whether it needs no answer: an event of another state of affairs than ours is news in any case.
    fn has(&self, entity: &str, in_force: &str) -> bool {
        let same_event = self.told.as_ref().is_none_or(|told| told == in_force);
        same_event && self.tags.iter().any(|values| tags::matches(entity, values))
    }
}

fn evaluate_all(snapshot: &Snapshot, attributes: &Attributes, held: &Held, in_force: &str) -> Answer {
    let context = SentContext::new(&snapshot.rules, attributes, now_unix_s());
    let ids = (0..snapshot.rules.flags.len()).map(|at| FlagId(at as u32));
    let flags: Vec<_> = ids.filter_map(|id| evaluate(snapshot, id, &context)).collect();
    let Ok(flags) = serde_json::to_string(&flags) else {
        return reply::internal();
    };
    let entity = entity_tag(flags.as_bytes());
    let answer = if held.has(&entity, in_force) {
        reply::not_modified()
    } else {
        let streams = json!([{
            "type": "sse",
            "endpoint": {"requestUri": format!("{PREFIX}{EVENTS}")},
            "inactivityDelaySec": INACTIVITY_S,
        }]);
        let metadata = Json::Object(set_metadata(snapshot));
        let body = format!(r#"{{"flags":{flags},"eventStreams":{streams},"metadata":{metadata}}}"#);
        reply::json(StatusCode::OK, body)
    };
    match HeaderValue::try_from(entity) {
        Ok(entity) => reply::with(answer, ETAG, entity),
        Err(_) => answer,
    }
}

fn evaluate<'s>(snapshot: &'s Snapshot, id: FlagId, context: &SentContext<'_>) -> Option<Evaluated<'s>> {
    let flag = snapshot.rules.flags.get(id.0 as usize)?;
    Some(Evaluated::new(flag, snapshot.evaluate(id, context)))
}

/// Reads the context out of a request's body.
async fn read(headers: &HeaderMap, body: Incoming) -> Result<Attributes, (StatusCode, Failure<'static>)> {
    let failure =
        |status, error_code, error_details: String| (status, Failure { key: None, error_code, error_details });
    // A page of another origin cannot send this type unasked (rule A2).
    if !is_json(headers) {
        let details = "the content type must be application/json".to_owned();
        return Err(failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, "GENERAL", details));
    }
    let limited = Limited::new(body, BODY_BYTES_MAX);
    let body = match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let details = format!("the body is larger than {BODY_BYTES_MAX} bytes");
            return Err(failure(StatusCode::PAYLOAD_TOO_LARGE, "GENERAL", details));
        }
        Ok(Err(_)) => return Err(failure(StatusCode::BAD_REQUEST, "GENERAL", "the body broke off".to_owned())),
        Err(_) => return Err(failure(StatusCode::REQUEST_TIMEOUT, "GENERAL", "the body is not there yet".to_owned())),
    };
    let attributes = parse(&body).map_err(|details| failure(StatusCode::BAD_REQUEST, "PARSE_ERROR", details))?;
    Attributes::new(attributes).map_err(|error| failure(StatusCode::BAD_REQUEST, "INVALID_CONTEXT", error.to_string()))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// The member `context` of a body; null where there is none.
fn parse(body: &Bytes) -> Result<Json, String> {
    match serde_json::from_slice(body) {
        Ok(Json::Object(mut members)) => Ok(members.remove("context").unwrap_or_default()),
        Ok(_) => Err("the body must be an object".to_owned()),
        Err(error) => Err(format!("the body is not JSON: {error}")),
    }
}

/// Decodes percent escapes; what is no escape stays, and what is no UTF-8 names no flag.
pub(super) fn decode(text: &str) -> String {
    let hex = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match after {
            [high, low, ..] if *first == b'%' => hex(high).zip(hex(low)),
            _ => None,
        };
        bytes.push(escaped.map_or(*first, |(high, low)| high << 4 | low));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Refuses a request for what is wrong with its body.
fn refuse(status: StatusCode, failure: &Failure<'_>) -> Answer {
    let answer = reply::written(status, failure);
    if status == StatusCode::BAD_REQUEST { answer } else { reply::closing(answer) }
}

fn now_unix_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn escapes_are_decoded_and_all_else_stays() {
        for (text, decoded) in [("a%2Fb", "a/b"), ("%c3%a9", "é"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("", "")] {
            assert_eq!(decode(text), decoded);
        }
        assert_ne!(decode("%ff"), "");
    }
}
