//! What forwarding a request costs the router: CPU microseconds a request, read from /proc, by what is switched on.
//!
//! One worker of the real program stands between a small origin and closed-loop clients. The variants run interleaved in
//! one go; ratios are to the plain one. `--test` runs everything once, as CI does. For peers: `make bench-peers`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Clients, each with one connection and one request at a time.
const CLIENTS: usize = 16;
/// Clock ticks a second in /proc (USER_HZ), fixed by Linux's interface.
const TICKS_A_SECOND: f64 = 100.0;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";

/// A name, the request's path, and the options of the router.
type Variant = (&'static str, &'static str, &'static [&'static str]);

const OFF: [&str; 6] = ["--access-log", "off", "--metrics", "off", "--tracing", "off"];
const VARIANTS: [Variant; 5] = [
    ("plain", "/plain", &[]),
    ("sticky split by header", "/split", &[]),
    ("metrics on", "/plain", &["--metrics", "on"]),
    ("traceparent on", "/plain", &["--tracing", "on"]),
    ("access log on", "/plain", &["--access-log", "json"]),
];

struct Router {
    child: Child,
    listen: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let (rounds, time) = if quick { (1, Duration::from_millis(50)) } else { (7, Duration::from_secs(1)) };
    let origin = origin();
    let routers: Vec<Router> = VARIANTS.iter().map(|(_, _, options)| start(origin, options)).collect();
    let mut costs: Vec<Vec<f64>> = vec![Vec::new(); VARIANTS.len()];
    for _ in 0..rounds {
        for ((router, (_, path, _)), costs) in routers.iter().zip(VARIANTS).zip(&mut costs) {
            let before = cpu_ticks(router.child.id());
            let requests = load(router.listen, path, time);
            let ticks = cpu_ticks(router.child.id()) - before;
            costs.push(ticks / TICKS_A_SECOND * 1e6 / requests);
        }
    }
    println!("CPU of the router, one worker, {CLIENTS} clients, median of {rounds} interleaved rounds of {time:?}");
    let medians: Vec<f64> = costs.iter_mut().map(|costs| median(costs)).collect();
    for ((name, _, _), cost) in VARIANTS.iter().zip(&medians) {
        println!("{name:<24} {cost:>7.2} µs a request, {:>5.2} × plain", cost / medians[0]);
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// An origin that answers whatever ends with an empty line; a thread a connection.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = [0; 4096];
    let mut held = 0;
    while let Ok(bytes @ 1..) = stream.read(&mut buffer[held..]) {
        held += bytes;
        if buffer[..held].ends_with(b"\r\n\r\n") {
            held = 0;
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}

fn start(origin: SocketAddr, options: &[&str]) -> Router {
    let directory = tempfile::tempdir().expect("a directory");
    write(&directory.path().join("flags/f.yaml"), FLAGS);
    write(&directory.path().join("routes/r.yaml"), &ROUTES.replace("ORIGIN", &origin.to_string()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_banyan"))
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1", "--log-format", "json"])
        .args(options_with_defaults(options))
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let ready = lines.map_while(Result::ok).find(|line| line.contains("\"listening\"")).expect("it listens");
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("a JSON line");
    let listen = ready["listen"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    Router { child, listen, _directory: directory }
}

/// What a variant switches on, and the rest off; an option may be given once only.
fn options_with_defaults(options: &[&str]) -> Vec<String> {
    let given = |name: &str| options.iter().position(|option| *option == name).map(|at| options[at + 1]);
    OFF.chunks(2).flat_map(|pair| [pair[0].to_owned(), given(pair[0]).unwrap_or(pair[1]).to_owned()]).collect()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// Runs all clients for a while; gives the number of requests.
fn load(address: SocketAddr, path: &str, time: Duration) -> f64 {
    let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|user| {
            let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
            let request = format!("GET {path} HTTP/1.1\r\nhost: bench.test\r\nx-user-id: user-{user}\r\n\r\n");
            std::thread::spawn(move || drive(address, request.as_bytes(), &stop, &requests))
        })
        .collect();
    std::thread::sleep(time);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("every answer is a 200");
    }
    requests.load(Ordering::Relaxed).max(1) as f64
}

fn drive(address: SocketAddr, request: &[u8], stop: &AtomicBool, requests: &AtomicU64) {
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(address).expect("the router accepts");
        stream.set_nodelay(true).expect("a socket");
        loop {
            stream.write_all(request).expect("the router reads");
            let mut held = 0;
            while !buffer[..held].ends_with(b"\r\n\r\nhello") {
                let bytes = stream.read(&mut buffer[held..]).expect("the router answers");
                assert!(bytes > 0, "closed in the middle of an answer");
                held += bytes;
            }
            assert!(buffer.starts_with(b"HTTP/1.1 200"));
            requests.fetch_add(1, Ordering::Relaxed);
            // The router ends a connection in order after its limit of requests.
            let last = buffer[..held].windows(17).any(|window| window == b"connection: close");
            if last || stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
}

/// User and system time of a process so far, in clock ticks.
fn cpu_ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    // The name in parentheses may hold spaces; fields are counted behind it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum()
}

const FLAGS: &str = "\
flags:
  side:
    state: ENABLED
    variants: {modern: modern, legacy: legacy}
    defaultVariant: legacy
    targeting:
      fractional: [[modern, 25], [legacy, 75]]
    metadata: {owner: bench}
";

const ROUTES: &str = "\
identity: {targeting_key: [header:x-user-id]}
upstreams:
  legacy: {endpoints: [ORIGIN]}
  modern: {endpoints: [ORIGIN]}
routes:
  - {name: split, match: {path: /split}, flag: side, variants: {legacy: legacy, modern: modern}, fallback: legacy}
  - {name: plain, match: {path: /plain}, upstream: legacy}
";
