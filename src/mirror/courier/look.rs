//! Owns looking at both sides for somebody who reconciles: reads only, a few at a time, behind nobody's back.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use serde_json::Value;
use tokio::task::spawn_local;

use super::Courier;
use super::ask::{Question as Asked, Reply};
use super::deliver::blocking;
use super::letter::is_same;
use super::verdict::Came;
use crate::forward::{Pool, rewrite};
use crate::head::Added;
use crate::mirror::reconcile::{Compared, Listed, Question, Sides};

/// Looks at the same time.
const LOOKS_MAX: usize = 16;
/// The largest entity that is compared, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Pages of a listing that are followed, by `Link: rel="next"`.
const PAGES_MAX: usize = 10_000;

/// Questions that wait, and how many are being answered.
#[derive(Debug, Default)]
pub(super) struct Looks {
    waiting: VecDeque<Question>,
    under_way: usize,
}

/// What a side says about an entity.
enum State {
    Has(Bytes),
    HasNot,
    Unknown(String),
}

impl Courier {
    /// Takes up what is asked, as far as there is room; the tick calls it.
    pub(super) fn look(self: &Rc<Self>) {
        let mut looks = self.looks.borrow_mut();
        looks.waiting.extend(self.mirror.board().take_questions());
        while looks.under_way < LOOKS_MAX
            && let Some(question) = looks.waiting.pop_front()
        {
            looks.under_way += 1;
            let courier = Rc::clone(self);
            spawn_local(async move {
                // Whoever asked may have gone; then nobody hears.
                match question {
                    Question::Compare(sides, path, reply) => drop(reply.send(courier.compare(&sides, &path).await)),
                    Question::List { upstream, target, id, reply } => {
                        drop(reply.send(courier.list(&upstream, &target, &id).await));
                    }
                }
                courier.looks.borrow_mut().under_way -= 1;
            });
        }
    }

    async fn compare(&self, sides: &Sides, path: &str) -> Compared {
        let there = match self.path_there(sides, path).await {
            Ok(there) => there,
            Err(why) => return Compared::Failed(why),
        };
        let (from, to) = (self.state(&sides.from, path).await, self.state(&sides.to, &there).await);
        match (from, to) {
            (State::Unknown(why), _) | (_, State::Unknown(why)) => Compared::Failed(why),
            (State::HasNot, State::HasNot) => Compared::Equal,
            (State::Has(_), State::HasNot) => Compared::Missing,
            (State::HasNot, State::Has(_)) => Compared::Surplus,
            (State::Has(one), State::Has(other)) if is_same(&one, &other) => Compared::Equal,
            (State::Has(_), State::Has(_)) => Compared::Differs,
        }
    }

    /// The path under which the other side knows what this one names by `path`.
    async fn path_there(&self, sides: &Sides, path: &str) -> Result<String, String> {
        let rules = self.view().rules(&sides.route).cloned();
        let Some(rules) = rules else { return Err(format!("the route `{}` copies nothing", sides.route)) };
        let Some(id) = rules.id(path).map(|id| id.into_owned()) else { return Ok(path.to_owned()) };
        let (mirror, sides) = (std::sync::Arc::clone(&self.mirror), sides.clone());
        let known = blocking(move || mirror.tables().id_at(&sides.route, &sides.from, &sides.to, &id)).await;
        match known {
            Ok(None) => Ok(path.to_owned()),
            Ok(Some(id)) => rules.path_with_id(path, &id).ok_or_else(|| "its path has no place for an id".to_owned()),
            Err(_) => Err("the table of ids cannot be read".to_owned()),
        }
    }

    async fn state(&self, upstream: &str, path: &str) -> State {
        let reply = match self.get(upstream, path).await {
            Ok(reply) => reply,
            Err(why) => return State::Unknown(why),
        };
        match reply.came {
            Came::Status(200..=299) if reply.is_whole => State::Has(reply.body),
            Came::Status(404 | 410) => State::HasNot,
            came => State::Unknown(told(upstream, came)),
        }
    }

    async fn list(&self, upstream: &str, target: &str, id: &str) -> Listed {
        let (mut ids, mut next) = (Vec::new(), Some(target.to_owned()));
        for _ in 0..PAGES_MAX {
            let Some(target) = next.take() else { return Listed::Ids(ids) };
            let reply = match self.get(upstream, &target).await {
                Ok(reply) => reply,
                Err(why) => return Listed::Failed(why),
            };
            if !(matches!(reply.came, Came::Status(200..=299)) && reply.is_whole) {
                return Listed::Failed(told(upstream, reply.came));
            }
            match ids_of(&reply.body, id) {
                Ok(found) => ids.extend(found),
                Err(why) => return Listed::Failed(format!("{upstream}, {target}: {why}")),
            }
            next = next_page(&reply.headers);
        }
        Listed::Failed(format!("the listing of {upstream} has more than {PAGES_MAX} pages"))
    }

