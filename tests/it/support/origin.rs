//! An upstream that does what a test's script says, and records every byte it receives.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::message::{Framing, Message, Reader};

/// A listening origin; its thread ends with the test process.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    log: Arc<Log>,
}

/// What an origin has seen.
#[derive(Default)]
struct Log {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    /// Raw bytes, by connection.
    bytes: Vec<Vec<u8>>,
    /// Connections that the peer has ended.
    ended: usize,
    /// Whole requests, in the order in which they were read.
    requests: Vec<Message>,
}

impl Log {
    /// Changes what is seen and tells those who wait.
    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let changed = change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
        changed
    }
}

impl Origin {
    /// Runs `script` on each connection, each in its own thread.
    pub(crate) fn start(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, script)
    }

    /// Runs `script` on the connections of a listener.
    pub(crate) fn on(listener: TcpListener, script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let (shared, script) = (Arc::clone(&log), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut exchange = Exchange::new(stream, &shared);
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(&mut exchange));
            }
        });
        Self { address, log }
    }

    /// Answers every whole request with the same bytes, on connections that stay open.
    pub(crate) fn answering(response: &'static [u8]) -> Self {
        Self::start(move |exchange| {
            while exchange.request().is_some() {
                exchange.send(response);
            }
        })
    }

    /// Answers every request with 200 and `ok`.
    pub(crate) fn ok() -> Self {
        Self::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    }

    /// An address at which nobody listens.
    pub(crate) fn refusing() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// Whole requests so far.
    pub(crate) fn requests(&self) -> Vec<Message> {
        self.log.seen.lock().unwrap().requests.clone()
    }

    /// Whole requests after the first `count`.
    pub(crate) fn requests_after(&self, count: usize) -> Vec<Message> {
        self.log.seen.lock().unwrap().requests[count..].to_vec()
    }

    /// The only request so far.
    pub(crate) fn request(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.log.seen.lock().unwrap().bytes.len()
    }

    /// All bytes so far, connection after connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.log.seen.lock().unwrap().bytes.concat()
    }

    /// All bytes so far, by connection.
    pub(crate) fn streams(&self) -> Vec<Vec<u8>> {
        self.log.seen.lock().unwrap().bytes.clone()
    }

    pub(crate) fn wait_for_requests(&self, count: usize) {
        self.wait(&format!("{count} requests"), |seen| seen.requests.len() >= count);
    }

    /// Waits until the router has ended so many connections.
    pub(crate) fn wait_for_ends(&self, count: usize) {
        self.wait(&format!("{count} ended connections"), |seen| seen.ended >= count);
    }

    /// Waits until `needle` has been received.
    pub(crate) fn wait_for_bytes(&self, needle: &[u8]) {
        self.wait(&format!("{:?}", String::from_utf8_lossy(needle)), |seen| {
            seen.bytes.iter().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
        });
    }

    fn wait(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.log.seen.lock().unwrap();
        while !done(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the origin has not seen {what}, but {:?}", seen.requests);
            seen = self.log.changed.wait_timeout(seen, left).unwrap().0;
        }
    }
}

/// One connection of an origin, in the hands of a script.
pub(crate) struct Exchange {
    reader: Reader<Recorder>,
    /// Counts the connections of the origin from 0.
    pub(crate) number: usize,
    log: Arc<Log>,
}

/// Copies what is read into the log.
struct Recorder {
    stream: TcpStream,
    number: usize,
    log: Arc<Log>,
}

impl Read for Recorder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(into);
        self.log.change(|seen| match read {
            Ok(bytes) if bytes > 0 => seen.bytes[self.number].extend_from_slice(&into[..bytes]),
            _ => seen.ended += 1,
        });
        read
    }
}

impl Exchange {
    fn new(stream: TcpStream, log: &Arc<Log>) -> Self {
        stream.set_nodelay(true).unwrap();
        let number = log.change(|seen| {
            seen.bytes.push(Vec::new());
            seen.bytes.len() - 1
        });
        let recorder = Recorder { stream, number, log: Arc::clone(log) };
        Self { reader: Reader::new(recorder), number, log: Arc::clone(log) }
    }

    /// Reads a whole request; `None` at the end of the connection or if it was cut.
    pub(crate) fn request(&mut self) -> Option<Message> {
        let mut message = self.head()?;
        let framing = Framing::of_request(&message);
        self.reader.body(&mut message, framing).ok()?;
        if !message.complete {
            return None;
        }
        self.log.change(|seen| seen.requests.push(message.clone()));
        Some(message)
    }

    /// Reads a head only.
    pub(crate) fn head(&mut self) -> Option<Message> {
        self.reader.head().ok().flatten()
    }

    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        self.reader.chunk().ok().flatten()
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.reader.take(bytes).unwrap_or_default()
    }

    /// Sends bytes; a router that has gone is no failure of the script.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.stream.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// A second handle of the connection, for a script that sends and receives at once.
    pub(crate) fn stream(&self) -> TcpStream {
        self.reader.stream.stream.try_clone().unwrap()
    }

    /// Reads until the router ends the connection.
    pub(crate) fn drain(&mut self) {
        while self.reader.fill().unwrap_or(false) {}
    }

    /// Makes the end of this connection a reset instead of a FIN.
    pub(crate) fn reset_at_end(&self) {
        let socket = socket2::SockRef::from(&self.reader.stream.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}
