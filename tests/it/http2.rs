//! HTTP/2 towards clients through the real router: heads, streams, limits, floods, draining.

mod client;
mod floods;
mod grpc;
mod heads;
mod limits;
mod streams;
mod websocket;

use crate::support::frames::{self, END_STREAM};
use crate::support::{Frames, Message, Origin, Router};

/// A router before an origin that answers everything with 200, and a client of the router.
struct Pair {
    router: Router,
    origin: Origin,
    client: Frames,
    /// The last stream used.
    stream: u32,
}

impl Pair {
    fn start() -> Self {
        Self::with(Origin::ok())
    }

    fn with(origin: Origin) -> Self {
        let router = Router::to(origin.address);
        Self::between(router, origin)
    }

    /// The router's upstream listens nowhere.
    fn with_refusing_origin() -> Self {
        Self::between(Router::to(Origin::refusing()), Origin::ok())
    }

    fn between(router: Router, origin: Origin) -> Self {
        let client = Frames::connect(router.listen);
        Self { router, origin, client, stream: 0 }
    }

    fn next_stream(&mut self) -> u32 {
        self.stream = if self.stream == 0 { 1 } else { self.stream + 2 };
        self.stream
    }

    /// Sends a request without a body and returns what the origin received for it.
    fn forwards(&mut self, fields: &[(&str, &str)]) -> Message {
        let (stream, before) = (self.next_stream(), self.origin.requests().len());
        self.client.head(stream, fields, END_STREAM);
        let answer = self.client.answer(stream);
        assert_eq!(answer.status, 200, "{fields:?}: {}", answer.text());
        self.origin.wait_for_requests(before + 1);
        self.origin.requests().remove(before)
    }

    /// Sends a request that must be answered with this status by the router, and the connection must go on.
    fn refuses(&mut self, status: u16, fields: &[(&str, &str)]) {
        let (stream, before) = (self.next_stream(), self.origin.requests().len());
        self.client.head(stream, fields, END_STREAM);
        let answer = self.client.answer(stream);
        assert_eq!((answer.status, answer.reset), (status, None), "{fields:?}: {}", answer.text());
        assert_eq!(self.origin.requests().len(), before, "{fields:?} reached the origin");
    }

    /// Sends a malformed request: its stream must be reset, and the connection must go on.
    fn resets(&mut self, fields: &[(&str, &str)]) {
        let (stream, before) = (self.next_stream(), self.origin.requests().len());
        self.client.head(stream, fields, END_STREAM);
        let answer = self.client.answer(stream);
        assert_eq!((answer.status, answer.reset), (0, Some(frames::PROTOCOL_ERROR)), "{fields:?}");
        assert_eq!(self.origin.requests().len(), before, "{fields:?} reached the origin");
    }
}

/// A GET with further fields.
fn get<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&frames::request("GET", "/"), fields].concat()
}
