//! Owns what a copy looks like on its way: the kept request with the destination's id, its key, its mark and what the destination
//! wants changed. It sends nothing.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request};
use serde_json::Value;

use super::ask::Question;
use crate::forward::rewrite;
use crate::head::{Added, names};
use crate::mirror::record::Intent;
use crate::mirror::{Marker, Vault, reveal};
use crate::snapshot::{CopyRules, IdCarrier};
use crate::upstream::Upstream;

/// Of an answer to a write, so much is kept, in bytes: for ids and for what parked copies show.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What depends on the client's time or its connection, and has been judged by the primary already.
const NOT_SENT: [HeaderName; 6] = [
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// Says why a write cannot be put into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit(pub &'static str);

/// What all requests for one copy have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer<'a> {
    pub intent: &'a Intent,
    pub rules: &'a CopyRules,
    pub marker: &'a Marker,
    pub vault: Option<&'a Vault>,
}

impl Writer<'_> {
    /// The path of the write, without its query.
    pub(super) fn path(&self) -> &str {
        self.intent.target.split('?').next().unwrap_or_default()
    }

    /// The copy of the write. `created` is the primary's id of what a create made; `id` is the destination's of what the
    /// path names, where that is another one.
    pub(super) fn copy(
        &self,
        upstream: &Upstream,
        body: Bytes,
        created: Option<&str>,
        id: Option<&str>,
    ) -> Result<Question, Unfit> {
        let mut method = Method::from_bytes(self.intent.method.as_bytes()).map_err(|_| Unfit("its method is none"))?;
        let mut fields = self.fields()?;
        let (mut target, mut body) = (self.target(id)?, body);
        match (&self.rules.carry_id, created) {
            (Some(IdCarrier::Path), Some(created)) => {
                method = Method::PUT;
                target = self.target(Some(created))?;
            }
            (Some(IdCarrier::Header(name)), Some(created)) => {
                let value = HeaderValue::from_str(created).map_err(|_| Unfit("the id cannot stand in a header"))?;
                fields.remove(name);
                fields.push(name.clone(), value);
            }
            (Some(IdCarrier::Json(pointer)), Some(created)) => body = with_id(&body, pointer, created)?,
            (None, _) | (_, None) => {}
        }
        self.question(upstream, method, target, fields, body, ANSWER_BYTES_MAX)
    }

    /// A question for the state of what the write is about.
    pub(super) fn read(&self, upstream: &Upstream, target: &str, bytes_max: usize) -> Result<Question, Unfit> {
        let mut fields = self.fields()?;
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::RANGE] {
            fields.remove(&name);
        }
        // A state that somebody keeps on the way may be older than what was acknowledged.
        fields.remove(&header::CACHE_CONTROL);
        fields.push(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self.question(upstream, Method::GET, target.to_owned(), fields, Bytes::new(), bytes_max)
    }

    /// The state of the primary as a write: `content_type` is its own.
    pub(super) fn upsert(
        &self,
        upstream: &Upstream,
        id: Option<&str>,
        content_type: Option<&HeaderValue>,
        body: Bytes,
    ) -> Result<Question, Unfit> {
        let mut fields = self.fields()?;
        fields.remove(&header::CONTENT_ENCODING);
        fields.remove(&header::CONTENT_TYPE);
        if let Some(content_type) = content_type {
            fields.push(header::CONTENT_TYPE, content_type.clone());
        }
        self.question(upstream, Method::PUT, self.target(id)?, fields, body, ANSWER_BYTES_MAX)
    }

    /// What the primary no longer has, as a write.
    pub(super) fn delete(&self, upstream: &Upstream, id: Option<&str>) -> Result<Question, Unfit> {
        let mut fields = self.fields()?;
        fields.remove(&header::CONTENT_TYPE);
        self.question(upstream, Method::DELETE, self.target(id)?, fields, Bytes::new(), ANSWER_BYTES_MAX)
    }

    /// Path and query with another id in the path.
    pub(super) fn target(&self, id: Option<&str>) -> Result<String, Unfit> {
        let Some(id) = id else { return Ok(self.intent.target.to_string()) };
        let path = self.rules.path_with_id(self.path(), id).ok_or(Unfit("its path has no place for an id"))?;
        Ok(format!("{path}{}", &self.intent.target[self.path().len()..]))
    }

    /// The kept fields, the key and the mark; in a list, as nobody looks them up.
    fn fields(&self) -> Result<Added, Unfit> {
        let mut fields = Added::default();
        for (name, value) in &self.intent.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Unfit("a header's name is none"))?;
            // What was encrypted with another key is not sent: the destination says what it thinks of that.
            let Some(value) = reveal(value, self.vault) else { continue };
            if !NOT_SENT.contains(&name) {
                fields.push(name, HeaderValue::from_maybe_shared(value).map_err(|_| Unfit("a header is none"))?);
            }
        }
        let key = HeaderValue::from_str(&self.intent.key).map_err(|_| Unfit("its key cannot stand in a header"))?;
        fields.push(self.rules.idempotency_header.clone(), key);
        fields.push(names::BANYAN_MIRROR, self.marker.mark(self.intent.id, &self.intent.hops));
        Ok(fields)
    }

    fn question(
        &self,
        upstream: &Upstream,
        method: Method,
        target: String,
        mut fields: Added,
        body: Bytes,
        answer_bytes_max: usize,
    ) -> Result<Question, Unfit> {
        let host = upstream.rewrite.host.clone().or_else(|| fields.value(&header::HOST).cloned());
        let host = host.unwrap_or_else(|| {
            let host = upstream.endpoints.first().map_or("", |endpoint| &endpoint.authority);
            HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static(""))
        });
        fields.remove(&header::HOST);
        let target = PathAndQuery::try_from(target).map_err(|_| Unfit("its path is none"))?;
        let (mut parts, ()) = Request::new(()).into_parts();
        // What must stand first, and what frames the body, is looked for in the map.
        parts.headers = HeaderMap::with_capacity(2);
        parts.headers.insert(header::HOST, host);
        if !body.is_empty() || !matches!(method, Method::GET | Method::HEAD | Method::DELETE) {
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        (parts.method, parts.uri) = (method, target.into());
        rewrite(&mut parts, &mut fields, &upstream.rewrite).map_err(|_| Unfit("its path is none"))?;
        let target = parts.uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Question { method: parts.method, target, headers: parts.headers, fields, body, answer_bytes_max })
    }
}

