//! Owns the copy of a write as the handler sees it: whether there is one, which side the write may go to, and what must be durable
//! before the primary is asked. What happens to the copy afterwards is the mirror's.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;

use super::connection::Connection;
use super::view::View;
use super::worker::Worker;
use crate::clock;
use crate::decision::{Decision, FlagOutcome};
use crate::fault::Fault;
use crate::flag::OverrideKind;
use crate::forward::RequestBody;
use crate::head::Added;
use crate::mirror::{self, Answers, CopyId, Copying, Destination, Fence, Heading, Marked, Mirror, NotKept, Subject};
use crate::snapshot::{Choice, CopyMode, CopyRules, JournalOverflow, Leg, Route, SideSwitch, TooLarge};

/// How long a write that changes sides waits for an older copy that is being sent to its new side, in milliseconds.
const FENCE_WAIT_MS_MAX: u64 = 2_000;
/// Bytes that the record of a write may take beside its body: who insists on a copy is refused before the primary is asked.
const HEAD_BYTES: u64 = 64 * 1024;
/// How often it looks, in milliseconds.
const FENCE_LOOK_MS: u32 = 25;

/// A write on a route that copies writes.
pub(super) struct Write {
    mirror: Arc<Mirror>,
    rules: Arc<CopyRules>,
    /// Routers that it passed as a copy; `None` for a copy that must not be copied again.
    hops: Option<Box<str>>,
    /// Older copies may be on their way to the side that is to serve it.
    fence: Option<Held>,
}

/// What must be done before a write may go to its new side.
struct Held {
    destination: Arc<Destination>,
    lane: u64,
    fence: Fence,
}

impl Write {
    /// Looks at a request; `None` where it is no write of a route that copies writes.
    ///
    /// The decision changes where the write must stay on its old side for now.
    #[inline]
    pub(super) fn of<'s>(
        connection: &Connection,
        view: &'s View,
        parts: &Parts,
        decision: &mut Decision<'s>,
    ) -> Option<Self> {
        let route: &'s Route = decision.route;
        let rules = route.copies.as_ref().filter(|rules| rules.is_write(&parts.method))?;
        Self::copied(connection.worker.shared.options.mirror.as_ref()?, rules, view, parts, decision)
    }

    fn copied<'s>(
        mirror: &Arc<Mirror>,
        rules: &Arc<CopyRules>,
        view: &'s View,
        parts: &Parts,
        decision: &mut Decision<'s>,
    ) -> Option<Self> {
        let hops = hops(mirror, &parts.headers);
        let mut write = Self { mirror: Arc::clone(mirror), rules: Arc::clone(rules), hops, fence: None };
        let serving = view.destination(decision.leg.upstream, mirror);
        if serving.pending() == 0 {
            return Some(write);
        }
        let entity = write.rules.entity(parts.uri.path());
        let lane = mirror::lane(entity.as_deref().unwrap_or_else(|| target(parts)));
        if !serving.may_have(lane) {
            return Some(write);
        }
        if let Some(leg) = drain_leg(decision) {
            write.mirror.counts().drained.fetch_add(1, Relaxed);
            decision.hold(leg, view.snapshot.rules.legs[leg.id.0 as usize].variant.as_deref());
            return Some(write);
        }
        // What is created has no older copies.
        write.fence = entity.map(|entity| Held {
            destination: Arc::clone(serving),
            lane,
            fence: Fence {
                destination: serving.name.clone(),
                entity: (&*entity).into(),
                epoch: write.mirror.epoch(view.snapshot.generation),
            },
        });
        Some(write)
    }

    /// Whether something must be waited for before the primary is asked.
    pub(super) fn must_wait(&self) -> bool {
        self.fence.is_some() || self.rules.mode == CopyMode::Strict
    }

    /// Begins the copy of a head that is prepared for any upstream; `None` where there is none.
    ///
    /// # Errors
    /// When the write cannot be kept for its copy and the route insists, or its body is too large for that.
    pub(super) fn begin(
        &self,
        answers: Option<&Answers>,
        view: &View,
        decision: &Decision<'_>,
        parts: &Parts,
        added: &mut Added,
        body: &RequestBody,
    ) -> Result<Option<Rc<Copying>>, Fault> {
        let (Some(to), Some(hops), Some(answers)) = (decision.leg.copy_to, &self.hops, answers) else {
            return Ok(None);
        };
        let rules = &self.rules;
        let bytes = HEAD_BYTES + body.size_hint().lower();
        if rules.overflow == JournalOverflow::FailClosed && self.mirror.journal().lacks_room_for(bytes) {
            return Err(Fault::NotKept);
        }
        let refuses = rules.too_large == TooLarge::Refuse || rules.mode == CopyMode::Strict;
        if refuses && body.size_hint().lower() > rules.body_bytes_max {
            return Err(Fault::BodyTooLarge);
        }
        let id = CopyId(fastrand::u128(..));
        let key = idempotency_key(id, rules, parts, added);
        let destination = view.destination(to, &self.mirror);
        let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let entity = rules.entity(target.path());
        let heading = Heading {
            destination: &destination.name,
            id,
            primary: &view.snapshot.upstreams[decision.leg.upstream.0 as usize].name,
            route: &decision.route.name,
            epoch: self.mirror.epoch(view.snapshot.generation),
            unix_ms: u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX),
            entity: entity.as_deref(),
            method: parts.method.as_str(),
            target: target.as_str(),
            key: &key,
            hops,
        };
        let vault = self.mirror.vault();
        let draft = heading.draft(|fields| mirror::keep(&parts.headers, added.iter(), rules, vault, fields));
        let lane = mirror::lane(entity.as_deref().unwrap_or(target.as_str()));
        let (route, method) = (decision.route.name.clone(), parts.method.clone());
        let subject = Subject { id, lane, route, method, target };
        Ok(Some(Copying::begin(&self.mirror, answers, rules, destination, subject, draft)))
    }

    /// Waits for what must be durable before the primary is asked.
    ///
    /// # Errors
    /// The fault that ends the exchange.
    pub(super) async fn wait(self, worker: &Worker, copying: Option<&Copying>) -> Result<(), Fault> {
        if let Some(held) = self.fence {
            let appended = self.mirror.append_fence(&held.fence).await;
            if let Err(error) = appended {
                tracing::error!(%error, destination = &*held.destination.name, "a change of sides could not be fenced");
                if self.rules.overflow == JournalOverflow::FailClosed {
                    return Err(Fault::NotKept);
                }
            }
            held.destination.fence(held.lane);
            let until = clock::now_ms() + FENCE_WAIT_MS_MAX;
            while held.destination.is_under_way(held.lane) && clock::now_ms() < until {
                worker.pause(FENCE_LOOK_MS).await;
            }
        }
        match copying.filter(|_| self.rules.mode == CopyMode::Strict) {
            Some(copying) => poll_fn(|cx| copying.poll_kept(cx)).await.map_err(|NotKept| Fault::NotKept),
            None => Ok(()),
        }
    }

    /// Whether the whole body is read before the primary is asked.
    pub(super) fn reads_body_first(&self) -> bool {
        self.rules.mode == CopyMode::Strict
    }
}