    async fn get(&self, upstream: &str, target: &str) -> Result<Reply, String> {
        let view = self.view();
        let pool = view.pool(upstream).ok_or_else(|| format!("there is no upstream `{upstream}`"))?;
        let question = question(pool, target).ok_or_else(|| format!("`{target}` is no path"))?;
        Ok(self.asker.ask(pool, question).await)
    }
}

fn told(upstream: &str, came: Came) -> String {
    match came {
        Came::Status(status) => format!("{upstream} answers {status}"),
        Came::Fault(fault) => format!("{upstream}: {}", fault.as_str()),
    }
}

fn question(pool: &Pool, target: &str) -> Option<Asked> {
    let upstream = pool.upstream();
    let authority = upstream.endpoints.first().map_or("", |endpoint| &endpoint.authority);
    let host = upstream.rewrite.host.clone().or_else(|| HeaderValue::from_str(authority).ok())?;
    let accept = HeaderValue::from_static("application/json, */*;q=0.5");
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::GET;
    parts.uri = PathAndQuery::try_from(target).ok().filter(|_| target.starts_with('/'))?.into();
    parts.headers = HeaderMap::from_iter([(header::HOST, host), (header::ACCEPT, accept)]);
    let mut fields = Added::default();
    rewrite(&mut parts, &mut fields, &upstream.rewrite).ok()?;
    let target = parts.uri.into_parts().path_and_query?;
    let (headers, body) = (parts.headers, Bytes::new());
    Some(Asked { method: Method::GET, target, headers, fields, body, answer_bytes_max: BODY_BYTES_MAX })
}

/// The ids in a page of a listing: a list, or an object with one list in it; an item is an id, or has it at the pointer.
fn ids_of(body: &[u8], pointer: &str) -> Result<Vec<String>, String> {
    let page: Value = serde_json::from_slice(body).map_err(|_| "the listing is no JSON".to_owned())?;
    let items = match &page {
        Value::Array(items) => items,
        Value::Object(members) => {
            let mut lists = members.values().filter_map(Value::as_array);
            match (lists.next(), lists.next()) {
                (Some(items), None) => items,
                _ => return Err("the listing is neither a list nor an object with one list".to_owned()),
            }
        }
        _ => return Err("the listing is neither a list nor an object with one list".to_owned()),
    };
    let id = |item: &Value| match item {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        item => match item.pointer(pointer)? {
            Value::String(id) => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        },
    };
    items.iter().map(|item| id(item).ok_or_else(|| format!("an item has no id at `{pointer}`"))).collect()
}

/// The target of `Link: <…>; rel="next"` (RFC 8288).
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    let next = links
        .flat_map(|value| value.split(','))
        .find(|link| link.split(';').skip(1).any(|part| matches!(part.trim(), "rel=next" | "rel=\"next\"")))?;
    let target = next.split_once('<')?.1.split_once('>')?.0;
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map(|at| rest[at..].to_owned()),
        None => Some(target.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_one_of_several_forms() {
        for (body, ids) in [
            (r#"["a", 2]"#, vec!["a", "2"]),
            (r#"{"total": 1, "items": [{"id": "a"}]}"#, vec!["a"]),
            (r#"[{"id": 7}]"#, vec!["7"]),
            ("[]", vec![]),
        ] {
            assert_eq!(ids_of(body.as_bytes(), "/id"), Ok(ids.into_iter().map(str::to_owned).collect()), "{body}");
        }
        for wrong in ["", "{}", "1", r#"[{"name": "a"}]"#, r#"{"a": [], "b": []}"#] {
            assert!(ids_of(wrong.as_bytes(), "/id").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_listing_goes_on_at_its_link() {
        let next = |value: &str| next_page(&HeaderMap::from_iter([(header::LINK, value.parse().unwrap())]));
        assert_eq!(next("</a?page=2>; rel=\"next\"").as_deref(), Some("/a?page=2"));
        assert_eq!(next("</a>; rel=prev, <http://x/a?2>; rel=next").as_deref(), Some("/a?2"));
        assert_eq!(next("</a>; rel=\"last\""), None);
    }
}
