//! Owns one stream: its task, from the request's head to the last byte or the reset of its answer.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{Method, Request, Response};
use hyper::body::{Body as _, Frame};

use super::connection::Shared;
use super::date;
use crate::clock::{Wait, Watch};
use crate::forward::{ClientBody, StreamBody};
use crate::proxy::answer::{Answer, AnswerError};
use crate::proxy::carrier::{Carrier, Stream};
use crate::proxy::connection::{self, Connection};
use crate::proxy::discard::discard_rest;
use crate::proxy::handler;

/// How a stream ended, if not with a whole answer.
#[derive(Clone, Copy)]
enum Cut {
    /// The client took it back before it was answered, or made us reset it.
    Unanswered,
    /// The client took it back in the middle of its answer, or the connection broke.
    Gone,
    /// A wait ran out.
    Expired(Wait),
    /// The answer broke off.
    Answer,
    /// The tunnel broke or was silent for too long.
    Tunnel,
    /// The request panicked.
    Panicked,
}

/// A stream's place among those of its connection and its worker; dropping it gives the place back.
struct Place {
    connection: Rc<Connection>,
    shared: Rc<Shared>,
    key: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.worker.watches.borrow_mut().remove(self.key);
        self.shared.open.set(self.shared.open.get() - 1);
        if self.shared.open.get() == 0 {
            self.connection.await_request();
        }
    }
}

/// Serves a stream in a task of its own.
pub(super) fn open(
    connection: &Rc<Connection>,
    shared: &Rc<Shared>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    connection.worker.metrics.http2_streams.increment();
    let watch = Arc::<Watch>::default();
    let key = connection.worker.watches.borrow_mut().insert(Arc::clone(&watch));
    shared.open.set(shared.open.get() + 1);
    let place = Place { connection: Rc::clone(connection), shared: Rc::clone(shared), key };
    let stream = Rc::new(Stream { watch, respond: respond.into() });
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = None;
    let request = request.map(|stream| match stream.is_end_stream() {
        true => ClientBody::None,
        false => ClientBody::Http2(body.insert(StreamBody::new(stream, length)).clone()),
    });
    let carrier = Carrier::stream(connection, Rc::clone(&stream));
    // Boxed, because tokio moves the future of a task half a dozen times.
    tokio::task::spawn_local(Box::pin(async move {
        // The future is made in here, so that a panic in it is this stream's own.
        let mut serving = pin!(async {
            serve(carrier, &stream, request, &place.shared).await?;
            if let Some(body) = &body {
                discard_rest(&place.connection, &stream.watch, body).await;
            }
            Ok(())
        });
        let mut known = false;
        let ended = poll_fn(|cx| {
            if !known {
                stream.watch.set_waker(cx.waker());
                known = true;
            }
            // The others end where they are waited for.
            let ends_here = |wait: &Wait| matches!(wait, Wait::Body | Wait::BodyRate | Wait::Write);
            if let Some(wait) = stream.watch.expired().filter(ends_here) {
                return Poll::Ready(Err(Cut::Expired(wait)));
            }
            catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(cx))).unwrap_or(Poll::Ready(Err(Cut::Panicked)))
        })
        .await;
        conclude(&place, &stream, ended);
    }));
}

/// Serves the request and sends its answer.
async fn serve(
    carrier: Carrier,
    stream: &Rc<Stream>,
    request: Request<ClientBody>,
    shared: &Shared,
) -> Result<(), Cut> {
    let limits = carrier.connection.worker.limits();
    let (outbox_bytes_max, write_stall_timeout_ms) = (limits.h2_outbox_bytes_max, limits.write_stall_timeout_ms);
    let is_head = request.method() == Method::HEAD;
    let mut handling = pin!(handler::handle(carrier, request));
    let answered = poll_fn(|cx| {
        if stream.respond.borrow_mut().poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Cut::Unanswered));
        }
        handling.as_mut().poll(cx).map(Ok)
    })
    .await?;
    let Ok(answer) = answered;
    let (mut head, body) = answer.into_parts();
    // Over HTTP/1.1 hyper does the same.
    head.headers.entry(DATE).or_insert_with(date::now);
    let has_body = !body.is_end_stream();
    if let (Answer::Own(_), true) = (&body, has_body) {
        head.headers.insert(CONTENT_LENGTH, body.size_hint().lower().into());
    }
    let ends = is_head || !has_body;
    let head = Response::from_parts(head, ());
    let sent = stream.respond.borrow_mut().send_response(head, ends);
    let send = sent.map_err(|_| Cut::Gone)?;
    if ends {
        return Ok(());
    }
    let (rest, watch) = (Rest::Nothing, &*stream.watch);
    let mut sending = Sending { send, body, rest, watch, shared, outbox_bytes_max, write_stall_timeout_ms };
    poll_fn(|cx| sending.poll(cx)).await
}

