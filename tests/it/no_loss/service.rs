//! A little service with a log of its own, as a process that can be killed: both sides of the migration in the crash test.
//!
//! It is the test binary itself, started for one test. A write is in the log before it is answered; the log is not synced,
//! because killing a process takes nothing from the page cache, and only the router has promised more than that.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::exchange;
use super::history::Entry;
use crate::support::PATIENCE;
use crate::support::message::{Framing, Message, Reader};

/// Tells the child its address and its log.
const ADDRESS: &str = "BANYAN_TEST_SERVICE_ADDRESS";
const LOG: &str = "BANYAN_TEST_SERVICE_LOG";

/// Where it says how it behaves.
const BEHAVIOUR: &str = "/behaviour";

/// How long a request that is to stall is held: longer than a test lasts that sends one.
const STALL: Duration = Duration::from_secs(60);

/// Ports that are tried: below those which the kernel gives to connections, so that a restart finds its own free.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// Which side of the migration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Legacy,
    Modern,
}

/// A running, stopped or killed service; it ends with its owner.
pub(crate) struct Service {
    pub(crate) address: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Service {
    /// Starts a service that logs to a file in `directory`.
    pub(crate) fn start(directory: &Path, side: Side) -> Self {
        let log = directory.join(match side {
            Side::Legacy => "legacy.log",
            Side::Modern => "modern.log",
        });
        let mut service = Self { address: free_address(), log, child: None };
        service.resume();
        service
    }

    /// Starts it again, with what its log says.
    pub(crate) fn resume(&mut self) {
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "no_loss::service::the_service_that_is_a_child", "--nocapture"]);
        process.env(ADDRESS, &self.address).env(LOG, &self.log);
        process.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        self.child = Some(process.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(&self.address).is_err() {
            assert!(Instant::now() < deadline, "the service does not listen on {}", self.address);
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Changes how it behaves from the next request on: `well`, `slow MILLISECONDS`, `busy`, `garbage`, `reset`.
    pub(crate) fn behave(&mut self, how: &str) {
        let input = self.child.as_mut().and_then(|child| child.stdin.as_mut()).expect("it runs");
        writeln!(input, "{how}").unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.behaviour().as_deref() != Some(how) {
            assert!(Instant::now() < deadline, "the service is not {how}");
        }
    }

    /// How it says that it behaves; `None` when that could not be heard.
    fn behaviour(&self) -> Option<String> {
        let mut wire = Reader::new(TcpStream::connect(&self.address).ok()?);
        wire.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let answer = exchange(&mut wire, format!("GET {BEHAVIOUR} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes());
        Some(answer.ok()?.text())
    }

    /// What it wrote down, without a line that its death has cut.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter_map(Entry::from_line).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address that a process can come back to.
fn free_address() -> String {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(PORTS)).take(1_000);
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port");
    format!("127.0.0.1:{free}")
}

/// The child: serves until its parent ends.
#[test]
fn the_service_that_is_a_child() {
    let (Ok(address), Some(log)) = (std::env::var(ADDRESS), std::env::var_os(LOG)) else { return };
    let store = Arc::new(Mutex::new(Store::open(Path::new(&log))));
    let behaviour = Arc::new(Mutex::new("well".to_owned()));
    let told = Arc::clone(&behaviour);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            *told.lock().unwrap() = line;
        }
        std::process::exit(0);
    });
    for stream in TcpListener::bind(&address).unwrap().incoming().map_while(Result::ok) {
        let (store, behaviour) = (Arc::clone(&store), Arc::clone(&behaviour));
        std::thread::spawn(move || serve(stream, &store, &behaviour));
    }
}

/// Answers the requests of a connection until it ends or is to end.
fn serve(stream: TcpStream, store: &Mutex<Store>, behaviour: &Mutex<String>) {
    let _ = stream.set_nodelay(true);
    let mut reader = Reader::new(stream);
    while let Ok(Some(mut request)) = reader.head() {
        let framing = Framing::of_request(&request);
        if reader.body(&mut request, framing).is_err() || !request.complete {
            return;
        }
        let how = behaviour.lock().unwrap().clone();
        if request.target() == BEHAVIOUR {
            let _ = reader.stream.write_all(&answer(200, "", how.as_bytes()));
            continue;
        }
        if let Some(milliseconds) = how.strip_prefix("slow ").and_then(|text| text.parse().ok()) {
            std::thread::sleep(Duration::from_millis(milliseconds));
        }
        if request.field("x-primary") == "stall" && !request.has("banyan-mirror") {
            // It is never done and never answered.
            std::thread::sleep(STALL);
            return;
        }
        let answer = match &*how {
            "busy" => Some(answer(503, "", b"")),
            "garbage" => Some(b"\x16\x03\x01 this is no answer\r\n\r\n".to_vec()),
            "reset" => {
                let _ = socket2::SockRef::from(&reader.stream).set_linger(Some(Duration::ZERO));
                None
            }
            _ => store.lock().unwrap().answer(&request),
        };
        let Some(answer) = answer else { return };
        if reader.stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn answer(status: u16, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n{fields}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// What the service holds: items by name, and its log.
struct Store {
    log: File,
    items: BTreeMap<String, Vec<u8>>,
    /// What was created under a key.
    created: BTreeMap<String, String>,
    /// Names of items that it made itself.
    made: u64,
    prefix: char,
    /// What has failed once on purpose, by key.
    failed: HashSet<String>,
}

impl Store {
    fn open(path: &Path) -> Self {
        let prefix = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.chars().next()).unwrap();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let log = OpenOptions::new().create(true).append(true).open(path).unwrap();
        log.set_len(whole as u64).unwrap();
        let (items, created, failed) = Default::default();
        let mut store = Self { log, items, created, made: 0, prefix, failed };
        for entry in text[..whole].lines().filter_map(Entry::from_line) {
            store.made += u64::from(entry.entity.starts_with(prefix));
            if entry.applied {
                store.apply(&entry, entry.value.map(|value| format!("{{\"id\":{value}}}").into_bytes()));
            }
        }
        store
    }

    fn apply(&mut self, entry: &Entry, body: Option<Vec<u8>>) {
        match body {
            Some(body) => self.items.insert(entry.entity.clone(), body),
            None => self.items.remove(&entry.entity),
        };
        if let Some(key) = &entry.key {
            self.created.insert(key.clone(), entry.entity.clone());
        }
    }

    /// The answer to a request; `None` ends the connection without one.
    fn answer(&mut self, request: &Message) -> Option<Vec<u8>> {
        let method = request.line.split(' ').next().unwrap_or_default();
        let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
        let name = path.strip_prefix("/items").unwrap_or_default().trim_start_matches('/');
        if method == "GET" {
            // The router's own keys are quoted.
            let key = query.strip_prefix("key=").map(|key| key.replace("%22", "\""));
            let found = key.and_then(|key| self.created.get(&key)).map_or(name, |name| &**name);
            let location = format!("location: /items/{found}\r\ncontent-type: application/json\r\n");
            return Some(
                self.items.get(found).map_or_else(|| answer(404, "", b""), |body| answer(200, &location, body)),
            );
        }
        self.write(method, name, request)
    }

    /// Does a write as its headers say, or fails at it.
    fn write(&mut self, method: &str, name: &str, request: &Message) -> Option<Vec<u8>> {
        let is_copy = request.has("banyan-mirror");
        let key = Some(request.field("idempotency-key")).filter(|key| !key.is_empty());
        let wanted = request.field(if is_copy { "x-copy" } else { "x-primary" });
        // What goes wrong by order goes wrong once for a copy: the next attempt finds everything in order.
        let first = !is_copy || self.failed.insert(key.clone().unwrap_or_default());
        let entity = if method == "POST" { format!("{}{}", self.prefix, self.made) } else { name.to_owned() };
        let is_there = self.items.contains_key(&entity);
        let status = match &*wanted {
            "reject" => 422,
            "always_error" => 500,
            "error" if first => 500,
            "busy" if first => 503,
            "vanish" if first => 0,
            _ if method == "DELETE" && !is_there => 404,
            _ if method == "POST" => 201,
            _ => 200,
        };
        let applied = (200..300).contains(&status);
        let body: Option<Value> = serde_json::from_slice(&request.body).ok();
        let value = body.and_then(|body| body["id"].as_u64());
        let shown = match &*wanted {
            "late_error" if applied && first => 500,
            "drop" if applied && first => 0,
            _ => status,
        };
        let owner = request.field("x-write").parse().ok();
        let entry = Entry { owner, value, entity, key, applied, status: shown, is_copy };
        self.log.write_all(entry.to_line().as_bytes()).unwrap();
        if applied {
            self.apply(&entry, (method != "DELETE").then(|| request.body.clone()));
            self.made += u64::from(method == "POST");
        }
        let location = format!("location: /items/{}\r\n", entry.entity);
        (shown > 0).then(|| answer(shown, if shown == 201 { &location } else { "" }, b""))
    }
}
