//! Owns what carries one exchange, a whole HTTP/1.1 connection or one stream of an HTTP/2 one, and how the two differ.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode, request, response};

use super::connection::Connection;
use crate::clock::Watch;
use crate::fault::Fault;
use crate::forward::BodyProgress;
use crate::head::{self, Admitted, http2};

/// What a request came on and its answer goes back on.
#[derive(Clone)]
pub(super) struct Carrier {
    pub connection: Rc<Connection>,
    /// The stream, on HTTP/2.
    stream: Option<Rc<Stream>>,
}

/// One stream of an HTTP/2 connection.
pub(super) struct Stream {
    /// Its deadlines.
    pub watch: Arc<Watch>,
    /// Its way back to the client.
    pub respond: RefCell<SendResponse<Bytes>>,
}

impl Carrier {
    /// A connection that carries one exchange at a time.
    pub(super) fn connection(connection: &Rc<Connection>) -> Self {
        Self { connection: Rc::clone(connection), stream: None }
    }

    /// A stream of a connection.
    pub(super) fn stream(connection: &Rc<Connection>, stream: Rc<Stream>) -> Self {
        Self { connection: Rc::clone(connection), stream: Some(stream) }
    }

    /// The deadlines of the exchange.
    pub(super) fn watch(&self) -> &Arc<Watch> {
        match &self.stream {
            None => &self.connection.state.watch,
            Some(stream) => &stream.watch,
        }
    }

    /// Whether other exchanges go on beside this one, so that it can be broken off alone.
    pub(super) fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Judges the head of a request, after which nothing follows if it `ends`.
    ///
    /// # Errors
    /// As those of [`head::request::admit`].
    pub(super) fn admit<'r>(&self, parts: &'r request::Parts, ends: bool) -> Result<Admitted<'r>, Fault> {
        let options = &self.connection.worker.shared.options;
        if self.stream.is_none() {
            return head::request::admit(parts, &options.limits, &options.policy);
        }
        let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
        http2::admit(parts, http2::Stream { ends, protocol }, &options.limits, &options.policy)
    }

    /// Rewrites the head of an answer for the client's protocol.
    pub(super) fn prepare(&self, head: &mut response::Parts) {
        if self.stream.is_some() {
            http2::prepare_response(head);
        }
    }

    /// A whole request head is there.
    pub(super) fn begin(&self) {
        self.connection.requests.set(self.connection.requests.get() + 1);
        if self.stream.is_none() {
            self.connection.state.begin_exchange();
        }
    }

    /// The answer has been handed over whole.
    pub(super) fn end(&self) {
        if self.stream.is_none() {
            self.connection.end_exchange();
        }
    }

    /// Tells the client to send the body that it holds back; on HTTP/1.1 that happens when the body is first read.
    pub(super) fn ask_for_body(&self) {
        if let Some(stream) = &self.stream {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::CONTINUE;
            stream.send_interim(response);
        }
    }

    /// Passes interim heads on to a client that `takes` them (rule P11).
    pub(super) fn pass_interim(&self, progress: &BodyProgress, takes: bool) {
        while let Some((status, mut headers)) = progress.take_interim() {
            head::response::prepare_interim(&mut headers);
            match &self.stream {
                _ if !takes => {}
                None => self.connection.state.interim.push(status, &headers),
                Some(stream) => {
                    let mut response = Response::new(());
                    (*response.status_mut(), *response.headers_mut()) = (status, headers);
                    stream.send_interim(response);
                }
            }
        }
    }

    /// Whether an interim head is still to be written, so that the final one must wait.
    pub(super) fn is_passing_interim(&self) -> bool {
        self.stream.is_none() && self.connection.state.interim.is_waiting()
    }

    /// Says in the answer's head that it is the connection's last, if it is.
    pub(super) fn mark_last<B>(&self, response: &mut Response<B>) {
        // On HTTP/2 the connection says so itself, by GOAWAY.
        let may_say = self.stream.is_none() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        if may_say && self.connection.is_last_request() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl Stream {
    /// Sends a head before the final one.
    fn send_interim(&self, head: Response<()>) {
        // The stream may have been reset; its task is about to find out.
        let _ = self.respond.borrow_mut().send_informational(head);
    }
}
