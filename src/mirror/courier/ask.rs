//! Owns one exchange with an upstream on behalf of a copy: a whole request goes out, an answer comes back as far as it is wanted.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri};
use http_body::Body as _;
use slab::Slab;

use super::verdict::Came;
use crate::clock::{Wait, Watch};
use crate::fault::{Fault, Side};
use crate::forward::{ClientBody, Exchanged, Pool, RequestBody, ResponseBody, UpstreamRequest};
use crate::head::{Added, Upgrade, response};
use crate::limits::Limits;

/// The address that a PROXY header names: a copy has no client any more.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A request as it is sent.
#[derive(Debug)]
pub(super) struct Question {
    pub method: Method,
    pub target: PathAndQuery,
    /// The host, what frames the body, and what the destination wants set.
    pub headers: HeaderMap,
    /// All others.
    pub fields: Added,
    pub body: Bytes,
    /// So much of the answer's body is kept, in bytes.
    pub answer_bytes_max: usize,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub came: Came,
    pub headers: HeaderMap,
    /// The answer's body as far as it was kept.
    pub body: Bytes,
    /// Whether that is all of it.
    pub is_whole: bool,
}

impl Reply {
    fn fault(fault: Fault) -> Self {
        Self { came: Came::Fault(fault), headers: HeaderMap::new(), body: Bytes::new(), is_whole: false }
    }
}

/// Asks upstreams; the deadlines of all exchanges hang on it.
#[derive(Debug, Default)]
pub(super) struct Asker {
    limits: Limits,
    watches: RefCell<Slab<Arc<Watch>>>,
}

/// An exchange's deadlines, for as long as it lasts.
struct Watched<'a> {
    asker: &'a Asker,
    key: usize,
    watch: Arc<Watch>,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.asker.watches.borrow_mut().remove(self.key);
    }
}

impl Asker {
    /// Looks for deadlines that have passed; the tick calls it.
    pub(super) fn sweep(&self, now_ms: u64) {
        for (_, watch) in &*self.watches.borrow() {
            watch.sweep(now_ms);
        }
    }

    /// Sends a request and waits for its answer, within the upstream's own times.
    pub(super) async fn ask(&self, pool: &Rc<Pool>, question: Question) -> Reply {
        let watch: Arc<Watch> = Arc::default();
        let key = self.watches.borrow_mut().insert(Arc::clone(&watch));
        let watched = Watched { asker: self, key, watch };
        let mut asking = pin!(self.exchange(pool, question, &watched.watch));
        poll_fn(|cx| {
            watched.watch.set_waker(cx.waker());
            asking.as_mut().poll(cx)
        })
        .await
    }

    async fn exchange(&self, pool: &Rc<Pool>, question: Question, watch: &Arc<Watch>) -> Reply {
        let Question { method, target, headers, fields, body, answer_bytes_max } = question;
        let mut request = Request::new(());
        *request.method_mut() = method.clone();
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = headers;
        let (head, ()) = request.into_parts();
        let body = if body.is_empty() { ClientBody::None } else { ClientBody::Whole(body) };
        let body = RequestBody::new(body, Arc::clone(watch), &self.limits, None);
        let progress = body.progress();
        let request = Box::new(UpstreamRequest { head, added: fields, body });
        let upstream = Arc::clone(pool.upstream());
        let Exchanged { response, mut lease } =
            match pool.exchange(request, watch, upstream.timeouts.response_ms, NOBODY).await {
                Ok(exchanged) => exchanged,
                Err(error) => {
                    if error.fault.side() == Side::Upstream {
                        pool.blame(&error);
                    }
                    return Reply::fault(error.fault);
                }
            };
        progress.answered.set(true);
        let (parts, mut body) = response.into_parts();
        if let Err(fault) = response::admit(&parts, &method, Upgrade::None) {
            lease.failed(&upstream);
            return Reply::fault(fault);
        }
        if upstream.ejection.on_5xx && parts.status.is_server_error() {
            lease.answered_badly(&upstream);
        }
        let came = Came::Status(parts.status.as_u16());
        let (kept, is_whole) = match read(&mut body, watch, upstream.timeouts.body_idle_ms, answer_bytes_max).await {
            Ok(read) => read,
            // What the status says counts all the same, unless the body was asked for.
            Err(_) => (Bytes::new(), false),
        };
        if is_whole {
            lease.give_back();
        }
        Reply { came, headers: parts.headers, body: kept, is_whole }
    }
}

/// Reads a body as far as it is wanted; says whether it was read to its end.
async fn read(body: &mut ResponseBody, watch: &Watch, idle_ms: u32, bytes_max: usize) -> Result<(Bytes, bool), Fault> {
    let mut kept = Vec::new();
    while !body.is_end_stream() {
        watch.start(Wait::Upstream, idle_ms);
        let frame = poll_fn(|cx| {
            if watch.take_expiry(Wait::Upstream) {
                return Poll::Ready(Err(Fault::ResponseStalled));
            }
            Poll::Ready(match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => Ok(Some(frame)),
                Some(Err(_)) => Err(Fault::ResponseIncomplete),
                None => Ok(None),
            })
        })
        .await;
        watch.stop(Wait::Upstream);
        let Some(frame) = frame? else { break };
        let Ok(data) = frame.into_data() else { break };
        if kept.len() + data.len() > bytes_max {
            kept.extend_from_slice(&data[..bytes_max - kept.len()]);
            return Ok((kept.into(), false));
        }
        kept.extend_from_slice(&data);
    }
    Ok((kept.into(), true))
}
