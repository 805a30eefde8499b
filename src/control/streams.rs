//! Owns server-sent events: the body, how many there are, how long they last. It never decides what is told.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame};
use tokio::sync::{Semaphore, mpsc};

use super::answer::Answer;
use crate::lifecycle::{Lifecycle, Phase};

/// Streams at the same time: half of the listener's connections, so that a kill always finds one.
const STREAMS_MAX: usize = 32;
/// After this a stream ends; who listens comes again, and says what it heard last.
pub(super) const STREAM_AGE_MAX: Duration = Duration::from_secs(600);
/// The longest silence: proxies on the way close what says nothing for a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long listeners wait before they come again, in milliseconds; spread, as a restart loses all at once.
const RETRY_MS: std::ops::Range<u32> = 1_000..5_000;

/// Opens streams of server-sent events; clones share how many there may be.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    slots: Arc<Semaphore>,
    lifecycle: Lifecycle,
}

/// The writing end of a stream.
#[derive(Debug)]
pub(super) struct Feed(mpsc::Sender<Bytes>);

/// Says that nobody listens any more.
#[derive(Debug)]
pub(super) struct Gone;

impl Streams {
    pub(super) fn new(lifecycle: Lifecycle) -> Self {
        Self { slots: Arc::new(Semaphore::new(STREAMS_MAX)), lifecycle }
    }

    /// Opens a stream that `tell` writes; `None` when there are [`STREAMS_MAX`] already.
    ///
    /// It ends when `tell` does, when nobody listens, at [`STREAM_AGE_MAX`], or when the process drains: another one
    /// may serve by then, and what this one knows grows old.
    pub(super) fn open<F>(&self, tell: impl FnOnce(Feed) -> F) -> Option<Answer>
    where
        F: Future<Output = Result<(), Gone>> + Send + 'static,
    {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        // One piece under way: a slow listener delays the next event and keeps nothing in memory.
        let (sender, receiver) = mpsc::channel(1);
        let (beating, told) = (beat(Feed(sender.clone())), tell(Feed(sender.clone())));
        let mut phases = self.lifecycle.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                _ = phases.wait_for(|phase| *phase > Phase::Running) => {}
                () = tokio::time::sleep(STREAM_AGE_MAX) => {}
                _ = beating => {}
                _ = told => {}
            }
            drop(slot);
        });
        let mut answer = Answer::new(UnsyncBoxBody::new(Events(receiver)));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Some(answer)
    }
}

/// Whether an answer is a stream, whose connection lives longer than others.
pub(super) fn is_stream(answer: &Answer) -> bool {
    answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream")
}

async fn beat(feed: Feed) -> Result<(), Gone> {
    feed.write(format!("retry: {}\n\n", fastrand::u32(RETRY_MS))).await?;
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        feed.write(": \n\n").await?;
    }
}

impl Feed {
    /// Writes one event; no part may contain the end of a line.
    pub(super) async fn event(&self, id: &str, kind: &str, data: &serde_json::Value) -> Result<(), Gone> {
        self.write(format!("id: {id}\nevent: {kind}\ndata: {data}\n\n")).await
    }

    async fn write(&self, text: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(text.into()).await.map_err(|_| Gone)
    }
}

struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
