//! Owns the first part of an exchange: the request goes out and the response head comes back, in the request's task.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{Method, Response};
use hyper::ext::ReasonPhrase;

use super::Inner;
use super::upload::{Upload, UploadError};
use crate::fault::Fault;
use crate::forward::body::Interim;
use crate::forward::connection::{ResponseBody, SendError};
use crate::forward::request::UpstreamRequest;
use crate::forward::wire::response::ResponseHead;

/// A request that waits for its response head.
pub(in crate::forward) struct Sending {
    connection: Rc<RefCell<Inner>>,
    step: Step,
}

enum Step {
    /// Nothing has been done yet.
    Begin(Box<UpstreamRequest>),
    /// It is out, or on its way.
    Wait(Wait),
    /// It ended before it was waited for, or has been waited for.
    Over(Option<SendError>),
}

struct Wait {
    /// What is left to send.
    upload: Option<Box<Upload>>,
    interim: Interim,
}

impl Sending {
    /// Begins when it is first polled.
    pub(super) fn later(connection: &Rc<RefCell<Inner>>, request: Box<UpstreamRequest>) -> Self {
        Self { connection: Rc::clone(connection), step: Step::Begin(request) }
    }

    /// Begins now.
    pub(super) fn at_once(
        connection: &Rc<RefCell<Inner>>,
        request: Box<UpstreamRequest>,
        cx: &mut Context<'_>,
    ) -> Self {
        let step = begin(&mut connection.borrow_mut(), request, cx);
        Self { connection: Rc::clone(connection), step }
    }
}

impl Future for Sending {
    type Output = Result<Response<ResponseBody>, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { connection, step } = &mut *self;
        if let Step::Begin(_) = step
            && let Step::Begin(request) = std::mem::replace(step, Step::Over(None))
        {
            *step = begin(&mut connection.borrow_mut(), request, cx);
        }
        let wait = match step {
            Step::Wait(wait) => wait,
            Step::Over(error) => {
                let error = error.take();
                return Poll::Ready(Err(error.unwrap_or(SendError::sent(Fault::ConnectionTerminated))));
            }
            Step::Begin(_) => return Poll::Pending,
        };
        let polled = poll_response(connection, wait, cx);
        if polled.is_ready() {
            *step = Step::Over(None);
        }
        polled
    }
}

/// Sends as much as goes out at once.
fn begin(inner: &mut Inner, request: Box<UpstreamRequest>, cx: &mut Context<'_>) -> Step {
    inner.begin(request.head.method == Method::HEAD);
    let interim = request.body.interim();
    let mut upload = Upload::new(request);
    let polled = upload.poll(&mut inner.stream, cx);
    match polled {
        Poll::Ready(Err(UploadError::Body)) => {
            return Step::Over(Some(SendError::sent(Fault::ConnectionTerminated)));
        }
        // Without anything sent, the upstream has gone; else it has stopped reading, and why it may have said (rule U9).
        Poll::Ready(Err(UploadError::Stream)) if upload.is_unsent() => {
            let unsent = Some(upload.end());
            return Step::Over(Some(SendError { fault: Fault::ConnectionTerminated, unsent }));
        }
        Poll::Ready(ref sent) => inner.is_sent = sent.is_ok(),
        Poll::Pending => {}
    }
    upload.request.lend_headers(&mut inner.headers);
    let upload = if polled.is_pending() {
        Some(Box::new(upload))
    } else {
        upload.end();
        None
    };
    Step::Wait(Wait { upload, interim })
}

fn poll_response(
    connection: &Rc<RefCell<Inner>>,
    wait: &mut Wait,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<ResponseBody>, SendError>> {
    let inner = &mut *connection.borrow_mut();
    if let Some(upload) = &mut wait.upload {
        match upload.poll(&mut inner.stream, cx) {
            Poll::Pending => {}
            Poll::Ready(Err(UploadError::Body)) => {
                return Poll::Ready(Err(SendError::sent(Fault::ConnectionTerminated)));
            }
            Poll::Ready(sent) => {
                inner.is_sent = sent.is_ok();
                if let Some(upload) = wait.upload.take() {
                    upload.end();
                }
            }
        }
    }
    let head = ready!(inner.poll_head(&wait.interim, cx)).map_err(SendError::sent)?;
    if let Some(upload) = wait.upload.take() {
        go_on(connection, inner, upload);
    }
    Poll::Ready(Ok(respond(connection, inner, head)))
}

/// Makes the response, whose body reads on from here.
fn respond(connection: &Rc<RefCell<Inner>>, inner: &mut Inner, head: ResponseHead) -> Response<ResponseBody> {
    let body = super::ResponseBody::new(connection, inner, head.framing);
    let mut response = Response::new(ResponseBody::from(body));
    *response.status_mut() = head.status;
    *response.version_mut() = head.version;
    *response.headers_mut() = head.headers;
    if let Some(reason) = head.reason.and_then(|reason| ReasonPhrase::try_from(reason).ok()) {
        response.extensions_mut().insert(reason);
    }
    response
}

/// Lets an upload go on in a task of its own.
fn go_on(connection: &Rc<RefCell<Inner>>, inner: &mut Inner, mut upload: Box<Upload>) {
    let connection = Rc::clone(connection);
    let task = tokio::task::spawn_local(async move {
        let sent = poll_fn(|cx| upload.poll(&mut connection.borrow_mut().stream, cx)).await;
        let mut inner = connection.borrow_mut();
        match sent {
            Ok(()) => inner.is_sent = true,
            // The upstream must not see a clean end, so it sees none of the response's either (rule F14).
            Err(UploadError::Body) => inner.cut(),
            // It may have good reasons to stop reading while it answers.
            Err(UploadError::Stream) => {}
        }
    });
    inner.upload = Some(task.abort_handle());
}
