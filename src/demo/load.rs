//! Owns the demo's clients: many users, a few connections, one request at a time on each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use super::tally::{Answer, Tally, USERS};
use crate::lifecycle::{Lifecycle, Phase};

/// How many connections there are.
const CONNECTIONS: usize = 16;
/// How often each of them asks: 800 requests a second in all, a few percent of one core.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is asked for, and how often in [`WEIGHTS`] requests.
const PAGES: [(&str, usize); 3] = [("/api/orders/", 5), ("/search?q=", 4), ("/account/", 1)];
const WEIGHTS: usize = 10;

/// Asks until the router drains.
pub(super) fn start(router: SocketAddr, tally: &Arc<Tally>, lifecycle: &Lifecycle) {
    for number in 0..CONNECTIONS {
        let client = Client { router, number, turns: number, asked: [0; PAGES.len()], connection: None };
        tokio::spawn(client.run(Arc::clone(tally), lifecycle.clone()));
    }
}

struct Client {
    router: SocketAddr,
    number: usize,
    /// Counts the requests; clients begin at different pages.
    turns: usize,
    /// Counts the requests for each page.
    asked: [usize; PAGES.len()],
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    async fn run(mut self, tally: Arc<Tally>, lifecycle: Lifecycle) {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            if lifecycle.phase() != Phase::Running {
                return;
            }
            let (user, request) = self.next();
            let asked = Instant::now();
            let answer = match tokio::time::timeout(PATIENCE, self.ask(request)).await {
                Ok(Ok((headers, status))) => Answer::read(&headers, status),
                // An error of the connection, or no answer in time: begin anew.
                _ => {
                    self.connection = None;
                    None
                }
            };
            tally.count(user, answer, asked.elapsed());
        }
    }

    /// The next request: pages in turn, and for each page all users in turn, shared out over the clients.
    fn next(&mut self) -> (usize, Request<Full<Bytes>>) {
        let slot = self.turns % WEIGHTS;
        self.turns += 1;
        let page = PAGES
            .iter()
            .scan(0, |end, (_, weight)| {
                *end += weight;
                Some(*end)
            })
            .position(|end| slot < end);
        let page = page.unwrap_or_default();
        let user = (self.asked[page] * CONNECTIONS + self.number) % USERS;
        self.asked[page] += 1;
        let path = PAGES[page].0;
        // Some write, so that a stage's way with writes is at work too.
        let mut request = Request::new(Full::default());
        *request.method_mut() =
            if user.is_multiple_of(10) && path.starts_with("/api") { Method::POST } else { Method::GET };
        *request.uri_mut() = format!("{path}{user}").parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.extend(
            [
                (http::header::HOST, self.router.to_string().parse()),
                (http::HeaderName::from_static("x-user-id"), format!("user-{user}").parse()),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.ok()?))),
        );
        (user, request)
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> io::Result<(HeaderMap, u16)> {
        let connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => connect(self.router).await?,
        };
        let connection = self.connection.insert(connection);
        connection.ready().await.map_err(io::Error::other)?;
        let response = connection.send_request(request).await.map_err(io::Error::other)?;
        let (parts, body) = response.into_parts();
        body.collect().await.map_err(io::Error::other)?;
        Ok((parts.headers, parts.status.as_u16()))
    }
}

async fn connect(router: SocketAddr) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(router).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}
