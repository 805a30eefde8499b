//! Clients that write without end, each about entities of its own and one write after the other, and note what they saw.

use std::io;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::history::{Seen, Write};
use crate::support::PATIENCE;
use crate::support::message::{Framing, Message, Reader};
use crate::support::router::Router;

/// Entities of one client.
const ENTITIES: u64 = 4;

/// What all clients share.
struct Shared {
    /// Where the router listens now.
    address: Mutex<SocketAddr>,
    next: AtomicU64,
    writes: Mutex<Vec<Write>>,
    acknowledged: AtomicUsize,
    is_over: AtomicBool,
}

/// Running clients.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts so many clients; `seed` decides all that they ask for.
    pub(crate) fn start(address: SocketAddr, count: u64, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            address: Mutex::new(address),
            next: AtomicU64::new(1),
            writes: Mutex::default(),
            acknowledged: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let mut clients = Self { shared, threads: Vec::new() };
        clients.go_on(count, seed);
        clients
    }

    /// Starts them again after [`Clients::stop`].
    pub(crate) fn go_on(&mut self, count: u64, seed: u64) {
        self.shared.is_over.store(false, Ordering::SeqCst);
        for number in 0..count {
            let client = Client {
                shared: Arc::clone(&self.shared),
                number,
                chance: fastrand::Rng::with_seed(seed ^ number),
                wire: None,
            };
            self.threads.push(std::thread::spawn(move || client.run()));
        }
    }

    /// Sends them to where the router is now.
    pub(crate) fn follow(&self, router: &Router) {
        *self.shared.address.lock().unwrap() = router.listen;
    }

    /// Lets each finish what it is at.
    pub(crate) fn stop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }

    pub(crate) fn writes(&self) -> Vec<Write> {
        self.shared.writes.lock().unwrap().clone()
    }

    /// How many writes have come to an end so far, with or without an answer.
    pub(crate) fn answered(&self) -> usize {
        self.shared.writes.lock().unwrap().len()
    }

    /// How many writes have been acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }
}

struct Client {
    shared: Arc<Shared>,
    number: u64,
    chance: fastrand::Rng,
    wire: Option<Reader<TcpStream>>,
}

impl Client {
    fn run(mut self) {
        while !self.shared.is_over.load(Ordering::SeqCst) {
            if self.wire.is_none() {
                self.wire = self.connect();
            }
            let Some(wire) = &mut self.wire else { continue };
            let id = self.shared.next.fetch_add(1, Ordering::SeqCst);
            let (request, write) = draw(&mut self.chance, self.number, id);
            let answer = exchange(wire, request.as_bytes());
            let (seen, location, goes_on) = match &answer {
                Ok(answer) => {
                    (Seen::of(answer.status()), answer.field("location"), answer.field("connection") != "close")
                }
                Err(_) => (Seen::Unknown, String::new(), false),
            };
            let created = location.strip_prefix("/items/").map(str::to_owned);
            self.shared.writes.lock().unwrap().push(Write { seen, entity: created.unwrap_or(write.entity), ..write });
            self.shared.acknowledged.fetch_add(usize::from(seen == Seen::Acknowledged), Ordering::SeqCst);
            if !goes_on {
                self.wire = None;
            }
        }
    }

    /// Connects to wherever the router is; while it is dead there is nothing to do but to ask again.
    fn connect(&self) -> Option<Reader<TcpStream>> {
        let address = *self.shared.address.lock().unwrap();
        let Ok(stream) = TcpStream::connect(address) else {
            std::thread::park_timeout(Duration::from_millis(2));
            return None;
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Reader::new(stream))
    }
}

/// Draws a write: what it does, about what, with or without a key, and what goes wrong with it on either side.
fn draw(chance: &mut fastrand::Rng, client: u64, id: u64) -> (String, Write) {
    let entity = format!("w{client}e{}", chance.u64(0..ENTITIES));
    let (method, entity) = match chance.u8(0..10) {
        0 => ("DELETE", entity),
        1 => ("POST", String::new()),
        _ => ("PUT", entity),
    };
    let key = chance.bool().then(|| format!("client-{id}"));
    let primary = match chance.u8(0..40) {
        // A delete is refused only for its absence: refused otherwise, it would look like one that reading has resolved.
        0 | 1 if method != "DELETE" => "reject",
        2 => "error",
        3 => "late_error",
        4 => "drop",
        5 => "vanish",
        _ => "",
    };
    let copy = match chance.u8(0..80) {
        0 if method == "PUT" => "reject",
        1 => "busy",
        2 => "late_error",
        3 => "drop",
        4 => "vanish",
        _ => "",
    };
    let mut request = format!(
        "{method} /items{}{entity} HTTP/1.1\r\nhost: a.example\r\nx-write: {id}\r\n",
        if entity.is_empty() { "" } else { "/" }
    );
    for (name, value) in
        [("idempotency-key", key.as_deref().unwrap_or_default()), ("x-primary", primary), ("x-copy", copy)]
    {
        if !value.is_empty() {
            request += &format!("{name}: {value}\r\n");
        }
    }
    if method == "DELETE" {
        request += "\r\n";
    } else {
        let body = format!("{{\"id\":{id}}}");
        request += &format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    }
    (request, Write { id, entity, key, seen: Seen::Unknown })
}

/// Sends a request and reads a whole answer.
pub(crate) fn exchange(wire: &mut Reader<TcpStream>, request: &[u8]) -> io::Result<Message> {
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    wire.stream.write_all(request)?;
    loop {
        let mut message = wire.head()?.ok_or_else(cut)?;
        if message.status() < 200 {
            continue;
        }
        let framing = Framing::of_response(&message, "PUT");
        wire.body(&mut message, framing)?;
        return if message.complete { Ok(message) } else { Err(cut()) };
    }
}