/// A JSON body with an id at a pointer.
fn with_id(body: &[u8], pointer: &str, id: &str) -> Result<Bytes, Unfit> {
    let mut json: Value =
        serde_json::from_slice(body).map_err(|_| Unfit("its body is no JSON, so it can carry no id"))?;
    let (parent, name) = pointer.rsplit_once('/').ok_or(Unfit("the pointer names no member"))?;
    let members = json.pointer_mut(parent).and_then(Value::as_object_mut);
    let members = members.ok_or(Unfit("its body has no object for the id"))?;
    let name = name.replace("~1", "/").replace("~0", "~");
    // What reads as a number is one, as most primaries have it in their answers.
    let number = id.parse::<u64>().ok().filter(|number| number.to_string() == id);
    let value = number.map_or_else(|| Value::from(id), Value::from);
    members.insert(name, value);
    serde_json::to_vec(&json).map(Bytes::from).map_err(|_| Unfit("its body is no JSON"))
}

/// Whether two bodies say the same: as JSON where both are, else byte by byte.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    match (serde_json::from_slice::<Value>(one), serde_json::from_slice::<Value>(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Whether a body of JSON holds all that another says: what a create made has more members than were sent.
pub(super) fn holds(whole: &[u8], part: &[u8]) -> bool {
    match (serde_json::from_slice::<Value>(whole), serde_json::from_slice::<Value>(part)) {
        (Ok(whole), Ok(part)) => holds_value(&whole, &part),
        _ => whole == part,
    }
}

fn holds_value(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|found| holds_value(found, value)))
        }
        (whole, part) => whole == part,
    }
}

#[cfg(test)]
mod tests;
