//! Owns one question to one endpoint, on a connection of its own; what a row of answers means is not its business.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::proxy_protocol;
use crate::tls::HandshakeError;
use crate::tls::client::{ClientTls, speaks_http2};
use crate::upstream::{Endpoint, HealthCheck, Protocol, Upstream};

/// The largest response head in bytes.
const RESPONSE_HEAD_BYTES_MAX: usize = 16 * 1024;
/// How the router names itself, so that logs of endpoints can leave checks out.
const NAME: &str = concat!("banyan-health/", env!("CARGO_PKG_VERSION"));

/// What is asked, and where and how, as requests to the same endpoint are sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    address: SocketAddr,
    /// The endpoint's own name, which its certificate must have unless `tls` says otherwise.
    name: Box<str>,
    tls: Option<Arc<ClientTls>>,
    protocol: Protocol,
    proxy_protocol: Option<proxy_protocol::Version>,
    target: PathAndQuery,
    host: HeaderValue,
}

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer in time")]
    Timeout,
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("no TLS: {0}")]
    Tls(HandshakeError),
    #[error("no valid answer: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("the status is {0}")]
    Status(StatusCode),
    /// The check itself panicked, which the panic hook has logged.
    #[error("the check failed on its own")]
    Broken,
}

impl Question {
    /// Makes the question for one address of an endpoint.
    pub(super) fn new(upstream: &Upstream, check: &HealthCheck, endpoint: &Endpoint, address: SocketAddr) -> Self {
        let own =
            || HeaderValue::from_str(&endpoint.authority).unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        let host = check.host.clone().or_else(|| upstream.rewrite.host.clone()).unwrap_or_else(own);
        Self {
            address,
            name: endpoint.host.clone(),
            tls: upstream.tls.clone(),
            protocol: upstream.protocol,
            proxy_protocol: upstream.proxy_protocol,
            target: check.target.clone(),
            host,
        }
    }

    fn http1_request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.target.clone().into();
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(NAME));
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        request
    }

    /// The same with the host where HTTP/2 has it.
    fn http2_request(&self, scheme: Scheme) -> Request<Empty<Bytes>> {
        let builder = Uri::builder().scheme(scheme).authority(self.host.as_bytes());
        let target = builder.path_and_query(self.target.clone()).build();
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = target.unwrap_or_else(|_| self.target.clone().into());
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(NAME));
        request
    }
}

/// Asks once, for at most the check's timeout.
///
/// # Errors
/// Why the check did not pass.
pub(super) async fn ask(question: &Question, check: &HealthCheck) -> Result<(), Failure> {
    let timeout = Duration::from_millis(check.timeout_ms.into());
    let status = contained(exchange(question.clone()), timeout).await?;
    if check.expect_status.contains(&status.as_u16()) { Ok(()) } else { Err(Failure::Status(status)) }
}

/// Runs a question in a task of its own, so that neither a panic nor a hang in it reaches the next check.
async fn contained<F>(exchange: F, timeout: Duration) -> Result<StatusCode, Failure>
where
    F: Future<Output = Result<StatusCode, Failure>> + Send + 'static,
{
    // Dropping the set ends the task.
    let mut asked = JoinSet::new();
    asked.spawn(exchange);
    match tokio::time::timeout(timeout, asked.join_next()).await {
        Err(_) => Err(Failure::Timeout),
        Ok(Some(Ok(answer))) => answer,
        Ok(Some(Err(_)) | None) => Err(Failure::Broken),
    }
}

/// Connects as requests to this upstream do, and asks.
async fn exchange(question: Question) -> Result<StatusCode, Failure> {
    let mut stream = TcpStream::connect(question.address).await.map_err(Failure::Connect)?;
    if let Some(version) = question.proxy_protocol {
        // The router itself is who asks.
        let own = stream.local_addr().map_err(Failure::Connect)?;
        let header = proxy_protocol::write(version, own, question.address);
        stream.write_all(&header).await.map_err(Failure::Connect)?;
    }
    let Some(tls) = &question.tls else {
        return match question.protocol {
            Protocol::Http2 => Ok(over_http2(stream, question.http2_request(Scheme::HTTP)).await?),
            Protocol::Http1 | Protocol::Either => Ok(over_http1(stream, question.http1_request()).await?),
        };
    };
    let stream = tls.connect(&question.name, stream).await.map_err(Failure::Tls)?;
    if speaks_http2(&stream) {
        return Ok(over_http2(stream, question.http2_request(Scheme::HTTPS)).await?);
    }
    Ok(over_http1(stream, question.http1_request()).await?)
}

/// Asks over HTTP/1.1; the head of the answer is enough.
async fn over_http1<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<StatusCode, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = http1::Builder::new();
    let handshake = builder.max_header_size(RESPONSE_HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    tokio::select! {
        answer = sender.send_request(request) => Ok(answer?.status()),
        never = drive(connection) => match never {},
    }
}

/// Asks over HTTP/2.
async fn over_http2<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<StatusCode, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let limit = u32::try_from(RESPONSE_HEAD_BYTES_MAX).unwrap_or(u32::MAX);
    let (mut sender, connection) = builder.max_header_list_size(limit).handshake(TokioIo::new(stream)).await?;
    tokio::select! {
        answer = sender.send_request(request) => Ok(answer?.status()),
        never = drive(connection) => match never {},
    }
}

/// Drives a connection; however it ends, the answer or its absence shows on the sender's side.
async fn drive(connection: impl Future<Output = Result<(), hyper::Error>>) -> Infallible {
    let _ = connection.await;
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(
        exchange: impl Future<Output = Result<StatusCode, Failure>> + Send + 'static,
    ) -> Result<StatusCode, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(contained(exchange, Duration::from_millis(10)))
    }

    #[test]
    fn an_answer_over_http2_is_read() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let question = Question {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            name: "a".into(),
            tls: None,
            protocol: Protocol::Http2,
            proxy_protocol: None,
            target: "/up?x=1".parse().unwrap(),
            host: HeaderValue::from_static("a.example:8080"),
        };
        let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
            assert_eq!(request.uri(), "http://a.example:8080/up?x=1");
            let mut answer = http::Response::new(Empty::<Bytes>::new());
            *answer.status_mut() = StatusCode::ACCEPTED;
            Ok::<_, Infallible>(answer)
        });
        let status = runtime.block_on(async {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(theirs), service));
            over_http2(ours, question.http2_request(Scheme::HTTP)).await
        });
        assert_eq!(status.unwrap(), StatusCode::ACCEPTED);
    }

    #[test]
    fn a_check_that_panics_or_hangs_is_contained() {
        assert!(matches!(run(async { panic!("on purpose") }), Err(Failure::Broken)));
        assert!(matches!(run(std::future::pending()), Err(Failure::Timeout)));
        assert_eq!(run(async { Ok(StatusCode::OK) }).unwrap(), StatusCode::OK);
    }
}
