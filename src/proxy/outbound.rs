//! Owns a request that is ready to be sent, and what a write waits for before it is.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use http::Response;
use http::request::Parts;

use super::answer::Answer;
use super::carrier::Carrier;
use super::copied::Copied;
use super::copying::{Write, read_whole};
use super::exchange::Exchange;
use super::outgoing::Sent;
use super::underway::{Forward, Refused};
use crate::fault::Fault;
use crate::forward::{ClientBody, Pool, RequestBody, UpstreamRequest};
use crate::head::answer::Afterwards;
use crate::head::{Added, Upgrade};
use crate::mirror::Copying;

/// A request that is ready to be sent.
pub(super) struct Outbound {
    pub exchange: Box<Exchange>,
    pub upstream: Rc<Pool>,
    pub head: Parts,
    pub added: Added,
    pub sent: Sent,
    pub body: RequestBody,
    pub takes_interim: bool,
    pub copying: Option<Rc<Copying>>,
}

/// Serves a write that waits before it is sent.
pub(super) async fn serve_held(
    carrier: Carrier,
    write: Write,
    outbound: Outbound,
    bytes_max: Option<u64>,
) -> Result<Response<Answer>, Refused> {
    let mut forward = hold(&carrier, write, outbound, bytes_max).await?;
    poll_fn(|cx| forward.poll(&carrier, cx)).await
}

/// Sends a write once what must be durable before it is.
async fn hold(
    carrier: &Carrier,
    write: Write,
    mut outbound: Outbound,
    bytes_max: Option<u64>,
) -> Result<Forward, Refused> {
    let worker = Rc::clone(&carrier.connection.worker);
    let limits = &worker.shared.options.limits;
    if write.reads_body_first() && outbound.copying.is_some() {
        let nothing = RequestBody::new(ClientBody::None, Arc::clone(carrier.watch()), limits, None);
        let body = std::mem::replace(&mut outbound.body, nothing);
        outbound.exchange.uploading(body.progress());
        match read_whole(body).await {
            Ok(whole) => {
                let whole = ClientBody::Whole(whole);
                outbound.body = RequestBody::new(whole, Arc::clone(carrier.watch()), limits, bytes_max);
            }
            Err(fault) => return Err(outbound.refused(fault)),
        }
    }
    match write.wait(&worker, outbound.copying.as_deref()).await {
        Ok(()) => Ok(outbound.send(carrier)),
        Err(fault) => Err(outbound.refused(fault)),
    }
}

impl Outbound {
    /// Sends it.
    #[inline(always)]
    pub(super) fn send(self, carrier: &Carrier) -> Forward {
        let Self { mut exchange, upstream, head, added, sent, body, takes_interim, copying } = self;
        let progress = body.progress();
        exchange.uploading(Rc::clone(&progress));
        let response_ms = if sent.asked == Upgrade::None { upstream.upstream().timeouts.response_ms } else { 0 };
        let request = Box::new(UpstreamRequest { head, added, body });
        let exchanging = upstream.exchange(request, exchange.watch(), response_ms, carrier.connection.address);
        let copying = copying.map(Copied::new);
        Forward { exchanging, exchange: Some(exchange), upstream, progress, takes_interim, sent, copying, held: None }
    }

    /// Ends it before it was sent.
    fn refused(self, fault: Fault) -> Refused {
        if let Some(copying) = &self.copying {
            copying.failed(Fault::NotKept);
        }
        Refused { exchange: self.exchange, fault, afterwards: Afterwards::Close }
    }
}
