//! Owns the embedded upstreams: they answer who they are, and refuse a copy once where its client asked for that.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// The status that the first attempt to copy a write gets, so that parked and paused copies can be tried.
const REFUSE_COPY: &str = "x-demo-refuse-copy";
/// Copies that are refused, at most: somebody tries it by hand.
const REFUSED_MAX: usize = 1_000;

/// The keys of copies that were refused.
type Refused = Arc<Mutex<HashSet<String>>>;

/// Serves `system` on `address` until the runtime ends.
///
/// # Errors
/// When the address is taken.
pub(super) async fn start(system: &'static str, address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let refused = Refused::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(system, stream, Arc::clone(&refused)));
        }
    });
    Ok(())
}

async fn serve(system: &'static str, stream: TcpStream, refused: Refused) {
    let service = service_fn(move |request: Request<Incoming>| {
        let refusal = refusal(request.headers(), &refused);
        async move {
            let mut response = answer(system, request).await;
            *response.status_mut() = refusal.unwrap_or_default();
            Ok::<_, Infallible>(response)
        }
    });
    // The router ends connections as it likes.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The status of a refusal, if this is the first attempt of a copy that is to be refused.
fn refusal(headers: &HeaderMap, refused: &Refused) -> Option<StatusCode> {
    let status = headers.get("banyan-mirror").and(headers.get(REFUSE_COPY))?;
    let status = StatusCode::from_bytes(status.as_bytes()).ok()?;
    let key = headers.get("idempotency-key")?.to_str().ok()?;
    let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
    (refused.len() < REFUSED_MAX && refused.insert(key.to_owned())).then_some(status)
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
