//! Owns the first part of an exchange: the request goes out and the response head comes back, in the request's task.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::header::HeaderMap;
use http::{Method, Request, Response};
use hyper::ext::ReasonPhrase;

use super::Inner;
use super::body::ResponseBody;
use super::upload::{Upload, UploadError};
use crate::fault::Fault;
use crate::forward::body::{Interim, RequestBody};
use crate::forward::connection::SendError;
use crate::forward::wire::response::ResponseHead;

/// A request that waits for its response head.
pub(in crate::forward) struct Sending {
    connection: Rc<RefCell<Inner>>,
    step: Step,
}

enum Step {
    /// Nothing has been done yet.
    Begin(Box<Request<RequestBody>>),
    /// It is out, or on its way.
    Wait(Wait),
    /// It ended before it was waited for, or has been waited for.
    Over(Option<SendError>),
}

struct Wait {
    /// The request's own map, to be used again for the response.
    headers: HeaderMap,
    /// What is left to send.
    upload: Option<Box<Upload>>,
    interim: Interim,
}

impl Sending {
    /// Begins when it is first polled.
    pub(super) fn later(connection: &Rc<RefCell<Inner>>, request: Request<RequestBody>) -> Self {
        Self { connection: Rc::clone(connection), step: Step::Begin(Box::new(request)) }
    }

    /// Begins now.
    pub(super) fn at_once(
        connection: &Rc<RefCell<Inner>>,
        request: Request<RequestBody>,
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
            *step = begin(&mut connection.borrow_mut(), *request, cx);
        }
        let wait = match step {
            Step::Wait(wait) => wait,
            Step::Over(error) => {
                let error = error.take();
                return Poll::Ready(Err(error.unwrap_or(SendError::sent(Fault::ConnectionTerminated))));
            }
            Step::Begin(_) => return Poll::Pending,
        };
        let polled = ready!(poll_response(connection, wait, cx));
        *step = Step::Over(None);
        Poll::Ready(polled.map_err(SendError::sent))
    }
}

/// Sends as much as goes out at once.
fn begin(inner: &mut Inner, request: Request<RequestBody>, cx: &mut Context<'_>) -> Step {
    let (parts, body) = request.into_parts();
    inner.begin(parts.method == Method::HEAD);
    let interim = body.interim();
    let mut upload = Upload::new(&parts, body);
    let upload = match upload.poll(&mut inner.stream, cx) {
        Poll::Pending => Some(Box::new(upload)),
        Poll::Ready(Ok(())) => {
            upload.end();
            inner.is_sent = true;
            None
        }
        Poll::Ready(Err(UploadError::Body)) => {
            return Step::Over(Some(SendError::sent(Fault::ConnectionTerminated)));
        }
        Poll::Ready(Err(UploadError::Stream)) => match upload.into_unsent() {
            Some(body) => {
                let unsent = Some(Box::new(Request::from_parts(parts, body)));
                return Step::Over(Some(SendError { fault: Fault::ConnectionTerminated, unsent }));
            }
            // The upstream has stopped reading; why, it may have said (rule U9).
            None => None,
        },
    };
    let mut headers = parts.headers;
    headers.clear();
    Step::Wait(Wait { headers, upload, interim })
}

fn poll_response(
    connection: &Rc<RefCell<Inner>>,
    wait: &mut Wait,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<ResponseBody>, Fault>> {
    let inner = &mut *connection.borrow_mut();
    if let Some(upload) = &mut wait.upload {
        match upload.poll(&mut inner.stream, cx) {
            Poll::Pending => {}
            Poll::Ready(Err(UploadError::Body)) => return Poll::Ready(Err(Fault::ConnectionTerminated)),
            Poll::Ready(sent) => {
                inner.is_sent = sent.is_ok();
                if let Some(upload) = wait.upload.take() {
                    upload.end();
                }
            }
        }
    }
    let head = ready!(inner.poll_head(&mut wait.headers, &wait.interim, cx))?;
    if let Some(upload) = wait.upload.take() {
        go_on(connection, inner, upload);
    }
    Poll::Ready(Ok(respond(connection, inner, head)))
}

/// Makes the response, whose body reads on from here.
fn respond(connection: &Rc<RefCell<Inner>>, inner: &mut Inner, head: ResponseHead) -> Response<ResponseBody> {
    let body = ResponseBody::new(connection, inner, head.framing);
    let mut response = Response::new(body);
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