/// An answer's body on its way to the client.
struct Sending<'s> {
    send: SendStream<Bytes>,
    body: Answer,
    rest: Rest,
    watch: &'s Watch,
    shared: &'s Shared,
    outbox_bytes_max: u64,
    write_stall_timeout_ms: u32,
}

/// What was taken from the body and is not sent.
enum Rest {
    Nothing,
    /// Data, and whether it is the last.
    Data(Bytes, bool),
}

impl Sending<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        if self.send.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Cut::Gone));
        }
        if let Answer::Tunnel(tunnel) = &mut self.body {
            tunnel.poll_up(cx);
        }
        // While the socket takes nothing, the connection's own deadline runs.
        while self.shared.outbox.has_room(self.outbox_bytes_max, cx.waker()) {
            let ended = match std::mem::replace(&mut self.rest, Rest::Nothing) {
                Rest::Data(data, last) => match self.poll_room(data.len(), cx) {
                    Poll::Ready(Ok(room)) => self.hand_over(data, last, room),
                    Poll::Ready(Err(cut)) => Some(Err(cut)),
                    Poll::Pending => {
                        self.rest = Rest::Data(data, last);
                        return Poll::Pending;
                    }
                },
                // One part is taken from the upstream before the client has room for it, and no more (CVE-2019-9517).
                Rest::Nothing => {
                    let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
                    self.take(frame)
                }
            };
            if let Some(ended) = ended {
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    }

    /// Waits until the client takes at least a byte, for as long as it may stand still.
    fn poll_room(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<Result<usize, Cut>> {
        self.send.reserve_capacity(wanted);
        let mut room = self.send.capacity();
        if room == 0 && wanted > 0 {
            let polled = self.send.poll_capacity(cx);
            if polled.is_pending() && !self.watch.is_waiting(Wait::Write) {
                self.watch.start(Wait::Write, self.write_stall_timeout_ms);
            }
            room = match ready!(polled) {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => return Poll::Ready(Err(Cut::Gone)),
            };
        }
        if self.watch.is_waiting(Wait::Write) {
            self.watch.stop(Wait::Write);
        }
        Poll::Ready(Ok(room))
    }

    /// Takes the next part of the body; says how it ended if that was the end.
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, AnswerError>>) -> Option<Result<(), Cut>> {
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.rest = Rest::Data(data, self.body.is_end_stream());
                    None
                }
                Err(frame) => {
                    let fields = frame.into_trailers().unwrap_or_default();
                    Some(self.send.send_trailers(fields).map_err(|_| Cut::Gone))
                }
            },
            Some(Err(AnswerError::Cut(_))) => Some(Err(Cut::Answer)),
            Some(Err(AnswerError::Tunnel)) => Some(Err(Cut::Tunnel)),
            None => Some(self.send.send_data(Bytes::new(), true).map_err(|_| Cut::Gone)),
        }
    }

    /// Hands over as much as there is room for; says how it ended if that was the end.
    fn hand_over(&mut self, mut data: Bytes, last: bool, room: usize) -> Option<Result<(), Cut>> {
        let now = data.split_to(room.min(data.len()));
        let is_end = last && data.is_empty();
        self.shared.outbox.add(now.len());
        if self.send.send_data(now, is_end).is_err() {
            return Some(Err(Cut::Gone));
        }
        if !data.is_empty() {
            self.rest = Rest::Data(data, last);
        }
        is_end.then_some(Ok(()))
    }
}

/// Ends a stream that was not answered whole, and counts it.
fn conclude(place: &Place, stream: &Stream, ended: Result<(), Cut>) {
    let (connection, resets) = (&place.connection, &place.shared.resets);
    match ended {
        Ok(()) => resets.set(resets.get().saturating_sub(1)),
        Err(Cut::Unanswered) => {
            resets.set(resets.get() + 1);
            connection.worker.metrics.http2_resets.increment();
            // The connection judges whether that was one too many.
            connection.state.watch.wake();
        }
        Err(Cut::Gone) => {}
        Err(Cut::Expired(wait)) => {
            connection::account_expiry(connection, wait);
            stream.respond.borrow_mut().send_reset(Reason::CANCEL);
        }
        // What a TCP connection's reset is to a tunnel (RFC 8441 section 5).
        Err(Cut::Tunnel) => stream.respond.borrow_mut().send_reset(Reason::CANCEL),
        // A cut answer must never look complete (rule U1).
        Err(Cut::Answer) => stream.respond.borrow_mut().send_reset(Reason::INTERNAL_ERROR),
        Err(Cut::Panicked) => {
            connection.worker.metrics.panics.increment();
            stream.respond.borrow_mut().send_reset(Reason::INTERNAL_ERROR);
        }
    }
}
