//! An HTTP/2 origin that does what a request's path says, in the clear or over TLS.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::PATIENCE;

/// A listening origin; its thread ends with the test process.
pub(super) struct Http2Origin {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    /// The paths of all streams.
    paths: Vec<String>,
    requests: Vec<Received>,
    resets: Vec<Reason>,
}

/// A request as received, as far as it came.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) head: Parts,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Received {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Http2Origin {
    /// Listens in the clear.
    pub(super) fn plain() -> Self {
        Self::start(None)
    }

    /// Listens over TLS when there is an acceptor.
    pub(super) fn start(acceptor: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { accept(TcpListener::from_std(listener).unwrap(), acceptor, shared).await });
        });
        Self { address, seen }
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    pub(super) fn requests(&self) -> Vec<Received> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// How many streams asked for a path.
    pub(super) fn streams(&self, path: &str) -> usize {
        self.seen.lock().unwrap().paths.iter().filter(|asked| *asked == path).count()
    }

    /// Waits until so many streams have asked for a path.
    pub(super) fn wait_for_streams(&self, path: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.streams(path) < count {
            assert!(Instant::now() < deadline, "{path} is not asked for");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// How streams were reset by the router while their requests were read.
    pub(super) fn resets(&self) -> Vec<Reason> {
        self.seen.lock().unwrap().resets.clone()
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, seen: Arc<Mutex<Seen>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            match acceptor {
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, seen).await;
                    }
                }
                None => serve(stream, seen).await,
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, seen: Arc<Mutex<Seen>>) {
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.connections += 1;
        seen.connections
    };
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        if request.uri().path() == "/goodbye" {
            connection.graceful_shutdown();
        }
        tokio::spawn(answer(request, respond, number, Arc::clone(&seen)));
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
    seen: Arc<Mutex<Seen>>,
) {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    seen.lock().unwrap().paths.push(path.clone());
    let ok = || Response::new(());
    match &*path {
        "/refused" if connection == 1 => return respond.send_reset(Reason::REFUSED_STREAM),
        "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/cut" => {
            let mut stream = respond.send_response(ok(), false).unwrap();
            stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
            // A reset overtakes what is still queued; either order is a cut, this one shows more of it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        "/early" => {
            let mut stream = respond.send_response(Response::builder().status(403).body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from_static(b"no"), true).unwrap();
            return;
        }
        "/hints" => {
            let hints = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
            respond.send_informational(hints).unwrap();
        }
        _ => {}
    }
    let (body, trailers) = match read(body).await {
        Ok(read) => read,
        Err(error) => return seen.lock().unwrap().resets.extend(error.reason()),
    };
    let sum = HeaderValue::from(body.len());
    seen.lock().unwrap().requests.push(Received { head, body: body.clone(), trailers });
    if matches!(&*path, "/reset" | "/cut") {
        return;
    }
    let mut stream = respond.send_response(ok(), false).unwrap();
    send(&mut stream, body.into()).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", sum);
    stream.send_trailers(trailers).unwrap();
}

async fn read(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).unwrap();
        whole.extend_from_slice(&data);
    }
    Ok((whole, body.trailers().await?))
}

async fn send(stream: &mut h2::SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        stream.send_data(data.split_to(room.min(data.len())), false).unwrap();
    }
}
