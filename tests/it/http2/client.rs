//! A well-behaved HTTP/2 client, the h2 crate's own, for what is easier to say with it.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request, Response, response};

use crate::support::{PATIENCE, Router};

/// An answer, read whole.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    pub(super) body: String,
    pub(super) trailers: Option<HeaderMap>,
    /// Heads that came before, in order.
    pub(super) interim: Vec<Response<()>>,
}

/// Gets a path on a connection of its own.
pub(super) fn get(router: &Router, path: &str) -> Answer {
    let uri = format!("http://a.example{path}");
    exchange(router, Request::get(uri).body(()).unwrap(), &[], None)
}

/// Sends a request with a body in parts, and trailers, and reads the answer.
pub(super) fn exchange(router: &Router, request: Request<()>, parts: &[&[u8]], trailers: Option<HeaderMap>) -> Answer {
    run(router, async |mut sender| {
        let ends = parts.is_empty() && trailers.is_none();
        let (mut response, mut body) = sender.send_request(request, ends).unwrap();
        let last = parts.len().wrapping_sub(1);
        for (at, part) in parts.iter().enumerate() {
            body.send_data(Bytes::copy_from_slice(part), at == last && trailers.is_none()).unwrap();
        }
        if let Some(trailers) = trailers {
            body.send_trailers(trailers).unwrap();
        }
        let mut interim = Vec::new();
        while let Some(head) = poll_fn(|cx| response.poll_informational(cx)).await {
            interim.push(head.unwrap());
        }
        read(response.await.unwrap(), interim).await
    })
}

async fn read(response: Response<h2::RecvStream>, interim: Vec<Response<()>>) -> Answer {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await.unwrap();
    Answer { head, body: String::from_utf8(body).unwrap(), trailers, interim }
}

/// Runs a test on a connection of its own.
pub(super) fn run<T>(router: &Router, test: impl AsyncFnOnce(SendRequest<Bytes>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(router.listen).await.unwrap();
        let (sender, connection) = client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let sender = sender.ready().await.unwrap();
        tokio::time::timeout(PATIENCE, test(sender)).await.expect("an answer within the deadline")
    })
}