/// Reads a body to its end; it is as large as its route allows at most.
///
/// # Errors
/// Why it broke.
pub(super) async fn read_whole(mut body: RequestBody) -> Result<Bytes, Fault> {
    let progress = body.progress();
    let mut parts = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame {
            Ok(frame) => parts.extend(frame.into_data()),
            Err(_) => return Err(progress.broken.get().unwrap_or(Fault::RequestBodyBroken)),
        }
    }
    Ok(match parts.len() {
        0 | 1 => parts.pop().unwrap_or_default(),
        _ => parts.concat().into(),
    })
}

fn target(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |target| target.as_str())
}

/// The routers that a request passed as a copy; `None` where it must not be copied again.
fn hops(mirror: &Mirror, headers: &HeaderMap) -> Option<Box<str>> {
    match mirror.marker().read(headers) {
        Marked::Original => Some(Box::default()),
        Marked::Copy(hops) => Some(hops.into()),
        Marked::Loop => {
            mirror.counts().loops.fetch_add(1, Relaxed);
            None
        }
    }
}

/// The client's key, or one of ours that the primary gets too: it is what both sides know the write by.
fn idempotency_key<'p>(id: CopyId, rules: &CopyRules, parts: &'p Parts, added: &mut Added) -> Cow<'p, str> {
    if let Some(key) = parts.headers.get(&rules.idempotency_header).and_then(|value| value.to_str().ok()) {
        return key.into();
    }
    // A string of RFC 9651, as the draft for the header has it.
    let key = ["\"", &mirror::name_of(id), "\""].concat();
    if let Ok(value) = HeaderValue::from_str(&key) {
        added.push(rules.idempotency_header.clone(), value);
    }
    key.into()
}

/// The leg of the side that a write must stay on until older copies have arrived; `None` where it changes at once.
fn drain_leg<'s>(decision: &Decision<'s>) -> Option<&'s Leg> {
    let rules = decision.route.copies.as_ref()?;
    let FlagOutcome { variant, overridden, .. } = decision.flag.as_ref()?;
    let killed = matches!(overridden, Some(OverrideKind::Kill | OverrideKind::KillAll));
    if rules.switch != SideSwitch::Drain || variant.is_none() || killed {
        return None;
    }
    let Choice::ByFlag { legs, .. } = &decision.route.choice else { return None };
    legs.iter().flatten().find(|leg| leg.copy_to == Some(decision.leg.upstream))
}
