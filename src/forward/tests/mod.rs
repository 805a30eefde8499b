//! Holds our upstream connection against hyper's client and server, on the same bytes.

mod oracle;
mod requests;
mod script;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

use super::body::RequestBody;
use super::client_body::ClientBody;
use super::endpoint::OpenConnection;
use super::http1::Http1;
use super::request::UpstreamRequest;
use super::stream::Stream;
use crate::clock::Watch;
use crate::head::Added;
use crate::limits::Limits;
use crate::observe::Metrics;
use script::Script;

/// Runs a test on a loop like a worker's.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(test)
}

/// Reads a request off its bytes as the client side does, with hyper's server.
///
/// The server goes on in a task of its own and feeds the body; it ends when the request is dropped and the bytes are used.
async fn received(raw: &[u8]) -> Request<Incoming> {
    let (mut client, stream) = tokio::io::duplex(raw.len() + 4_096);
    client.write_all(raw).await.unwrap();
    let (give, take) = oneshot::channel();
    let give = RefCell::new(Some(give));
    let service = service_fn(move |request| {
        if let Some(give) = give.take() {
            let _ = give.send(request);
        }
        // No answer: the test is not about it.
        std::future::pending::<Result<Response<String>, std::convert::Infallible>>()
    });
    tokio::task::spawn_local(async move {
        let mut server = hyper::server::conn::http1::Builder::new();
        let _ = server.half_close(true).serve_connection(TokioIo::new(stream), service).await;
        drop(client);
    });
    take.await.expect("hyper reads the request")
}

/// The same with our request body around it.
async fn forwarded(raw: &[u8]) -> Box<UpstreamRequest> {
    let wrap = |body| RequestBody::new(ClientBody::Http1(body), Arc::new(Watch::default()), &Limits::default(), None);
    let (head, body) = received(raw).await.into_parts();
    Box::new(UpstreamRequest { head, added: Added::default(), body: wrap(body) })
}

/// Our connection over a script.
fn connection(script: Script) -> Http1 {
    let metrics = Metrics::new().worker().upstream("test");
    Http1::new(Stream::Layered(Box::new(script)), false, OpenConnection::new(&Rc::default(), &metrics))
}

/// A body as read to its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Whether it came to its end.
    complete: bool,
}

async fn read(mut body: impl Body<Data = Bytes> + Unpin) -> Read {
    let mut read = Read::default();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return read };
        match frame.into_data() {
            Ok(data) => read.data.extend_from_slice(&data),
            Err(frame) => read.trailers = frame.into_trailers().ok(),
        }
    }
    read.complete = true;
    read
}
