//! Owns one HTTP/1.1 connection to an upstream, by hyper's client; behind a trait, for another codec to take its place.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::RequestBody;
use crate::fault::Fault;

/// The largest response head in bytes; a larger one is malformed.
const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// The body of an upstream's response.
pub type ResponseBody = Incoming;

/// A failure to exchange one request on a connection.
#[derive(Debug)]
pub(super) struct SendError {
    /// What happened.
    pub fault: Fault,
    /// The request, when provably nothing of it was sent.
    pub unsent: Option<Box<Request<RequestBody>>>,
}

/// A connection that carries one exchange after another.
pub(super) trait Connection: Sized {
    /// Connects to an address; `on_close` runs when the connection is gone.
    async fn connect(address: SocketAddr, on_close: impl FnOnce() + 'static) -> io::Result<Self>;
    /// Whether it can still be used, as far as is known.
    fn is_open(&self) -> bool;
    /// Whether the last exchange is over and the next may begin.
    fn is_ready(&self) -> bool;
    /// Sends a request at once; the future waits for the response head and holds no part of the request.
    fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, SendError>> + use<Self>;
}

/// hyper's client on a TCP connection; a task of the same worker drives it.
#[derive(Debug)]
pub(super) struct HyperConnection(SendRequest<RequestBody>);

impl Connection for HyperConnection {
    async fn connect(address: SocketAddr, on_close: impl FnOnce() + 'static) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut builder = http1::Builder::new();
        let handshake = builder.max_header_size(RESPONSE_HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            // How it ended shows in the exchange that it carried; on an idle connection it concerns nobody.
            let _ = connection.with_upgrades().await;
            on_close();
        });
        Ok(Self(sender))
    }

    fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, SendError>> + use<> {
        Sending(Box::pin(self.0.try_send_request(request)))
    }
}

/// A request on its way over hyper's connection.
///
/// hyper's future may have to give the whole request back, so it is large; boxed, it is not copied from layer to layer.
struct Sending<F>(Pin<Box<F>>);

impl<F> Future for Sending<F>
where
    F: Future<Output = Result<Response<ResponseBody>, TrySendError<Request<RequestBody>>>>,
{
    type Output = Result<Response<ResponseBody>, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map_err(|mut error| {
            let unsent = error.take_message().map(Box::new);
            SendError { fault: fault_of(error.error()), unsent }
        })
    }
}

/// Sorts hyper's errors: what the upstream sent, or how its connection ended.
fn fault_of(error: &hyper::Error) -> Fault {
    if error.is_parse() { Fault::ResponseMalformed } else { Fault::ConnectionTerminated }
}
