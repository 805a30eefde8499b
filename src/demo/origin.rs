//! Owns the embedded upstreams: they answer who they are, and nothing else.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Serves `system` on `address` until the runtime ends.
///
/// # Errors
/// When the address is taken.
pub(super) async fn start(system: &'static str, address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(system, stream));
        }
    });
    Ok(())
}

async fn serve(system: &'static str, stream: TcpStream) {
    let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(system, request).await) });
    // The router ends connections as it likes.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(system: &'static str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let sent = body.collect().await.map(|whole| whole.to_bytes().len()).unwrap_or_default();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let text = serde_json::json!({
        "served_by": system,
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "user": header("x-user-id"),
        "decision": header("banyan-decision"),
        "body_bytes": sent,
    });
    let mut response = Response::new(Full::from(format!("{text}\n")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert("x-served-by", HeaderValue::from_static(system));
    response
}
