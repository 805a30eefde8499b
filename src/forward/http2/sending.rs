//! Owns the first part of an exchange over HTTP/2: the head is translated, and the response head waited for.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::Reason;
use h2::client::ResponseFuture;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::uri::{self, Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Response, Version};
use http_body::Body as _;

use super::Shared;
use super::body::ResponseBody;
use super::upload::{Upload, UploadError};
use crate::fault::Fault;
use crate::forward::body::Interim;
use crate::forward::connection::SendError;
use crate::forward::request::UpstreamRequest;

/// Fields of one connection, which HTTP/2 does not have (RFC 9113 section 8.2.2); `te` may stay for trailers.
const CONNECTION_FIELDS: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::HOST];

/// A request that waits for its response head.
pub(in crate::forward) struct Sending(Box<Step>);

enum Step {
    Wait(Wait),
    Failed(Option<SendError>),
}

struct Wait {
    connection: Rc<Shared>,
    response: ResponseFuture,
    upload: Option<Upload>,
    interim: Interim,
    /// The request once more, if it has no body: what an upstream refuses unprocessed is sent elsewhere.
    again: Option<Box<UpstreamRequest>>,
}

impl Sending {
    /// Opens a stream; what is sent goes out when the connection's task runs.
    pub(super) fn new(connection: &Rc<Shared>, request: Box<UpstreamRequest>) -> Self {
        let interim = request.body.interim();
        let is_whole = request.body.is_end_stream();
        let mut parts = request.head.clone();
        request.added.copy_into(&mut parts.headers);
        let Some(head) = translate(parts, &connection.scheme) else {
            return Self::failed(SendError::sent(Fault::RequestMalformed));
        };
        let (response, stream) = match connection.sender.borrow_mut().send_request(head, is_whole) {
            Ok(opened) => opened,
            Err(_) => {
                // The connection has ended since it was chosen; nothing of the request went out.
                let unsent = Some(request);
                return Self::failed(SendError { fault: Fault::ConnectionTerminated, unsent });
            }
        };
        let (upload, again) = match is_whole {
            true => (None, Some(request)),
            false => (Some(Upload::new(stream, request.body)), None),
        };
        Self(Box::new(Step::Wait(Wait { connection: Rc::clone(connection), response, upload, interim, again })))
    }

    fn failed(error: SendError) -> Self {
        Self(Box::new(Step::Failed(Some(error))))
    }
}

impl Future for Sending {
    type Output = Result<Response<ResponseBody>, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self.0 {
            Step::Wait(wait) => wait.poll(cx),
            Step::Failed(error) => {
                Poll::Ready(Err(error.take().unwrap_or(SendError::sent(Fault::ConnectionTerminated))))
            }
        }
    }
}

impl Wait {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<ResponseBody>, SendError>> {
        if let Some(upload) = &mut self.upload {
            match upload.poll(cx) {
                Poll::Pending => {}
                Poll::Ready(Err(UploadError::Body)) => {
                    return Poll::Ready(Err(SendError::sent(Fault::ConnectionTerminated)));
                }
                // Why the upstream wants no more, it may have said (rule U9).
                Poll::Ready(_) => self.upload = None,
            }
        }
        while let Poll::Ready(Some(Ok(interim))) = self.response.poll_informational(cx) {
            let (parts, ()) = interim.into_parts();
            self.interim.pass(parts.status, parts.headers);
        }
        let response = match ready!(Pin::new(&mut self.response).poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(self.sort(&error))),
        };
        let task = self.upload.take().map(go_on);
        Poll::Ready(Ok(response.map(|stream| ResponseBody::new(stream, task))))
    }

    /// A stream that was refused has not been processed (RFC 9113 section 8.7); nothing else is sent again (rule U7).
    ///
    /// It is tried on another connection: the one that refused would do so again.
    fn sort(&mut self, error: &h2::Error) -> SendError {
        if error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) {
            self.connection.is_closing.set(true);
            return SendError { fault: Fault::ConnectionTerminated, unsent: self.again.take() };
        }
        SendError::sent(if error.is_library() { Fault::ResponseMalformed } else { Fault::ConnectionTerminated })
    }
}

/// Lets an upload go on in a task of its own: the client may read the answer only after it has sent all.
fn go_on(mut upload: Upload) -> tokio::task::AbortHandle {
    let task = tokio::task::spawn_local(async move {
        // How it ends shows in the response.
        let _ = poll_fn(|cx| upload.poll(cx)).await;
    });
    task.abort_handle()
}

/// Turns a head for HTTP/1.1 into one for HTTP/2: the Host becomes the authority, connection fields go.
fn translate(mut parts: Parts, scheme: &Scheme) -> Option<Request<()>> {
    let host = parts.headers.get(header::HOST)?;
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    let mut target = uri::Parts::default();
    target.scheme = Some(scheme.clone());
    target.authority = Some(authority);
    target.path_and_query = match parts.uri.into_parts().path_and_query {
        None => Some(PathAndQuery::from_static("/")),
        given => given,
    };
    remove_connection_fields(&mut parts.headers);
    parts.uri = Uri::from_parts(target).ok()?;
    parts.version = Version::HTTP_2;
    // What the server side of this router needs it for stays behind.
    parts.extensions.clear();
    Some(Request::from_parts(parts, ()))
}

fn remove_connection_fields(headers: &mut HeaderMap) {
    for name in CONNECTION_FIELDS {
        headers.remove(name);
    }
    if headers.get(header::TE).is_some_and(|value| value != "trailers") {
        headers.remove(header::TE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(request: http::request::Builder) -> Option<Request<()>> {
        translate(request.body(()).unwrap().into_parts().0, &Scheme::HTTP)
    }

    #[test]
    fn a_head_is_translated() {
        let request = Request::post("/a%2Fb?c").header("host", "x.example:81").header("connection", "te");
        let request = request.header("te", "trailers").header("transfer-encoding", "chunked").header("x-a", "1");
        let head = translated(request).unwrap();
        assert_eq!(head.uri(), "http://x.example:81/a%2Fb?c");
        let names: Vec<_> = head.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["te", "x-a"]);
    }

    #[test]
    fn without_a_host_there_is_no_authority() {
        assert!(translated(Request::get("/")).is_none());
        assert!(translated(Request::get("/").header("host", "")).is_none());
    }
}
