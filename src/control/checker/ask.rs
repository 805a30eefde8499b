//! Owns one question to one endpoint, on a connection of its own; what a row of answers means is not its business.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::upstream::{HealthCheck, Upstream};

/// The largest response head in bytes.
const RESPONSE_HEAD_BYTES_MAX: usize = 16 * 1024;
/// How the router names itself, so that logs of endpoints can leave checks out.
const NAME: &str = concat!("banyan-health/", env!("CARGO_PKG_VERSION"));

/// What is asked, and where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    address: SocketAddr,
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
    #[error("no valid answer: {0}")]
    Exchange(hyper::Error),
    #[error("the status is {0}")]
    Status(StatusCode),
    /// The check itself panicked, which the panic hook has logged.
    #[error("the check failed on its own")]
    Broken,
}

impl Question {
    /// Makes the question for one address; its name is `authority`.
    pub(super) fn new(upstream: &Upstream, check: &HealthCheck, address: SocketAddr, authority: &str) -> Self {
        let own = || HeaderValue::from_str(authority).unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        let host = check.host.clone().or_else(|| upstream.rewrite.host.clone()).unwrap_or_else(own);
        Self { address, target: check.target.clone(), host }
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.target.clone().into();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(NAME));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        request
    }
}

/// Asks once, for at most the check's timeout.
///
/// # Errors
/// Why the check did not pass.
pub(super) async fn ask(question: &Question, check: &HealthCheck) -> Result<(), Failure> {
    // A task of its own, so that a panic ends there; dropping the set ends the task.
    let mut asked = JoinSet::new();
    asked.spawn(exchange(question.clone()));
    let timeout = Duration::from_millis(check.timeout_ms.into());
    let status = match tokio::time::timeout(timeout, asked.join_next()).await {
        Err(_) => return Err(Failure::Timeout),
        Ok(Some(Ok(status))) => status?,
        Ok(Some(Err(_)) | None) => return Err(Failure::Broken),
    };
    if check.expect_status.contains(&status.as_u16()) { Ok(()) } else { Err(Failure::Status(status)) }
}

/// Connects as requests to this upstream do, and asks.
async fn exchange(question: Question) -> Result<StatusCode, Failure> {
    let stream = TcpStream::connect(question.address).await.map_err(Failure::Connect)?;
    over_http1(stream, question.request()).await.map_err(Failure::Exchange)
}

/// Asks over HTTP/1.1; the head of the answer is enough.
async fn over_http1<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<StatusCode, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = http1::Builder::new();
    let handshake = builder.max_header_size(RESPONSE_HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    let driven = async {
        // However it ends, the answer or its absence shows on the sender's side.
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = sender.send_request(request) => Ok(answer?.status()),
        never = driven => match never {},
    }
}
